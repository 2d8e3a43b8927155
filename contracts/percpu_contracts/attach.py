"""Enforcing contracts: a checked subclass in which every marked function asks its contract.

The unchecked class is untouched, so a run without contracts costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from percpu_contracts.contract import ContractMark, marked_names, marks_of
from percpu_contracts.evaluate import enforced
from percpu_contracts.lock_guard import guarded

C = TypeVar("C")

_LOCKS = ("LOCK-1", "LOCK-2")

_CHECKED: dict[tuple[type, str], type] = {}


def checked(cls: type[C], level: str) -> type[C]:
    """Return a subclass of cls that enforces the contracts of a level, fast or full.

    Each level has marks of its own: fast asks a little at the outer operations, full everything at
    every function. Instances have a `monitor` (percpu_contracts.monitor.Monitor); where it is None
    no violation is expected.
    """
    name = f"{cls.__name__}{level.title()}"
    return _subclass(
        cls, level, name, lambda mark: mark.level == level, enforced, guard=level == "full"
    )


def observed(cls: type[C]) -> type[C]:
    """Return a subclass of cls, of the same layout, that tells its monitor's history of its deeds.

    One that is checked at full, which is returned as it is, does so anyway.
    """
    if cls in [made for (_, level), made in _CHECKED.items() if level in ("full", "deeds")]:
        return cls
    return _subclass(cls, "deeds", cls.__name__, lambda mark: mark.is_deed, enforced, guard=False)


def lock_checked(cls: type[C]) -> type[C]:
    """Return a subclass of cls that asks LOCK-1 and LOCK-2 and nothing else.

    Its layout is that of cls. What is broken goes to the guard of the allocator's monitor, which
    must be there.
    """
    def asks(mark: ContractMark) -> bool:
        return mark.kind == "require" and mark.clause in _LOCKS

    return _subclass(cls, "locks", f"Guarded{cls.__name__}", asks, _asking, guard=True)


def _subclass(
    cls: type[C],
    key: str,
    name: str,
    asks: Callable[[ContractMark], bool],
    enforce: Callable[[Callable[..., Any], list[ContractMark]], Callable[..., Any]],
    *,
    guard: bool,
) -> type[C]:
    """Return the subclass of a key, in which functions with marks that it asks are others."""
    if (cls, key) not in _CHECKED:
        namespace: dict[str, Any] = {"__slots__": (), "__module__": cls.__module__}
        for function in marked_names(cls):
            marks = [mark for mark in marks_of(cls, function) if asks(mark)]
            if marks:
                namespace[function] = enforce(getattr(cls, function), marks)
        namespace = guarded(cls, namespace) if guard else namespace
        _CHECKED[cls, key] = type(name, (cls,), namespace)
    return cast("type[C]", _CHECKED[cls, key])


def _asking(function: Callable[..., Any], marks: list[ContractMark]) -> Callable[..., Any]:
    """Return the function with its preconditions asked first; they speak of locks alone."""
    asked = [(m.clause, m.condition) for m in marks]

    @functools.wraps(function)
    def asking(self: Any, *given: Any) -> Any:
        for clause, condition in asked:
            wrong = condition(self)
            if wrong is not None:
                self.monitor.guard.report(clause, wrong)
        return function(self, *given)

    return asking
