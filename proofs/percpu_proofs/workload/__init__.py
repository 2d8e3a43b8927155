"""What a reviewer of partial depopulation asks first: memory given back, and chunks examined."""
