"""Judging one call: by the function's own contract, by the state clauses, and in every gap.

Contracts are evaluated as plain predicates around the plain function. Wrapped by icontract inside a
harness, a callee's broken contract would hide the path on which it broke (facts: CrossHair ignores
a path whose callee fails).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from percpu_contracts.contract import NOT_ASKED, ContractMark, marks_of
from percpu_proofs.prove.small.memo import memo
from percpu_proofs.run.choices import VacuousError
from percpu_reference.gaps import Gap, Steps

Wrong = str | None

_MOST_GAPS = 200  # in one call at the sizes searched; the right ones pass through fewer than 30


@memo
def _marks(cls: type, name: str) -> tuple[tuple[ContractMark, tuple[str, ...]], ...]:
    """Return a method's contract at level full, each condition with the names it takes.

    Notes that keep the history of a run are left out.
    """
    return tuple(
        (mark, tuple(inspect.signature(mark.condition).parameters))
        for mark in marks_of(cls, name)
        if mark.level == "full" and mark.clause
    )


@memo
def _notes(cls: type, name: str) -> tuple[tuple[ContractMark, tuple[str, ...]], ...]:
    """Return what keeps history when a method is left."""
    return tuple(
        (mark, tuple(inspect.signature(mark.condition).parameters))
        for mark in marks_of(cls, name)
        if mark.is_note
    )


@memo
def _parameters(cls: type, name: str) -> tuple[tuple[str, Any], ...]:
    """Return a method's parameters with their defaults, without self."""
    found = list(inspect.signature(getattr(cls, name)).parameters.values())[1:]
    return tuple((p.name, p.default) for p in found)


class MethodCall:
    """One call of a method on a scene's allocator, with its contract asked before and after.

    only names the clauses whose promises are asked; without it, all are that the variant is held
    to. A state that the contract does not allow is vacuous.
    """

    def __init__(self, scene: Any, name: str, *args: Any, only: Iterable[str] = ()) -> None:
        self._allocator = allocator = scene.allocator
        self._choose = scene.choose
        self._guarded = scene.guarded
        self._name = name
        # the function itself: its own notes are made when its contract has been asked
        self._function = getattr(type(allocator).__base__, name)
        self._only = tuple(only)
        self._args = args
        self._given = {"self": allocator}
        for number, (parameter, default) in enumerate(_parameters(type(allocator), name)):
            self._given[parameter] = args[number] if number < len(args) else default
        self.result: Any = None
        with self._choose.plain():
            self._enter()

    def _enter(self) -> None:
        """Ask what the contract requires and keep its old values."""
        marks = _marks(type(self._allocator), self._name)
        for mark, names in marks:
            if mark.kind == "require" and mark.condition(*self._pick(names)):
                raise VacuousError
        self._given["OLD"] = olds = types.SimpleNamespace()
        for mark, names in marks:
            if mark.kind == "old":
                setattr(olds, mark.clause, mark.condition(*self._pick(names)))

    def _pick(self, names: tuple[str, ...]) -> list[Any]:
        return [self._given[name] for name in names]

    def _asked(self, mark: ContractMark) -> bool:
        if self._only:
            return mark.clause in self._only
        allocator = self._allocator
        return mark.clause not in allocator.EXPECTED and mark.clause not in allocator.NOT_APPLICABLE

    def run(self) -> Wrong:
        """Make the call and return what its contract finds wrong."""
        guard = self._allocator.monitor.guard
        if self._guarded:
            guard.begin(self._allocator, None, None)
        self.result = self._function(self._allocator, *self._args)
        guard.inside = False
        return self.judged()

    def steps(self, in_gap: Callable[[Gap], Wrong]) -> Wrong:
        """Run a function with gaps, ask in_gap in each, and then the contract."""
        steps = self._function(self._allocator, *self._args)
        if self._guarded:
            steps = self._watched(steps)
        self.result, wrong = walk(steps, in_gap)
        return wrong or self.judged()

    def _watched(self, steps: Steps[Any]) -> Steps[Any]:
        """Let the guard watch steps, and nothing between them."""
        guard = self._allocator.monitor.guard
        while True:
            guard.begin(self._allocator, None, None)
            try:
                gap = next(steps)
            except StopIteration as stop:
                return stop.value
            finally:
                guard.inside = False
            yield gap

    def judged(self) -> Wrong:
        """Return what the contract finds wrong now."""
        self._given["result"] = self.result
        with self._choose.plain():
            wrong = self._broken()
            for mark, names in _notes(type(self._allocator), self._name):
                mark.condition(*self._pick(names))
            return wrong

    def _broken(self) -> Wrong:
        clause, owed = self._allocator.monitor.last
        if clause:
            return f"{clause}: {owed}"
        for mark, names in _marks(type(self._allocator), self._name):
            if mark.kind == "ensure" and self._asked(mark):
                wrong = mark.condition(*self._pick(names))
                if wrong is not None and wrong != NOT_ASKED:
                    return f"{mark.clause}: {wrong}"
        return None


def walk(steps: Steps[Any], in_gap: Callable[[Gap], Wrong]) -> tuple[Any, Wrong]:
    """Run steps to their end, asking in every gap; return their result and the first wrong.

    What waits for a lock that nobody else holds would never end, and no solver would ask the time.
    """
    first: Wrong = None
    for _ in range(_MOST_GAPS):
        try:
            gap = next(steps)
        except StopIteration as stop:
            return stop.value, first
        if first is None:
            first = in_gap(gap)
    return None, first or f"BAL-3: it has not ended after {_MOST_GAPS} gaps"


def first_wrong(*found: Wrong) -> Wrong:
    """Return the first thing wrong."""
    return next((wrong for wrong in found if wrong is not None), None)


def broken(clauses: Iterator[tuple[str, str]]) -> Wrong:
    """Return the first broken clause of those found."""
    return next((f"{clause}: {wrong}" for clause, wrong in clauses), None)
