"""The reference allocator: does what the kernel does, bit for bit, under contracts."""
