"""Is the model the kernel: comparison with recorded kernel runs and with compiled kernel code."""
