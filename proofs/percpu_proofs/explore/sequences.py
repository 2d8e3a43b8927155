"""Operation lists with nothing at once, every function under contract at full.

The clauses asked of functions and states, those about quiescence included, are judged at every
operation of every list up to the bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from percpu_contracts.situations import SituationCoverage
from percpu_contracts.violations import ClauseViolation
from percpu_proofs.explore.alphabet import state_key
from percpu_proofs.explore.breadth import AllocatorSpot, Breadth, Operations
from percpu_proofs.explore.contracted_world import passing_monitor
from percpu_proofs.run.operations import Operation
from percpu_reference import build
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator


class ContractSpot(AllocatorSpot):
    """A spot under contracts at full.

    Every violation is let pass and entered, but for that of ENDLESS.
    """

    def __init__(self, allocator: Allocator) -> None:
        super().__init__(allocator)
        self.monitor = allocator.monitor = passing_monitor(allocator)

    def apply(self, operation: Operation) -> bool:
        """Apply one operation, the violations of which are in `monitor`; False if it has no end."""
        self.monitor.begin(self.history)
        try:
            return super().apply(operation)
        except ClauseViolation:
            return False

    def rest(self, copies: Mapping[Chunk, Chunk], origin: Allocator) -> None:
        """Let nobody judge what comes: the state of another allocator is written."""
        self.monitor.guard.quiesce(copies.values(), origin)


@dataclass
class Sequences(Breadth[ContractSpot]):
    """The search of operation lists under contracts."""

    sightings: SituationCoverage = field(default_factory=SituationCoverage)

    def start(self) -> ContractSpot:
        """Return the place after booting."""
        return ContractSpot(build(self.variant, self.plan.sizes, contracts="full"))

    def key(self) -> bytes:
        """Return a digest of the allocator's state and its history."""
        return state_key(self.spot.allocator, self.spot.history)

    def judge(self, operations: Operations, operation: Operation, ended: bool) -> None:
        """Enter what the contracts and the clauses about states say."""
        self.steps += 1
        allocator = self.spot.allocator
        for clause, violation in self.spot.monitor.violations.items():
            self.catch(clause, violation.first_message, operations, (operation,))
        self.sightings.look(
            allocator, self.spot.history, quiescent=ended and allocator.quiescent
        )

    @property
    def judged(self) -> Counter[str]:
        """How often each clause was asked, less those whose situation did not occur."""
        return self.sightings.of(self.spot.monitor.asked())
