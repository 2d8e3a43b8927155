"""Counterexamples for people: records that renderers draw from, of the model and of trees."""

from percpu_proofs.counterexample.of_model import of_schedule, of_token
from percpu_proofs.counterexample.of_tree import of_tree
from percpu_proofs.counterexample.record import WORK, Counterexample, CpuStep, Spoken
from percpu_proofs.show.text import PAGES, ChunkRow, StateRows

__all__ = [
    "PAGES",
    "WORK",
    "ChunkRow",
    "Counterexample",
    "CpuStep",
    "Spoken",
    "StateRows",
    "of_schedule",
    "of_token",
    "of_tree",
]  # fmt: skip
