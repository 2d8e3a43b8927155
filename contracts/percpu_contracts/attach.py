"""Enforcing contracts: a checked subclass in which icontract wraps every marked function.

The unchecked class is untouched, so a run without contracts costs nothing.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Generator
from typing import Any, TypeVar, cast

import icontract

from percpu_contracts.contract import Mark, marked_names, marks_of
from percpu_contracts.monitor import ClauseViolation, MisuseError, Monitor

C = TypeVar("C")

CALLERS_ERROR = "API-2"


@functools.cache
def checked(cls: type[C], level: str) -> type[C]:
    """Return a subclass of cls that enforces the contracts of a level, fast or full.

    Its instances have a `monitor` (percpu_contracts.monitor.Monitor); with none, conditions are
    judged without exceptions for expected violations.
    """
    namespace: dict[str, Any] = {"__slots__": (), "__module__": cls.__module__}
    for name in marked_names(cls):
        marks = [m for m in marks_of(cls, name) if level == "full" or m.level == "fast"]
        if marks:
            function = getattr(cls, name)
            wrap = _generator if inspect.isgeneratorfunction(function) else _function
            namespace[name] = wrap(function, marks)
    return cast("type[C]", type(f"Checked{cls.__name__}", (cls,), namespace))


def _function(function: Callable[..., Any], marks: list[Mark]) -> Callable[..., Any]:
    """Wrap a plain or async function in its contract."""
    for mark in reversed([m for m in marks if m.kind == "ensure"]):
        function = icontract.ensure(_judge(mark), error=_error)(function)
    for mark in [m for m in marks if m.kind == "old"]:
        function = icontract.snapshot(mark.condition, name=mark.clause)(function)
    for mark in reversed([m for m in marks if m.kind == "require"]):
        function = icontract.require(_judge(mark), error=_error)(function)
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
                gap = next(steps)
                judge_gap(self)
                yield gap
        except StopIteration as stop:
            return stop.value

    @functools.wraps(function)
    async def awaited(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await running(self, *args, **kwargs)

    contracted = _function(awaited, marks)

    @functools.wraps(function)
    def steps(self: Any, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from contracted(self, *args, **kwargs).__await__())

    return steps


def judge_gap(allocator: Any) -> None:
    """Ask the clauses about states while a step stands in a gap."""
    monitor: Monitor | None = allocator.monitor
    if monitor is not None:
        monitor.judge(allocator, quiescent=False)


def _judge(mark: Mark) -> Callable[..., bool]:
    """Return the condition as icontract asks it: whether the run may go on."""
    condition, clause = mark.condition, mark.clause
    single = bool(clause) and " " not in clause

    @functools.wraps(condition)
    def may_go_on(**kwargs: Any) -> bool:
        wrong = condition(**kwargs)
        monitor: Monitor | None = kwargs["self"].monitor
        if monitor is None:
            return not (wrong if single else any(True for _ in wrong))
        monitor.evaluated[clause] += 1
        if single:
            return wrong is None or monitor.broken(clause, wrong)
        return all(monitor.broken(*entry) for entry in wrong)

    return may_go_on


def _error(self: Any) -> Exception:
    """Return what icontract raises for a condition that did not let the run go on."""
    monitor: Monitor | None = self.monitor
    if monitor is None:
        return AssertionError("contract broken")
    clause, wrong = monitor.last
    if clause == CALLERS_ERROR:
        return MisuseError(f"{clause}: {wrong}")
    return ClauseViolation(clause, wrong, monitor.operation)
