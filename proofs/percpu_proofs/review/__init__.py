"""The verdict matrix: for each variant and clause, what is known, how, and how far."""
