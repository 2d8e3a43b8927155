"""The machine's invariant is inductive, for any number of chunks, pages and actors."""
