"""Configuration: yaml and command line -> checked plain values, and the id of a run. Nothing here imports torch."""
