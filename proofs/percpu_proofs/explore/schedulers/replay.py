"""A schedule that is given, and actors that run one after the other."""

from __future__ import annotations

from collections.abc import Container, Iterable

from percpu_proofs.explore.system import Scheduler, actor_of


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
