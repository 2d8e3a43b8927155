"""Counterexamples for people: records that renderers draw from, of the model and of trees."""
