"""The allocator against the abstract machine, stretch by stretch."""
