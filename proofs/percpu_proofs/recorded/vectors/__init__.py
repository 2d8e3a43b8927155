"""Recorded vectors: a boot state, then one operation a line with the state after it."""
