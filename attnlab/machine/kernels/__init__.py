"""CPU kernels in C for attention gates and batch normalisation. Without them training is slower, nothing else."""
