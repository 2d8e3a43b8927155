"""Schedules without a choice: one that is given, one actor after the other, and coming to rest."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any, Final

from percpu_proofs.explore.system import Scheduler, actor_of, scheduled
from percpu_proofs.explore.world import World


class ImpossibleStepError(ValueError):
    """A schedule has a step that cannot be taken."""


class ScheduleReplay:
    """The steps of a schedule. Raises ImpossibleStepError at one that cannot be taken.

    lenient: such a step is left out. then: who decides behind the end.
    """

    def __init__(
        self, schedule: Iterable[int], *, lenient: bool = False, then: Scheduler | None = None
    ) -> None:
        self._steps = iter(schedule)
        self._lenient = lenient
        self._then = then
        self._taken = 0

    def next(self, enabled: list[int]) -> int | None:
        """Return the next step."""
        for step in self._steps:
            self._taken += 1
            if step in enabled:
                return step
            if not self._lenient:
                raise ImpossibleStepError(f"step {self._taken}, of actor {actor_of(step)}")
        return None if self._then is None else self._then.next(enabled)


class InTurn:
    """Some actors one after the other, each to its end; memory is never refused."""

    def __init__(self, actors: Container[int]) -> None:
        self._actors = actors

    def next(self, enabled: list[int]) -> int | None:
        """Return the step of the first that has not ended."""
        return next((step for step in enabled if step in self._actors), None)


MOST_RUNS: Final = 64
"""Of the work, one after the other with nothing else to do, before it is taken to have no end."""

MOST_STEPS: Final = 10_000
"""Of one run of the work alone."""


class Drain:
    """Runs of the work alone, again and again, while a world in which all is done asks for one.

    `wrong` says why they come to no rest (BAL-3): alone, the work does the same every time.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.wrong: str | None = None
        self._met: set[tuple[Any, ...]] = set()
        self._steps = 0  # of the run under way

    def next(self, enabled: list[int]) -> int | None:
        """Return the next step of a run, or the first of another."""
        world = self.world
        self._steps += 1
        if not world.finished:
            self.wrong = world.runaway
            if self._steps > MOST_STEPS:
                self.wrong = f"a run of the work has not ended after {MOST_STEPS} steps"
            return None if self.wrong else len(world.runners) - 1
        allocator = world.allocator
        world.drained = len(self._met)
        if not allocator.work_pending:
            return None
        state = (*world.protected(), allocator.atomic_alloc_failed)
        again = "with nothing else to do, the work asks for itself"
        if state in self._met:
            self.wrong = f"{again} again and changes nothing"
            return None
        if len(self._met) == MOST_RUNS:
            self.wrong = f"{again} after {MOST_RUNS} runs"
            return None
        self._met.add(state)
        self._steps = 0
        world.works += 1
        return len(world.runners)


def drain(world: World) -> str | None:
    """Run the work to rest; return what is wrong if it comes to none (BAL-3)."""
    rest = Drain(world)
    for step in scheduled(world, rest):
        world.step(step)
    return rest.wrong
