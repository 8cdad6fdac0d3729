"""Configuration: yaml files and the command line become checked plain values and a run's id. Only targets.py imports torch."""
