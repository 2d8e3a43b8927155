"""Marks that annotate a function with its contract, at no cost until `attach` enforces them.

A condition takes `self` and parameters of the function by name, and `result` or `OLD` where it asks
for them. It returns None where it holds, else what is wrong. Marks are inherited: an override of a
marked function is held to the same contract.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Level = Literal["off", "fast", "full"]
MarkKind = Literal["require", "ensure", "old"]
Condition = Callable[..., Any]
F = TypeVar("F", bound=Callable[..., Any])

MARKS = "__percpu_contract__"
_NOTE = "__percpu_note__"

NOT_ASKED = ""
"""What a condition returns where its question did not arise. It then counts as no evaluation, so
that no clause is called holding for want of a situation in which it could have been broken."""


@dataclass(frozen=True, slots=True)
class ContractMark:
    """One line of a contract; clause is the id it answers for, or the name of an old value.

    A condition that answers for several clauses names them all, and returns what is broken as an
    iterable of (clause, message).
    """

    kind: MarkKind
    clause: str
    condition: Condition
    level: Level

    @property
    def single(self) -> bool:
        """Whether it answers for one clause."""
        return bool(self.clause) and " " not in self.clause

    @property
    def is_note(self) -> bool:
        """Whether it only keeps history (`record`)."""
        return hasattr(self.condition, _NOTE)

    @property
    def is_deed(self) -> bool:
        """Whether it tells of a deed."""
        return getattr(self.condition, _NOTE, False)


ON_FUNCTIONS: dict[str, list[str]] = {}
"""The functions whose contracts ask a clause, by its id; filled as functions are marked."""


def _mark(kind: MarkKind, clause: str, condition: Condition, level: Level) -> Callable[[F], F]:
    def annotate(function: F) -> F:
        marks: tuple[ContractMark, ...] = getattr(function, MARKS, ())
        for asked in clause.split() if kind != "old" else ():
            ON_FUNCTIONS.setdefault(asked, []).append(function.__qualname__)
        # decorators run from the bottom up; keep the order in which they are read
        setattr(function, MARKS, (ContractMark(kind, clause, condition, level), *marks))
        return function

    return annotate


def require(clause: str, condition: Condition, level: Level = "full") -> Callable[[F], F]:
    """State what a clause asks for when the function is entered."""
    return _mark("require", clause, condition, level)


def ensure(clause: str, condition: Condition, level: Level = "full") -> Callable[[F], F]:
    """State what a clause promises when the function is left."""
    return _mark("ensure", clause, condition, level)


def old(name: str, capture: Condition) -> Callable[[F], F]:
    """Keep a value of the state at entry; conditions find it as OLD.name."""
    return _mark("old", name, capture, "full")


def record(note: Condition, *, deed: bool = False) -> Callable[[F], F]:
    """Keep the history that some clauses speak of: note is called when the function is left.

    deed: it tells of a deed (percpu_spec.steps), and so is called wherever steps are judged.
    """

    @functools.wraps(note)
    def noted(*args: Any, **named: Any) -> None:
        note(*args, **named)

    setattr(noted, _NOTE, deed)
    return _mark("ensure", "", noted, "full")


def sentence(mark: ContractMark) -> str:
    """Return what a line of a contract says: its clauses, and its condition's docstring.

    >>> def held(self): "Index data change under pcpu_lock (LOCK-1)."
    >>> sentence(ContractMark("require", "LOCK-1", held, "full"))
    'LOCK-1: Index data change under pcpu_lock.'
    """
    says = (inspect.getdoc(mark.condition) or "").split("\n\n")[0].replace("\n", " ")
    says = says.replace(f" ({mark.clause}).", ".")
    return f"{mark.clause}: {says}" if mark.clause else says


def marks_of(cls: type, name: str) -> tuple[ContractMark, ...]:
    """Return the contract of a method: the marks of every definition of it, base first."""
    found: list[ContractMark] = []
    for base in reversed(cls.__mro__):
        for mark in getattr(base.__dict__.get(name), MARKS, ()):
            if mark not in found:
                found.append(mark)
    return tuple(found)


def marked_names(cls: type) -> list[str]:
    """Return the names of all methods of cls that have a contract."""
    return sorted(
        {name for base in cls.__mro__ for name, f in base.__dict__.items() if hasattr(f, MARKS)}
    )
