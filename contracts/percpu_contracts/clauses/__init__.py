"""The clauses as predicates over views, a module for each chapter of the catalogue."""
