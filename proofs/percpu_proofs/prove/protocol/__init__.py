"""The machine's invariant is inductive, for any number of chunks, pages and actors."""

from percpu_proofs.prove.protocol.induction import (
    InductionQuery,
    prove_action,
    prove_implications,
    prove_induction,
    prove_initial,
)

__all__ = [
    "InductionQuery",
    "prove_action",
    "prove_implications",
    "prove_induction",
    "prove_initial",
]
