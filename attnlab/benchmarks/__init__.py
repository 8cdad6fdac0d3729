"""Benchmarks, one file a command of attnlab.bench: what is compared, always turn by turn within one run."""
