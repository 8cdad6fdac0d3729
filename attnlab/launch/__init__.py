"""Launch: many runs. Sweeps and tables, one process a run, and what a person sees of them."""
