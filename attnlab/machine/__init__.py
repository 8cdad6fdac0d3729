"""The machine: processes and ranks, GPUs, threads, precision. Nothing here changes what a run learns, only how fast."""
