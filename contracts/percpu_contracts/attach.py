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
    if (cls, level) in _CHECKED:
        return cast("type[C]", _CHECKED[cls, level])
    namespace: dict[str, Any] = {"__slots__": (), "__module__": cls.__module__}
    for name in marked_names(cls):
        marks = [m for m in marks_of(cls, name) if m.level == level]
        if marks:
            namespace[name] = enforced(getattr(cls, name), marks)
    if level == "full":
        namespace = guarded(cls, namespace)
    made = _CHECKED[cls, level] = type(f"{cls.__name__}{level.title()}", (cls,), namespace)
    return cast("type[C]", made)


def observed(cls: type[C]) -> type[C]:
    """Return a subclass of cls, of the same layout, that tells its monitor's history of its deeds.

    One that is checked at full, which is returned as it is, does so anyway.
    """
    if cls in [made for (_, level), made in _CHECKED.items() if level in ("full", "deeds")]:
        return cls
    if (cls, "deeds") not in _CHECKED:
        namespace: dict[str, Any] = {"__slots__": (), "__module__": cls.__module__}
        for name in marked_names(cls):
            deeds = [mark for mark in marks_of(cls, name) if mark.is_deed]
            if deeds:
                namespace[name] = enforced(getattr(cls, name), deeds)
        _CHECKED[cls, "deeds"] = type(cls.__name__, (cls,), namespace)
    return cast("type[C]", _CHECKED[cls, "deeds"])


def lock_checked(cls: type[C]) -> type[C]:
    """Return a subclass of cls that asks LOCK-1 and LOCK-2 and nothing else.

    Its layout is that of cls. What is broken goes to the guard of the allocator's monitor, which
    must be there.
    """
    if (cls, "locks") in _CHECKED:
        return cast("type[C]", _CHECKED[cls, "locks"])
    namespace: dict[str, Any] = {"__slots__": (), "__module__": cls.__module__}
    for name in marked_names(cls):
        marks = [m for m in marks_of(cls, name) if m.kind == "require" and m.clause in _LOCKS]
        if marks:
            namespace[name] = _asking(getattr(cls, name), marks)
    made = _CHECKED[cls, "locks"] = type(f"Guarded{cls.__name__}", (cls,), guarded(cls, namespace))
    return cast("type[C]", made)


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
