"""Interleavings: actors take turns at every point where the kernel lets others in."""
