"""What a trained network is judged by: pure functions of tensors, which know no run and no config."""
