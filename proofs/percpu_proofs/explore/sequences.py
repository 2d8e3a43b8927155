"""Operation lists with nothing at once, every function under contract at full.

The clauses asked of functions and states, those about quiescence included, are judged at every
operation of every list up to the bound.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from percpu_contracts.history import History
from percpu_contracts.monitor import ClauseViolation
from percpu_contracts.situations import Sightings
from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.alphabet import state_key
from percpu_proofs.explore.breadth import Breadth, Operations, Spot
from percpu_proofs.explore.contracted import passing_monitor
from percpu_proofs.oplist import Operation
from percpu_reference import build
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator


class Place(Spot):
    """A spot under contracts at full, with its history.

    Every violation is let pass and entered, but for that of ENDLESS.
    """

    def __init__(self, allocator: Allocator) -> None:
        super().__init__(allocator)
        self._whole_state = WholeState(type(allocator).NOT_APPLICABLE)
        self.monitor = passing_monitor(allocator, self._whole_state)
        self._begin(History())

    def _begin(self, history: History) -> None:
        """Begin with no violation entered yet."""
        self.monitor = passing_monitor(self.allocator, self._whole_state, self.monitor.guard)
        self.monitor.history = history
        self.allocator.monitor = self.monitor

    def apply(self, operation: Operation) -> bool:
        """Apply one operation, the violations of which are in `monitor`; False if it has no end."""
        self._begin(self.monitor.history)
        try:
            return super().apply(operation)
        except ClauseViolation:
            return False

    def restore(self, origin: Self, copies: dict[Chunk, Chunk]) -> None:
        """Return to the spot this one is a copy of, with nobody judging that."""
        self.monitor.guard.rest(copies.values(), origin.allocator.next_id)
        super().restore(origin, copies)

    def take_over(self, origin: Self, copies: dict[Chunk, Chunk]) -> None:
        """Take over the history too."""
        super().take_over(origin, copies)
        self._begin(origin.monitor.history.copy(copies))


@dataclass
class Sequences(Breadth[Place]):
    """The search of operation lists under contracts."""

    asked: Counter[str] = field(default_factory=Counter)
    sightings: Sightings = field(default_factory=Sightings)

    @property
    def how(self) -> str:
        """What is done with the lists, in words."""
        return "one after the other, contracts at full"

    def start(self) -> Place:
        """Return the place after booting."""
        return Place(build(self.variant, self.plan.sizes, contracts="full"))

    def key(self, spot: Place) -> bytes:
        """Return a digest of the allocator's state and its history."""
        return state_key(spot.allocator, spot.monitor.history)

    def judge(self, spot: Place, operations: Operations, operation: Operation, ended: bool) -> None:
        """Enter what the contracts and the clauses about states say."""
        self.steps += 1
        monitor, allocator = spot.monitor, spot.allocator
        self.asked += monitor.asked()
        for clause, violation in monitor.violations.items():
            self.catch(clause, violation.first_message, operations, (operation,))
        self.sightings.look(allocator, monitor.history, quiescent=ended and allocator.quiescent)

    @property
    def judged(self) -> Counter[str]:
        """How often each clause was asked, less those whose situation did not occur."""
        return self.sightings.of(self.asked)
