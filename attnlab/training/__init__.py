"""Training: one checked config -> one run -> one record."""
