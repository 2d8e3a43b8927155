"""The allocator against the abstract machine, stretch by stretch."""

from percpu_proofs.refine.allocator import refined
from percpu_proofs.refine.checker import RefinementChecker
from percpu_proofs.refine.mismatch import MachineDifference, StepMismatch
from percpu_proofs.refine.selection import DEPARTURE, machine_of, may_depart

__all__ = [
    "DEPARTURE",
    "MachineDifference",
    "RefinementChecker",
    "StepMismatch",
    "machine_of",
    "may_depart",
    "refined",
]
