"""Draw masks and class activation maps over images."""
