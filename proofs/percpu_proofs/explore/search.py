"""What a search through the schedules of a start covers and finds, and what every search needs.

The ways to search are schedulers; see those.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from percpu_proofs.explore.cursor import Cursor
from percpu_proofs.explore.start import Start
from percpu_proofs.explore.state_judge import StateJudge
from percpu_proofs.explore.step_judge import StepJudge
from percpu_proofs.explore.system import Schedule
from percpu_proofs.explore.world import World

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
        found = self.findings.get(clause)
        if found is None or len(schedule) < len(found.schedule):
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
        self.cursor.took(step)
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
