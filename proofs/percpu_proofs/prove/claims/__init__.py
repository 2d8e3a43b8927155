"""The obligations, a module for each topic of the kernel's code."""
