"""Evaluation: a finished run is tested again, its maps are recorded and judged."""
