"""From yaml files and the command line to checked plain values and a run's id. Only targets.py imports torch."""
