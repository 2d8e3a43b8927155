"""Which operations of a schedule run alone, and which beside one another or the balance work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from percpu_proofs.explore.rerun import Rerun
from percpu_proofs.explore.system import actor_of
from percpu_proofs.explore.token import Token
from percpu_proofs.run.operations import text_of

T = TypeVar("T")

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


def parts(setup: Sequence[T], found: Iterable[OperationSpan[T]]) -> Iterator[tuple[str, list[T]]]:
    """Yield how operations run and these: one after the other (an empty text, and THEN), or not."""
    alone, began = list(setup), False
    for span in found:
        if not span.how:
            alone += span.operations()
            continue
        if alone:
            yield THEN if began else "", alone
        yield span.how, span.operations()
        alone, began = [], True
    if alone:
        yield THEN if began else "", alone


def listed(found: Iterable[tuple[str, Sequence[T]]], text: Callable[[T], str] = str) -> str:
    """Return parts as one line.

    >>> listed([("", ["a 1 8 4 -", "f 1"]), ("beside the work", ["a 2 8 4 -"])])
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
    found = parts(token.setup, spans(_steps(token)))
    return tuple((how, tuple(operations)) for how, operations in found)


def _steps(token: Token) -> Iterator[OperationStep[str]]:
    rerun = Rerun(token)
    for taken in rerun.steps(lambda: None):
        actor = actor_of(taken.step)
        runner = rerun.world.runners[actor]
        text = text_of(runner.operation)
        yield OperationStep(actor, text, runner.operation[0] in "bB", runner.done)
