"""The machine's invariant is inductive, for any number of chunks, pages and actors."""

from percpu_proofs.induction.prove import (
    Obligation,
    prove_action,
    prove_implications,
    prove_induction,
    prove_initial,
)

__all__ = ["Obligation", "prove_action", "prove_implications", "prove_induction", "prove_initial"]
