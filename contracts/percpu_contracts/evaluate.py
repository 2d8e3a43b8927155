"""The one evaluator of contracts: what a checked function runs instead of itself.

A contract is compiled once for each function: every condition with the positions of its arguments,
so that a call costs little more than its conditions. What tools ask, icontract's own attributes on
the function and its docstring, is made of the same conditions.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Generator, Sequence
from typing import Any, cast

import icontract
from icontract._checkers import find_checker

from percpu_contracts.contract import NOT_ASKED, Condition, ContractMark, sentence
from percpu_contracts.lock_guard import gap_misuse
from percpu_contracts.monitor import Monitor
from percpu_contracts.operation_steps import KINDS, Actor, after, before, handed_out, judged_step
from percpu_contracts.violations import ClauseViolation, MisuseError
from percpu_spec.definitions import area_size
from percpu_spec.steps import Step

CALLERS_ERROR = "API-2"

Values = tuple[Any, ...]


class Contract:
    """The contract of one function, compiled: its marks of one level.

    Values are those of the parameters, in their order.
    """

    __slots__ = ("_count", "_ensure", "_ensured", "_entry", "_required", "_signature",
                 "function")  # fmt: skip

    def __init__(self, function: Callable[..., Any], marks: Sequence[ContractMark]) -> None:
        self.function = function
        self._signature = inspect.signature(function)
        self._count = len(self._signature.parameters)
        names = [*self._signature.parameters, "OLD", "result"]
        requires, olds, ensures = (
            [mark for mark in marks if mark.kind == kind] for kind in ("require", "old", "ensure")
        )
        self._entry = _compiled([*requires, *olds], names[:-2])
        self._ensure = _compiled(ensures, names)
        # what monitors count an evaluation by
        self._required, self._ensured = (
            " ".join(mark.clause for mark in asked) for asked in (requires, ensures)
        )

    def values(self, given: Values, named: dict[str, Any]) -> Values:
        """Return the values of the parameters, in order, defaults included."""
        if not named and len(given) == self._count:
            return given
        bound = self._signature.bind(*given, **named)
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def enter(self, values: Values) -> Any:
        """Ask what is required; return the old values."""
        if self._entry is None:
            return None
        return _looking(self._entry, values, self._required)

    def leave(self, values: Values, old: Any, result: Any) -> None:
        """Ask what is promised."""
        if self._ensure is not None:
            _looking(self._ensure, (*values, old, result), self._ensured)


def _looking(ask: Callable[..., Any], values: Values, clauses: str) -> Any:
    """Ask clauses with the guard looking away: a contract may look anywhere, call what it likes."""
    monitor: Monitor | None = values[0].monitor
    if monitor is None:
        return ask(None, *values)
    if clauses:
        monitor.evaluated[clauses] += 1
    guard = monitor.guard
    was, guard.inside, monitor.asking = guard.inside, False, True
    try:
        return ask(monitor, *values)
    finally:
        guard.inside, monitor.asking = was, False


def _compiled(marks: Sequence[ContractMark], names: Sequence[str]) -> Callable[..., Any] | None:
    """Return a function of the monitor and these values that asks all the marks in turn.

    It returns what old values they keep. None if there is nothing to ask.
    """
    if not marks:
        return None
    lines = [f"def ask(_monitor, {', '.join(names)}):"]
    known: dict[str, Any] = {"_enter": _enter, "_namespace": types.SimpleNamespace}
    kept = []
    for number, mark in enumerate(marks):
        known |= {f"_mark{number}": mark, f"_condition{number}": mark.condition}
        asked = f"_condition{number}({', '.join(inspect.signature(mark.condition).parameters)})"
        if mark.kind == "old":
            kept.append(f"{mark.clause}={asked}")
        else:
            lines.append(f" _wrong = {asked}")
            lines.append(f" if _wrong is not None: _enter(_monitor, _mark{number}, _wrong)")
    if kept:
        lines.append(f" return _namespace({', '.join(kept)})")
    exec("\n".join(lines), known)
    return cast("Callable[..., Any]", known["ask"])


def _enter(monitor: Monitor | None, mark: ContractMark, wrong: Any) -> None:
    """Enter what a condition found; raise where the run may not go on."""
    if wrong == NOT_ASKED:
        if monitor is not None:
            monitor.not_asked[mark.clause] += 1
    elif monitor is None:
        if mark.single or any(True for _ in wrong):
            raise AssertionError("contract broken")
    elif mark.single:
        if not monitor.broken(mark.clause, wrong):
            raise _error(monitor)
    elif not all(monitor.broken(*entry) for entry in wrong):
        raise _error(monitor)


def _error(monitor: Monitor) -> Exception:
    """Return what is raised for a violation that did not let the run go on."""
    clause, wrong = monitor.last
    if clause == CALLERS_ERROR:
        return MisuseError(f"{clause}: {wrong}")
    return ClauseViolation(clause, wrong, monitor.operation)


def enforced(function: Callable[..., Any], marks: Sequence[ContractMark]) -> Callable[..., Any]:
    """Return a function that asks a contract at every call.

    That of a generator function speaks of its first step and of its return; in every gap the
    clauses about states are asked.
    """
    function = without_contract(function)
    contract = Contract(function, marks)
    if inspect.isgeneratorfunction(function):
        return _visible(_stepwise(contract), marks)

    @functools.wraps(function)
    def at_once(*given: Any, **named: Any) -> Any:
        monitor: Monitor | None = given[0].monitor
        if monitor is not None and monitor.asking:
            return function(*given, **named)
        values = contract.values(given, named)
        old = contract.enter(values)
        result = function(*given, **named)
        contract.leave(values, old, result)
        return result

    return _visible(at_once, marks)


def _stepwise(contract: Contract) -> Callable[..., Any]:
    """Return the generator function under contract; the outermost one that runs judges its steps.

    Those that it calls pass their gaps on.
    """

    @functools.wraps(contract.function)
    def steps(*given: Any, **named: Any) -> Generator[Any, Any, Any]:
        values = contract.values(given, named)
        old = contract.enter(values)
        allocator = values[0]
        operation = None
        running = contract.function(*given, **named)
        try:
            while True:
                monitor: Monitor | None = allocator.monitor
                if monitor is None or monitor.guard.inside:
                    gap = next(running)
                else:
                    operation = operation or _Operation(contract.function.__name__, values)
                    gap = operation.step(running)
                yield gap
        except StopIteration as stop:
            result = stop.value
        finally:
            running.close()
            if operation is not None:
                operation.under_way.remove(operation)
        contract.leave(values, old, result)
        return result

    return steps


class _Operation(Actor):
    """What runs under contracts with nothing else of the allocator around it: its gaps are judged.

    If it is an operation, one of KINDS, its steps are judged too.
    """

    def __init__(self, name: str, values: Values) -> None:
        super().__init__(KINDS.get(name, ""))
        self.allocator = values[0]
        self.monitor: Monitor = self.allocator.monitor
        self.under_way = self.monitor.actors
        self.under_way.append(self)
        self._size = 0  # of an allocation, in bytes
        self._freed = None  # the chunk that a free frees into
        self._unnamed = False  # it is a free that names no live area (API-2)
        if self.kind == "a":
            self._size, *_, self.gfp = values[1:]
            self.blocking = not self.allocator.is_atomic(self.gfp)
        elif self.kind == "f" and values[1] is not None:
            chunk, off = values[1]
            if area_size(chunk, off, self.allocator.geometry) is None:
                self._unnamed = True
            else:
                self._freed = chunk

    def step(self, running: Generator[Any, Any, Any]) -> Any:
        """Run to the next gap and return it; judge the step, and the state in the gap."""
        monitor, guard = self.monitor, self.monitor.guard
        if monitor.actors != [self]:
            for actor in monitor.actors:
                actor.alone = False
        monitor.alone = self.alone
        step = None
        if self.kind:
            self.leave(self.allocator)
            step = before(self.allocator, self, self._freed, refusal=self._unnamed)
        end = None
        guard.inside = True
        guard.enter()
        try:
            self.gap = next(running)
        except StopIteration as stop:
            self.gap, end = None, stop
        finally:
            guard.inside = False
        if self.allocator.lock:
            monitor.misused(*gap_misuse(self.gap is None or self.gap.last))
        if self.gap is not None:
            judge_gap(self.allocator, self.gap)
        if step is not None:
            self._judge(step, end and end.value)
        if end is not None:
            raise end
        return self.gap

    def _judge(self, step: Step, result: Any) -> None:
        """Judge a step that has been taken; result: what the operation returned, if it ended."""
        allocator, monitor, actors = self.allocator, self.monitor, self.monitor.actors
        if not allocator.alloc_mutex:
            monitor.holder = None
        elif monitor.holder is None:
            monitor.holder = self
        self.arrive(allocator, actors)
        area = handed_out(allocator, result, self._size) if self.kind == "a" else None
        after(step, allocator, self, actors, monitor.holder, area)
        for clause, wrong in judged_step(step, allocator, monitor.history):
            monitor.evaluated[clause] += 1
            if wrong is not None:
                monitor.misused(clause, wrong)


def judge_gap(allocator: Any, gap: Any) -> None:
    """Ask the clauses about states while a step stands in a gap.

    Behind its last lock section a step alone changes no more of the state, so the question is left
    to its return.
    """
    monitor: Monitor | None = allocator.monitor
    if monitor is not None and (monitor.history.concurrent or not gap.last):
        monitor.judge(allocator, quiescent=False)


def _visible(run: Callable[..., Any], marks: Sequence[ContractMark]) -> Callable[..., Any]:
    """Give what runs a function the contract that tools look for, as icontract's decorators would.

    The function itself, without its contract, is `__wrapped__`.
    """
    shown: Any = inspect.unwrap(run, stop=lambda f: f is not run)
    for mark in sorted(marks, key=lambda mark: mark.kind == "old"):
        if mark.kind == "require":
            shown = icontract.require(_holds(mark.condition), sentence(mark))(shown)
        elif mark.kind == "ensure" and not mark.is_note:
            shown = icontract.ensure(_holds(mark.condition), sentence(mark))(shown)
        elif mark.kind == "old" and getattr(shown, "__postconditions__", None):
            shown = icontract.snapshot(mark.condition, name=mark.clause)(shown)
    checker: Any = find_checker(shown)
    for name in ("__preconditions__", "__postconditions__", "__postcondition_snapshots__"):
        setattr(run, name, getattr(checker, name, []))
    run.__doc__ = "\n".join([inspect.getdoc(run) or "", *_lines(marks)])
    return run


def without_contract(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function behind one that asks its contract, any other as it is."""
    plain: Callable[..., Any] = getattr(function, "__wrapped__", function)
    return plain if hasattr(function, "__postconditions__") else function


class FalseMessage(str):
    """What is wrong, as a condition that does not hold: it counts as false."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


def _holds(condition: Condition) -> Callable[..., Any]:
    """Return a condition that is true where it holds, as icontract has it.

    What answers for several clauses leaves out those that the variant declares to break.
    """

    @functools.wraps(condition)
    def holds(**given: Any) -> Any:
        wrong = condition(**given)
        if wrong is not None and not isinstance(wrong, str):
            monitor = given["self"].monitor
            declared = monitor.expected | monitor.not_applicable
            wrong = next((f"{c}: {said}" for c, said in wrong if c not in declared), None)
        return FalseMessage(wrong) if wrong else True

    return holds


def _lines(marks: Sequence[ContractMark]) -> list[str]:
    """Return a contract in sentences, for a docstring."""
    lines = []
    for kind, title in (("require", "requires"), ("ensure", "ensures")):
        said = [f"    {sentence(m)}" for m in marks if m.kind == kind and not m.is_note]
        lines += ["", title, *said] if said else []
    return lines
