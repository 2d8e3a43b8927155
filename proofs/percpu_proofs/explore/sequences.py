"""Operation lists with nothing at once, every function under contract at full.

The clauses asked of functions and states, those about quiescence included, are judged at every
operation of every list up to the bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from percpu_contracts.history import History
from percpu_contracts.monitor import ClauseViolation
from percpu_contracts.situations import Sightings
from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.alphabet import state_key
from percpu_proofs.explore.breadth import Breadth, Operations
from percpu_proofs.explore.contracted import passing_monitor
from percpu_proofs.machine import Machine
from percpu_proofs.oplist import Operation
from percpu_reference import build
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator


@dataclass
class Sequences(Breadth):
    """The search of operation lists under contracts."""

    asked: Counter[str] = field(default_factory=Counter)
    sightings: Sightings = field(default_factory=Sightings)

    def _run(self) -> None:
        self._root = _Place(build(self.variant, self.geometry, contracts="full"))
        super()._run()

    def extend(self, operations: Operations, *, further: bool) -> Iterator[tuple[Operation, bytes]]:
        """Try every operation after a list under contracts."""
        here, _ = self._root.copy()
        for operation in operations:
            here.apply(operation)
        there, copies = here.copy()
        held, work = here.machine.handles, here.allocator.work_pending
        for operation in self.choices(held, operations, work=work, further=further):
            there.restore(here, copies)
            ended = there.apply(operation)
            self.steps += 1
            self.asked += there.monitor.asked()
            for clause, violation in there.monitor.violations.items():
                self.catch(clause, violation.first_message, operations, (operation,))
            allocator, history = there.allocator, there.monitor.history
            self.sightings.look(allocator, history, quiescent=ended and allocator.quiescent)
            if ended:
                yield operation, state_key(allocator, history)

    @property
    def judged(self) -> Counter[str]:
        """How often each clause was asked, less those whose situation did not occur."""
        return self.sightings.of(self.asked)


class _Place:
    """An allocator under contracts at full, the areas its callers hold, and its history.

    Every violation is let pass and entered, but for that of ENDLESS.
    """

    def __init__(self, allocator: Allocator, history: History | None = None) -> None:
        self.allocator = allocator
        self.machine = Machine(allocator)
        self._whole_state = WholeState(type(allocator).NOT_APPLICABLE)
        self.monitor = passing_monitor(allocator, self._whole_state)
        self._begin(history or History())

    def _begin(self, history: History) -> None:
        """Begin with no violation entered yet."""
        self.monitor = passing_monitor(self.allocator, self._whole_state, self.monitor.guard)
        self.monitor.history = history
        self.allocator.monitor = self.monitor

    def apply(self, operation: Operation) -> bool:
        """Apply one operation, the violations of which are in `monitor`; False if it has no end."""
        self._begin(self.monitor.history)
        try:
            self.machine.apply(1, operation)
        except ClauseViolation:
            return False
        return True

    def copy(self) -> tuple[_Place, dict[Chunk, Chunk]]:
        """Return an independent copy, and the map from old to new chunks."""
        allocator, copies = self.allocator.clone()
        new = _Place(allocator)
        new._take(self, copies)
        return new, copies

    def restore(self, origin: _Place, copies: dict[Chunk, Chunk]) -> None:
        """Return to the place this one is a copy of."""
        self.monitor.guard.rest(copies.values(), origin.allocator.next_id)
        self.allocator.restore(origin.allocator, copies)
        self._take(origin, copies)

    def _take(self, origin: _Place, copies: dict[Chunk, Chunk]) -> None:
        self._begin(origin.monitor.history.copy(copies))
        self.machine.handles = {
            handle: None if area is None else (copies[area[0]], area[1])
            for handle, area in origin.machine.handles.items()
        }
