"""Counterexamples for people: records that renderers draw from, of the model and of trees."""

from percpu_proofs.counterexample.of_model import of_token
from percpu_proofs.counterexample.record import ChunkRow, Counterexample, Spoken, State, Step

__all__ = ["ChunkRow", "Counterexample", "Spoken", "State", "Step", "of_token"]
