"""Depth-first search through all schedules of a start.

Three ways, which must agree: all schedules one by one; the same less those that only swap steps
that commute (sleep sets, on footprints found while running); or with matching, where a world that
was met before is not searched again and the schedules through it are counted instead. None of
them hides a state: every reachable state is judged.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from percpu_proofs.explore.watch import Watch
from percpu_proofs.explore.world import Start, World
from percpu_reference.gaps import ASK, DONE, FAILED

Schedule = tuple[int, ...]
Mode = Literal["all", "commuting", "matching", "drawn"]

_LOCKED, _PENDING, _MARK = 1, 2, 4


@dataclass(slots=True)
class Finding:
    """A clause broken by a schedule, at its last step."""

    clause: str
    message: str
    schedule: Schedule


@dataclass(slots=True)
class Explored:
    """What a search covered and found."""

    mode: Mode
    schedules: int = 0  # from the start to an end; those through a world met before are counted
    steps: int = 0
    states: int = 0  # different worlds, counted with matching only
    depth: int = 0
    seconds: float = 0.0
    complete: bool = True
    findings: dict[str, Finding] = field(default_factory=dict)
    situations: dict[str, int] = field(default_factory=dict)

    def enter(self, clause: str, message: str, schedule: Schedule) -> None:
        """Keep the shortest schedule of each clause."""
        found = self.findings.get(clause)
        if found is None or len(schedule) < len(found.schedule):
            self.findings[clause] = Finding(clause, message, schedule)


class Search:
    """One search through the schedules of a start."""

    def __init__(
        self,
        start: Start,
        mode: Mode = "matching",
        *,
        max_steps: int | None = None,
        preemptions: int | None = None,
        stop: Callable[[Explored], bool] | None = None,
    ) -> None:
        self.start = start
        self.mode = mode
        self.max_steps = max_steps
        self.preemptions = preemptions  # at most so many; without a bound, any number
        self.stop = stop
        self.result = Explored(mode)
        self.watch = Watch(self.result)
        self._met: dict[object, int] = {}  # worlds met, with the schedules that go on from each

    def run(self) -> Explored:
        """Search until everything is covered, a bound is hit, or Ctrl-C; return what was."""
        began = time.perf_counter()
        try:
            self.result.schedules = self._search(
                World(self.start), (), frozenset(), self.preemptions or 0
            )
        except (KeyboardInterrupt, _EnoughError):
            self.result.complete = False
        self.result.seconds = time.perf_counter() - began
        self.result.states = len(self._met)
        return self.result

    def _search(
        self, world: World, schedule: Schedule, asleep: frozenset[int], left: int = 0
    ) -> int:
        """Search from a world; return how many schedules go on from it to an end.

        left: preemptions that may still be made. A switch away from an actor that could go on is
        one.
        """
        result = self.result
        result.depth = max(result.depth, len(schedule))
        key: object = None
        if self.mode == "matching":
            key = world.fingerprint()
            if self.preemptions is not None:
                key = key, schedule[-1:], left
            known = self._met.get(key)
            if known is not None:
                return known
        enabled = world.enabled()
        if not enabled:
            self.watch.at_end(world, schedule)
            if key is not None:
                self._met[key] = 1
            return 1
        commuting = self.mode == "commuting"
        prints = {actor: _footprint(world, actor) for actor in enabled} if commuting else {}
        schedules = 0
        moved = False
        for actor in enabled:
            if actor in asleep:
                continue
            switch = bool(schedule) and actor != schedule[-1] and schedule[-1] in enabled
            if self.preemptions is not None and switch and not left:
                continue
            if moved:  # the first step used this world up
                self._again(world, schedule)
            moved = True
            self._step(world, actor, (*schedule, actor))
            awake = frozenset(a for a in asleep if not prints[actor] & prints.get(a, _LOCKED))
            schedules += self._search(world, (*schedule, actor), awake, left - switch)
            if commuting:
                asleep |= {actor}
        if key is not None:
            self._met[key] = schedules
        return schedules

    def _step(self, world: World, actor: int, schedule: Schedule) -> None:
        self.result.steps += 1
        if self.max_steps is not None and self.result.steps > self.max_steps:
            raise _EnoughError
        self.watch.step(world, actor, schedule)
        if self.stop is not None and self.stop(self.result):
            raise _EnoughError

    def _again(self, world: World, schedule: Schedule) -> None:
        """Bring the world back to where a schedule had led."""
        world.reset()
        for actor in schedule:
            self.watch.replay(world, actor)


class _EnoughError(Exception):
    """The search has gone as far as it was asked to."""


def _footprint(world: World, actor: int) -> int:
    """Return what an actor's next step may touch; steps that share nothing commute.

    Requests for work only set a flag, so they commute with one another: they touch it as little as
    a reader does, and what they do not commute with is the start of the work.
    """
    if actor == len(world.runners):
        return _LOCKED | _PENDING | _MARK
    runner = world.runners[actor]
    gap = runner.gap
    if gap is ASK:
        return 0 if world.allocator.work_pending else _PENDING
    if gap is FAILED:
        return _MARK | _PENDING
    if gap is DONE:
        return _LOCKED | _PENDING
    if runner.operation[0] == "b":
        return _LOCKED | _MARK | _PENDING
    return _LOCKED
