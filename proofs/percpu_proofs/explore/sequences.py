"""Operation lists with nothing at once, every function under contract at full.

The clauses asked of functions and states, those about quiescence included, are judged at every
operation of every list up to the bound.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from percpu_contracts.situations import SituationCoverage
from percpu_proofs.explore.breadth import Breadth, Operations
from percpu_proofs.run.operations import Operation


@dataclass
class Sequences(Breadth):
    """The search of operation lists under contracts."""

    CONTRACTS = "full"

    sightings: SituationCoverage = field(default_factory=SituationCoverage)

    def apply(self, operations: Operations, operation: Operation) -> bool:
        """Apply an operation; enter what the contracts and the clauses about states say."""
        ended = super().apply(operations, operation)
        self.steps += 1
        allocator = self.world.allocator
        for clause, violation in self.world.monitor.violations.items():
            self.enter(clause, violation.first_message, operations, (operation,))
        at_rest = ended and allocator.quiescent
        self.sightings.look(allocator, self.world.history, quiescent=at_rest)
        return ended

    @property
    def judged(self) -> Counter[str]:
        """How often each clause was asked, less those whose situation did not occur."""
        return self.sightings.of(self.world.monitor.asked())
