"""Kernels that run, and cores of those that did: their percpu state read, judged and told."""
