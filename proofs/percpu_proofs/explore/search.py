"""Depth-first search through all schedules of a start.

Four ways, which must agree:

- all: schedules one by one;
- commuting: the same less those that only swap steps that commute (sleep sets); every state is
  still judged;
- dpor: dynamic partial-order reduction (see reduction), which leaves out states too;
- matching: a world that was met before is not searched again, and the schedules through it are
  counted instead; every state is judged.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from percpu_proofs.explore.follower import Follower
from percpu_proofs.explore.footprint import commute, footprint
from percpu_proofs.explore.watch import Watch
from percpu_proofs.explore.world import Saved, Start, World
from percpu_proofs.refinement import machine_of

Schedule = tuple[int, ...]
Mode = Literal["all", "commuting", "dpor", "matching", "drawn"]


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
    steps: int = 0  # judged
    covered: int = 0  # steps of the tree of all schedules; with matching those of met worlds too
    states: int = 0  # different worlds, counted with matching only
    depth: int = 0
    seconds: float = 0.0
    complete: bool = True
    interrupted: bool = False  # by Ctrl-C
    refined: int = 0  # steps compared with the abstract machine
    findings: dict[str, Finding] = field(default_factory=dict)
    situations: Counter[str] = field(default_factory=Counter)  # gaps reached, by name
    witnessed: Counter[str] = field(default_factory=Counter)  # how often a clause's question arose

    def add(self, part: Explored) -> None:
        """Add what another search covered and found in a part of the same tree of schedules."""
        self.schedules += part.schedules
        self.steps += part.steps
        self.covered += part.covered
        self.refined += part.refined
        self.depth = max(self.depth, part.depth)
        self.complete = self.complete and part.complete
        self.interrupted = self.interrupted or part.interrupted
        self.situations.update(part.situations)
        self.witnessed.update(part.witnessed)
        for found in part.findings.values():
            self.enter(found.clause, found.message, found.schedule)

    def enter(self, clause: str, message: str, schedule: Schedule) -> None:
        """Keep the shortest schedule of each clause."""
        found = self.findings.get(clause)
        if found is None or len(schedule) < len(found.schedule):
            self.findings[clause] = Finding(clause, message, schedule)


class Mark(NamedTuple):
    """How to come back to a world: a saved one, the steps from there on, and the follower's."""

    length: int  # of the schedule that had led to the saved world
    saved: Saved
    followed: Any


class Search:
    """One search through the schedules of a start.

    refine: compare every step with the abstract machine of the variant, if it has one. prefix:
    search only the schedules that begin with it; its steps are not judged. cut: go no deeper than
    so many steps, and keep the schedules that would go on in `uncovered`.
    """

    def __init__(
        self,
        start: Start,
        mode: Mode = "matching",
        *,
        max_steps: int | None = None,
        preemptions: int | None = None,
        stop: Callable[[Explored], bool] | None = None,
        refine: bool = False,
        prefix: Schedule = (),
        cut: int | None = None,
    ) -> None:
        self.start = start
        self.prefix = prefix
        self.cut = cut
        self.uncovered: list[Schedule] = []
        self.mode = mode
        self.max_steps = max_steps
        self.preemptions = preemptions  # at most so many; without a bound, any number
        self.stop = stop
        self.result = Explored(mode)
        self.world = World(start)
        allocator = start.allocator
        machine = machine_of(type(allocator), allocator.geometry.backing) if refine else None
        self.follower = None if machine is None else Follower(machine, self.world)
        self.watch = Watch(self.result, self.follower)
        # worlds met, with the schedules that go on from each and the steps of those; none while
        # the search through a world is under way
        self._met: dict[object, tuple[int, int] | None] = {}

    def run(self) -> Explored:
        """Search until everything is covered, a bound is hit, or Ctrl-C; return what was."""
        began = time.perf_counter()
        result = self.result
        try:
            self.search()
        except EnoughError:
            result.complete = False
        except KeyboardInterrupt:
            result.complete, result.interrupted = False, True
        result.seconds = time.perf_counter() - began
        result.states = len(self._met)
        result.refined = 0 if self.follower is None else self.follower.steps
        return result

    def search(self) -> None:
        """Search from the end of the prefix on."""
        mark, follower = self.start_mark(), self.follower
        for step in self.prefix:
            self.world.step(step)
            if follower is not None:
                follower.after(self.world, max(step, ~step))
        if follower is not None:
            follower.steps = 0  # those of the prefix are not counted
        self._search(self.prefix, mark, frozenset(), self.preemptions or 0)

    def _search(
        self, schedule: Schedule, mark: Mark, asleep: frozenset[int], left: int = 0
    ) -> tuple[int, int]:
        """Search on from the present world.

        Return how many schedules go on from it to an end, and the steps of their tree. left:
        preemptions that may still be made. A switch away from an actor that could go on is one.
        """
        world, result = self.world, self.result
        result.depth = max(result.depth, len(schedule))
        key: object = None
        if self.mode == "matching":
            key = world.fingerprint()
            if self.preemptions is not None:
                key = key, schedule[-1:], left
            if key in self._met:
                return self._count(self._met[key] or self._circle(schedule))
            self._met[key] = None
        enabled = world.enabled()
        if not enabled:
            self.watch.at_end(world, schedule)
            if key is not None:
                self._met[key] = (1, 0)
            return self._count((1, 0))
        if len(schedule) == self.cut:
            self.uncovered.append(schedule)
            return 0, 0
        commuting = self.mode == "commuting"
        prints = {s: footprint(world, max(s, ~s)) for s in enabled} if commuting else {}
        awake: frozenset[int] = frozenset()
        if len(enabled) > 1:
            mark = self.mark(schedule, mark)
        schedules = steps = 0
        moved = False
        last = max(schedule[-1], ~schedule[-1]) if schedule else -1
        for step in enabled:
            if step in asleep:
                continue
            switch = last >= 0 and last in enabled and step not in (last, ~last)
            if self.preemptions is not None and switch and not left:
                continue
            if moved:  # the first step used this world up
                self.again(schedule, mark)
            moved = True
            longer = (*schedule, step)
            self.step(step, longer)
            if asleep:
                awake = frozenset(
                    s for s in asleep if s in prints and commute(prints[s], prints[step])
                )
            more = self._search(longer, mark, awake, left - switch)
            schedules += more[0]
            steps += more[1] + 1
            if commuting:
                asleep |= {step}
        if key is not None:
            self._met[key] = (schedules, steps)
        return schedules, steps

    def _count(self, known: tuple[int, int]) -> tuple[int, int]:
        """Count schedules that have come to an end, or to a world whose ends are known."""
        self.result.schedules += known[0]
        self.result.covered += known[1]
        return known

    def _circle(self, schedule: Schedule) -> tuple[int, int]:
        """A world that leads back to itself: no schedule through it ends by itself (BAL-3)."""
        self.result.enter("BAL-3", "the steps lead back to a state met on the way", schedule)
        return 1, 0

    def start_mark(self) -> Mark:
        """Return how to come back to the start."""
        return Mark(0, self.world.save(), None if self.follower is None else self.follower.mark())

    def mark(self, schedule: Schedule, last: Mark) -> Mark:
        """Return how to come back to the present world; last: how to the last one marked before.

        Generators cannot be copied. So a world with an operation under way is reached again by
        the schedule, from the last world on the way that had none and was saved.
        """
        followed = None if self.follower is None else self.follower.mark()
        if self.world.at_rest:
            return Mark(len(schedule), self.world.save(), followed)
        return Mark(last.length, last.saved, followed)

    def step(self, step: int, schedule: Schedule) -> None:
        """Take a step and judge it; raise EnoughError if the search is to end."""
        result = self.result
        result.steps += 1
        result.covered += 1
        if self.max_steps is not None and result.steps > self.max_steps:
            raise EnoughError
        self.watch.step(self.world, step, schedule)
        if self.stop is not None and self.stop(result):
            raise EnoughError

    def again(self, schedule: Schedule, mark: Mark) -> None:
        """Bring the world back to where a schedule had led and a mark was made."""
        world = self.world
        world.load(mark.saved)
        for step in schedule[mark.length :]:
            world.step(step)
        if self.follower is not None:
            self.follower.back_to(mark.followed)


class EnoughError(Exception):
    """The search has gone as far as it was asked to."""
