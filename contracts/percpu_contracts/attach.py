"""Enforcing contracts: a checked subclass in which icontract wraps every marked function.

The unchecked class is untouched, so a run without contracts costs nothing.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import types
from collections.abc import Callable, Generator, Iterable
from operator import itemgetter
from typing import Any, TypeVar, cast

import icontract

from percpu_contracts.contract import NOT_ASKED, Mark, marked_names, marks_of
from percpu_contracts.guard import gap_misuse, guarded
from percpu_contracts.monitor import ClauseViolation, MisuseError, Monitor

C = TypeVar("C")

CALLERS_ERROR = "API-2"

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
            function = getattr(cls, name)
            wrap = _generator if inspect.isgeneratorfunction(function) else _function
            namespace[name] = wrap(function, marks)
    if level == "full":
        namespace = guarded(cls, namespace)
    made = _CHECKED[cls, level] = type(f"Checked{cls.__name__}", (cls,), namespace)
    return cast("type[C]", made)


def lock_checked(cls: type[C]) -> type[C]:
    """Return a subclass of cls that asks LOCK-1 and LOCK-2 and nothing else, without icontract.

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


def _asking(function: Callable[..., Any], marks: list[Mark]) -> Callable[..., Any]:
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


def _function(function: Callable[..., Any], marks: list[Mark]) -> Callable[..., Any]:
    """Wrap a plain or async function in its contract.

    All its postconditions go into one for icontract, whose cost is per condition; likewise the old
    values and the preconditions.
    """
    requires = [m for m in marks if m.kind == "require"]
    olds = [m for m in marks if m.kind == "old"]
    ensures = [m for m in marks if m.kind == "ensure"]
    if ensures:
        function = icontract.ensure(_judge(ensures), error=_error)(function)
    if olds:
        function = icontract.snapshot(_capture(olds), name="entry")(function)
    if requires:
        function = icontract.require(_judge(requires), error=_error)(function)
    return function


def _generator(function: Callable[..., Any], marks: list[Mark]) -> Callable[..., Any]:
    """Wrap a generator function: its contract speaks of its first step and of its return.

    icontract knows coroutines, not generators, so the generator is run as one. In every gap the
    clauses about states are asked.
    """

    @types.coroutine
    def running(self: Any, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        steps = function(self, *args, **kwargs)
        try:
            while True:
                with _Inside(self, True):
                    gap = next(steps)
                judge_gap(self, gap)
                yield gap
        except StopIteration as stop:
            return stop.value

    @functools.wraps(function)
    async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await running(self, *args, **kwargs)

    contracted = _function(awaited, marks)

    @functools.wraps(function)
    def steps(self: Any, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        # icontract takes a function entered twice in one context for a recursion and does not ask
        # again; the steps of different actors are no recursion, so each has a context of its own
        context = contextvars.Context()
        call = contracted(self, *args, **kwargs)
        try:
            while True:
                yield context.run(call.send, None)
        except StopIteration as stop:
            return stop.value
        finally:
            call.close()

    return steps


def judge_gap(allocator: Any, gap: Any) -> None:
    """Ask the clauses about states while a step stands in a gap.

    Behind its last lock section a step alone changes no more of the state, so the question is left
    to its return.
    """
    monitor: Monitor | None = allocator.monitor
    if monitor is not None and allocator.lock:
        monitor.misused(*gap_misuse(gap.last))
    if monitor is not None and (monitor.history.concurrent or not gap.last):
        monitor.judge(allocator, quiescent=False)


class _Inside:
    """While it lasts, a step of an allocator runs, or a contract looks at what one did."""

    __slots__ = ("guard", "inside", "was")

    def __init__(self, allocator: Any, inside: bool) -> None:
        monitor: Monitor | None = allocator.monitor
        self.guard = None if monitor is None else monitor.guard
        self.inside = inside

    def __enter__(self) -> None:
        if self.guard is not None:
            self.was, self.guard.inside = self.guard.inside, self.inside
            if self.inside and not self.was:
                self.guard.enter()

    def __exit__(self, *raised: object) -> None:
        if self.guard is not None:
            self.guard.inside = self.was


def _parameters(condition: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(condition).parameters)


def _picker(condition: Callable[..., Any]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """Return what takes a condition's arguments, in its order, out of those given by name."""
    names = _parameters(condition)
    if len(names) == 1:
        return lambda given: (given[names[0]],)
    pick: Callable[[dict[str, Any]], tuple[Any, ...]] = itemgetter(*names)
    return pick


def _with_parameters(function: Callable[..., Any], names: Iterable[str]) -> Callable[..., Any]:
    """Give a function of keywords the named parameters that icontract is to pass."""
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    )
    return function


def _capture(olds: list[Mark]) -> Callable[..., Any]:
    """Return the snapshot that keeps all old values of a function."""
    parts = [(m.clause, m.condition, _picker(m.condition)) for m in olds]

    def entry(**given: Any) -> types.SimpleNamespace:
        with _Inside(given["self"], False):
            return types.SimpleNamespace(
                **{key: capture(*pick(given)) for key, capture, pick in parts}
            )

    wanted = dict.fromkeys(["self", *(n for m in olds for n in _parameters(m.condition))])
    return _with_parameters(entry, wanted)


def _judge(marks: list[Mark]) -> Callable[..., bool]:
    """Return the condition as icontract asks it: whether the run may go on."""
    parts = [
        (m.clause, bool(m.clause) and " " not in m.clause, m.condition, _picker(m.condition))
        for m in marks
    ]
    asked = " ".join(m.clause for m in marks)
    wanted = dict.fromkeys(["self", *(n for m in marks for n in _parameters(m.condition))])

    def may_go_on(**given: Any) -> bool:
        monitor: Monitor | None = given["self"].monitor
        if "OLD" in given:
            given["OLD"] = given["OLD"].entry
        if monitor is not None:
            monitor.evaluated[asked] += 1
        with _Inside(given["self"], False):
            return hold(monitor, given)

    def hold(monitor: Monitor | None, given: dict[str, Any]) -> bool:
        for clause, single, condition, pick in parts:
            wrong = condition(*pick(given))
            if wrong is None:
                continue
            if wrong == NOT_ASKED:
                if monitor is not None:
                    monitor.not_asked[clause] += 1
            elif monitor is None:
                if single or any(True for _ in wrong):
                    return False
            elif single:
                if not monitor.broken(clause, wrong):
                    return False
            elif not all(monitor.broken(*entry) for entry in wrong):
                return False
        return True

    return _with_parameters(may_go_on, wanted)


def _error(self: Any) -> Exception:
    """Return what icontract raises for a condition that did not let the run go on."""
    monitor: Monitor | None = self.monitor
    if monitor is None:
        return AssertionError("contract broken")
    clause, wrong = monitor.last
    if clause == CALLERS_ERROR:
        return MisuseError(f"{clause}: {wrong}")
    return ClauseViolation(clause, wrong, monitor.operation)
