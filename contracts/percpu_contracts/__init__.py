"""The clauses as predicates over views, and how they attach to functions."""
