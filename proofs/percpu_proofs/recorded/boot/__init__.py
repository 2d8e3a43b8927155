"""What a kernel printed of its percpu layout at boot."""
