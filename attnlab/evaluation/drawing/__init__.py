"""Pictures of maps over images."""
