"""What must hold: clauses, the views they are stated over, and the plain definitions."""
