"""The kernel's own mm/percpu.c, compiled for user space, beside the model."""
