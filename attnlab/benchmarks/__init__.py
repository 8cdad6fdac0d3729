"""Benchmarks, one file per command of attnlab.bench. All sides of a comparison are timed in turn in one process."""
