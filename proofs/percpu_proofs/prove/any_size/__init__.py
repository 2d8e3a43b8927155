"""Claims without a bound: the allocator's own functions on z3 terms, and the protocol."""
