"""The two figures that a reviewer of partial depopulation asks for first: memory given back, and
chunks examined."""
