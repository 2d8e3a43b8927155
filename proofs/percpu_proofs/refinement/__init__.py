"""The allocator against the abstract machine, stretch by stretch."""

from percpu_proofs.refinement.checker import RefinementChecker
from percpu_proofs.refinement.machines import DEPARTURE, machine_of, may_depart
from percpu_proofs.refinement.mismatch import Difference, StepMismatch
from percpu_proofs.refinement.refined import refined

__all__ = [
    "DEPARTURE",
    "Difference",
    "RefinementChecker",
    "StepMismatch",
    "machine_of",
    "may_depart",
    "refined",
]
