"""The schedule of a token run again, each step judged, and which of its operations overlap.

It runs from boot on under contracts at full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from percpu_contracts.violations import ClauseViolation
from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.judges import ContractedWorld, StepJudge
from percpu_proofs.explore.schedulers.fixed import InTurn, ScheduleReplay
from percpu_proofs.explore.search import Exploration
from percpu_proofs.explore.system import Scheduler, actor_of, scheduled
from percpu_proofs.explore.token import Token
from percpu_proofs.explore.world import World
from percpu_proofs.refine.allocator import checker_of
from percpu_proofs.refine.checker import RefinementChecker
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import text_of
from percpu_reference import build
from percpu_reference.gaps import Gap
from percpu_reference.variants import Allocator
from percpu_spec.catalogue import REFINE

T = TypeVar("T")


class StepRecord(NamedTuple, Generic[T]):
    """A step that was taken: what it was, what was seen behind it, and what it broke."""

    number: int
    step: int  # as schedules have it, actors of the setup counted
    left: Gap | None
    locked: bool  # pcpu_lock was taken in it
    seen: T
    broken: dict[str, str]  # clauses, each with what is wrong
    stopped: ClauseViolation | None  # what ended it before its end: it would have had none


class Rerun:
    """A world behind the setup of a token, and the order of what follows.

    What the setup breaks is not told. Without a schedule the actors run one after the other. All
    ends with the step that breaks the token's clause, unless the setup breaks it too.
    """

    def __init__(
        self, token: Token, variant: type[Allocator] | None = None, *, lenient: bool = False
    ) -> None:
        """Do the setup.

        variant: run in the place of the token's. lenient: a step that is not possible is left out,
        and what has not ended behind the schedule goes on in turn.
        """
        self.first = 0  # the number of the first actor that is not of the setup
        self._checker: RefinementChecker | None = None
        self._last: int | None = None  # the step at which hints are judged too
        self._sought = token.clause
        if token.clause == REFINE:
            self._follow(token)
        else:
            self._under_contracts(token, variant or token.variant, lenient)

    def _follow(self, token: Token) -> None:
        """Have the steps followed by the abstract machine."""
        self.world = World(token.scenario.start(token.variant))
        self._checker = checker_of(self.world.allocator, self.world.history)
        self._last = len(token.schedule)
        self._order: Scheduler = ScheduleReplay(token.schedule)

    def _under_contracts(self, token: Token, variant: str | type[Allocator], lenient: bool) -> None:
        scenario = token.scenario
        prepared, actors = scenario.prepared, scenario.concurrent
        driver = Driver(build(variant, scenario.sizes, contracts="full", strict=False))
        start = replace(scenario.start_of(driver), operations=prepared + actors)
        self.first = first = len(prepared)
        self.world = world = ContractedWorld(start)
        world.history.concurrent = False
        for step in scheduled(world, InTurn(range(first))):
            with suppress(ClauseViolation):
                world.step(step)
        if token.clause in world.monitor.violations:  # by which of the steps is not to be told
            self._sought = ""
        world.history.concurrent = bool(token.schedule)
        self._order = InTurn(range(len(start.operations)))
        if token.schedule:
            schedule = [s + first if s >= 0 else ~(~s + first) for s in token.schedule]
            # those of the start, and the runs of the work that come up behind them
            then = InTurn(range(first, len(start.operations) * 9)) if lenient else None
            self._order = ScheduleReplay(schedule, lenient=lenient, then=then)

    def steps(self, look: Callable[[], T]) -> Iterator[StepRecord[T]]:
        """Take the steps; look: what is to be seen behind each. Raises ImpossibleStepError."""
        world, monitor = self.world, self.world.monitor
        for number, step in enumerate(scheduled(world, self._order), 1):
            result = Exploration("all")
            judge = StepJudge(result, self._checker)
            actor = actor_of(step)
            left = world.runners[actor].gap if actor < len(world.runners) else None
            counts = {c: v.count for c, v in monitor.violations.items()}
            monitor.operation = number
            stopped = None
            try:
                judge.step(world, step, ())
            except ClauseViolation as violation:
                stopped = violation
            seen, locked = look(), monitor.guard.locked
            if not world.enabled():
                judge.at_end(world, ())
            if number == self._last:  # where nothing is under way
                for clause, wrong in WholeState().broken(world.allocator):
                    result.enter(clause, wrong, ())
            broken = {
                clause: violation.first_message
                for clause, violation in monitor.violations.items()
                if violation.count > counts.get(clause, 0)
            }
            broken |= {f.clause: f.message for f in result.findings.values()}
            yield StepRecord(number, step, left, locked, seen, broken, stopped)
            if stopped is not None or self._sought in broken:
                return


def broken_by(
    token: Token, variant: type[Allocator] | None = None, *, lenient: bool = False
) -> frozenset[str]:
    """Return the clauses that a schedule breaks; variant, lenient: as Rerun has it.

    Raises ImpossibleStepError, KeyError for a schedule that is not possible.
    """
    taken = Rerun(token, variant, lenient=lenient).steps(lambda: None)
    return frozenset(clause for step in taken for clause in step.broken)


THEN = "then"
"""How operations run that do so alone, behind others that did not."""


class OperationStep(NamedTuple, Generic[T]):
    """A step of a schedule: who takes it, and whether its operation ends with it."""

    actor: int
    what: T  # stands for its operation
    work: bool  # it is a run of the balance work
    ends: bool


@dataclass(slots=True)
class OperationSpan(Generic[T]):
    """Operations and runs of the work from one moment at which none is under way to the next.

    members: as they begin, each with whether it is a run of the work. apart: no two operations are
    under way at the same time.
    """

    members: list[tuple[T, bool]] = field(default_factory=list)
    apart: bool = True

    @property
    def how(self) -> str:
        """How its operations run, in words; empty for one alone."""
        if len(self.members) == 1:
            return ""
        works = any(work for _, work in self.members)
        return ", ".join(["at once"] * (not self.apart) + ["beside the work"] * works)

    def operations(self) -> list[T]:
        """Return its operations; a run of the work only if it is alone."""
        return [what for what, work in self.members if not work or len(self.members) == 1]


def spans(steps: Iterable[OperationStep[T]]) -> Iterator[OperationSpan[T]]:
    """Yield the spans of a schedule."""
    now: OperationSpan[T] = OperationSpan()
    under_way: dict[int, bool] = {}  # actors, each with whether it is a run of the work
    for step in steps:
        if step.actor not in under_way:
            under_way[step.actor] = step.work
            now.members.append((step.what, step.work))
            now.apart &= list(under_way.values()).count(False) <= 1
        if step.ends:
            del under_way[step.actor]
        if not under_way:
            yield now
            now = OperationSpan()
    if now.members:
        yield now


def parts(setup: Sequence[T], schedule: Iterable[OperationSpan[T]]) -> list[tuple[str, list[T]]]:
    """Return how operations run, and these; empty texts and THEN: one after the other."""
    together = [("", list(setup))]
    for span in schedule:
        if not span.how and together[-1][0] in ("", THEN):
            together[-1][1].extend(span.operations())
        else:
            together.append((span.how or THEN, span.operations()))
    return [part for part in together if part[1]]


def one_line(found: Iterable[tuple[str, Sequence[T]]], text: Callable[[T], str] = str) -> str:
    """Return parts as one line.

    >>> one_line([("", ["a 1 8 4 -", "f 1"]), ("beside the work", ["a 2 8 4 -"])])
    'a 1 8 4 -; f 1 | beside the work: a 2 8 4 -'
    """
    lines = ((how, "; ".join(map(text, operations))) for how, operations in found)
    return " | ".join(f"{how}: {line}" if how else line for how, line in lines)


@lru_cache(maxsize=512)
def parts_of(token: Token) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return how the operations of a token run, in the operation language.

    Without a schedule they run one after the other. Raises ImpossibleStepError, KeyError for a
    schedule that is not possible.
    """
    if not token.schedule:
        return (("", (*token.setup, *token.actors)),)
    whole = parts(token.setup, spans(_steps(token)))
    return tuple((how, tuple(operations)) for how, operations in whole)


def _steps(token: Token) -> Iterator[OperationStep[str]]:
    rerun = Rerun(token)
    for taken in rerun.steps(lambda: None):
        actor = actor_of(taken.step)
        runner = rerun.world.runners[actor]
        text = text_of(runner.operation)
        yield OperationStep(actor, text, runner.operation[0] in "bB", runner.done)
