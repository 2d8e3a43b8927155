"""What all searches of schedules have: where one stands, what it covered, and how it ends.

The ways to search are in schedulers/, a class each.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from percpu_proofs.explore.judges import StateJudge, StepJudge
from percpu_proofs.explore.system import Schedule, Start, actor_of
from percpu_proofs.explore.world import World
from percpu_proofs.refine.allocator import checker_of

_FAR: Final = 2  # steps from a saved world on that are rather taken again than saved as well


class Cursor:
    """Where a search stands. refine: the abstract machine of the variant follows, if it has one.

    world: one to be used again, of the same variant in the same geometry.

    Generators cannot be copied. So a world is reached again by the schedule, from the last one on
    the way there that had no operation under way and was saved.
    """

    def __init__(self, start: Start, *, refine: bool = False, world: World | None = None) -> None:
        self.world = world or World(start)
        if world is not None:
            world.restart(start)
        self.checker = checker_of(self.world.allocator, self.world.history) if refine else None
        self._taken: list[int] = []  # the steps to where the world is
        self._used_up = False  # it is elsewhere
        self._saved = [(0, self.world.begin)]  # worlds at rest, each after so many steps
        self._marks: list[Any] = [self.checker and self.checker.mark()]  # after each step

    def come_to(self, schedule: Sequence[int]) -> None:
        """Bring the world to the end of a schedule."""
        world, taken, checker = self.world, self._taken, self.checker
        steps = enumerate(zip(taken, schedule, strict=False))
        shorter = min(len(taken), len(schedule))
        same = next((at for at, (ours, theirs) in steps if ours != theirs), shorter)
        if same < len(taken) or self._used_up:
            self._used_up = False
            while self._saved[-1][0] > same:
                self._saved.pop()
            length, saved = self._saved[-1]
            world.load(saved)
            for number in range(length, same):
                world.step(schedule[number])
                self._save(number + 1)
            del taken[same:], self._marks[same + 1 :]
            if checker is not None:
                checker.back_to(self._marks[same])
        for step in schedule[same:]:
            runner = world.step(step)
            if checker is not None:
                compared = checker.stretches
                checker.judge(actor_of(step), runner.gap, world.history)
                checker.stretches = compared  # what is done again is not counted
            self.note_step(step)
            self._save(len(taken))

    def note_step(self, step: int) -> None:
        """Note that the world has taken a step, and the machine followed."""
        self._taken.append(step)
        self._marks.append(self.checker and self.checker.mark())

    def use_up(self) -> None:
        """Note that the world is about to leave where it is."""
        self._used_up = True

    def _save(self, length: int) -> None:
        if length > self._saved[-1][0] + _FAR and self.world.at_rest:
            self._saved.append((length, self.world.save()))


Mode = Literal["all", "commuting", "dpor", "matching", "drawn"]


@dataclass(slots=True)
class ScheduleFinding:
    """A clause broken by a schedule, at its last step."""

    clause: str
    message: str
    schedule: Schedule


@dataclass(slots=True)
class Exploration:
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
    findings: dict[str, ScheduleFinding] = field(default_factory=dict)
    uncovered: list[Schedule] = field(default_factory=list)  # that go on where a search was cut off
    situations: Counter[str] = field(default_factory=Counter)  # gaps reached, by name
    witnessed: Counter[str] = field(default_factory=Counter)  # how often a clause's question arose
    callers_errors: set[str] = field(default_factory=set)  # frees that API-2 forbids, in words

    def add(self, part: Exploration) -> None:
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
        self.callers_errors |= part.callers_errors
        for found in part.findings.values():
            self.enter(found.clause, found.message, found.schedule)

    def enter(self, clause: str, message: str, schedule: Schedule) -> None:
        """Keep the shortest schedule of each clause."""
        shortest = self.findings.get(clause)
        if shortest is None or len(schedule) < len(shortest.schedule):
            self.findings[clause] = ScheduleFinding(clause, message, schedule)


class Search(ABC):
    """One search through the schedules of a start; the first step that is judged follows `prefix`.

    refine: compare every step with the abstract machine of the variant, if it has one. stop: asked
    after each finding. world: one to be used again, of the same variant in the same geometry.
    """

    mode: Mode

    def __init__(
        self,
        start: Start,
        *,
        max_steps: int | None = None,
        stop: Callable[[Exploration], bool] | None = None,
        refine: bool = False,
        of_states: StateJudge | None = None,
        world: World | None = None,
    ) -> None:
        self.max_steps = max_steps
        self.stop = stop
        self.result = Exploration(self.mode)
        self.cursor = Cursor(start, refine=refine, world=world)
        self.world, self.checker = self.cursor.world, self.cursor.checker
        self.judge = StepJudge(self.result, self.checker, of_states)

    def run(self) -> Exploration:
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
        result.refined = 0 if self.checker is None else self.checker.stretches
        return result

    @abstractmethod
    def search(self) -> None:
        """Search until everything is covered; raise EnoughError at a bound."""

    def step(self, schedule: Schedule) -> None:
        """Take the last step of a schedule and judge it; raise EnoughError to end the search."""
        *before, step = schedule
        self.count()
        self.cursor.come_to(before)
        self.judge.step(self.world, step, schedule)
        self.cursor.note_step(step)
        if self.stop is not None and self.stop(self.result):
            raise EnoughError

    def at_end(self, schedule: Schedule) -> None:
        """Judge the present world, the end of a schedule, in which nobody can go on."""
        self.judge.at_end(self.world, schedule)
        self.cursor.use_up()
        self.result.schedules += 1

    def count(self) -> None:
        """Count a step that is judged; raise EnoughError if it is one too many."""
        result = self.result
        result.steps += 1
        result.covered += 1
        if self.max_steps is not None and result.steps > self.max_steps:
            raise EnoughError


class EnoughError(Exception):
    """The search has gone as far as it was asked to."""
