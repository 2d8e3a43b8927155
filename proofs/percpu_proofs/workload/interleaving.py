"""Callers' operations with the balance work beside them, at moments that a schedule names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from percpu_proofs.run.operations import Operation
from percpu_reference.chunk import Area
from percpu_reference.gaps import Steps
from percpu_reference.variants import Allocator


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the balance work runs among the callers' operations, which no trace shows.

    It begins `delay` operations after it was asked for. Each time that it releases pcpu_lock to
    map, unmap or flush pages or to destroy a chunk, `gap` operations run before it goes on. With a
    seed either number is drawn anew each time, from 0 to twice itself. A request that may sleep
    waits for pcpu_alloc_mutex: the work runs to its end first.
    """

    delay: int = 0
    gap: int = 0
    seed: int | None = None

    def __str__(self) -> str:
        drawn = "" if self.seed is None else f", drawn with seed {self.seed}"
        return f"delay {self.delay}, gap {self.gap}{drawn}"


USUAL = Schedule(0, 50)
"""With this gap as many pages are stranded in isolated chunks as on the recorded 6.12 with four
CPUs (cg612_4), so it is fitted to one figure of one run."""

TIMINGS: tuple[Schedule, ...] = (
    *(Schedule(0, gap) for gap in (0, 10, 20, 50, 100)),
    *(Schedule(30, gap) for gap in (0, 50)),
    *(Schedule(300, gap) for gap in (0, 50)),
    *(Schedule(0, 50, seed) for seed in (1, 2, 3)),
)
"""Other moments, to show what hangs on them."""


class Player:
    """One allocator, its callers' handles, and the balance work in progress."""

    def __init__(self, allocator: Allocator, schedule: Schedule) -> None:
        self.allocator = allocator
        self.works = 0
        self._schedule = schedule
        self._random = None if schedule.seed is None else Random(schedule.seed)
        self._handles: dict[int, Area | None] = {}
        self._steps: Steps[None] | None = None  # the work, while it runs
        self._wait = self._draw(schedule.delay)  # operations until it begins or goes on

    def play(self, operations: Sequence[Operation]) -> None:
        """Apply allocations and frees, the balance work in between."""
        allocator, handles = self.allocator, self._handles
        for kind, handle, size, align, reserved, gfp in operations:
            if kind == "f":
                allocator.free(handles.pop(handle))
            else:
                if self._steps is not None and not allocator.is_atomic(gfp):
                    self._finish()
                handles[handle] = allocator.alloc(size, align, reserved=reserved, gfp=gfp)
            if self._steps is not None or allocator.work_pending:
                if self._wait:
                    self._wait -= 1
                else:
                    self._go_on()

    def settle(self) -> None:
        """Run the balance work until none is asked for."""
        while self._steps is not None or self.allocator.work_pending:
            self._finish()

    def _go_on(self) -> None:
        """Begin the work, or leave the gap it stands in, up to the next one that lasts."""
        if self._steps is None:
            self._steps = self.allocator.balance_workfn()
        for gap in self._steps:
            if gap.chunk is not None:  # the others take no time to speak of
                self._wait = self._draw(self._schedule.gap)
                if self._wait:
                    return
        self._end_run()

    def _finish(self) -> None:
        """Run the work to its end with nothing beside it, begun or not."""
        for _ in self._steps or self.allocator.balance_workfn():
            pass
        self._end_run()

    def _end_run(self) -> None:
        self._steps = None
        self.works += 1
        self._wait = self._draw(self._schedule.delay)

    def _draw(self, number: int) -> int:
        return number if self._random is None else self._random.randint(0, 2 * number)
