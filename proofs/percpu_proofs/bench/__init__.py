"""How fast the allocator and the searches are."""
