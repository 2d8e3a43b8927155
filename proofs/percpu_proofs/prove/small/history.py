"""What is kept of a run where no contract is enforced: its history, and what callees were owed.

Some clauses speak of history. And a function under proof must keep what its callees require: where
it does not, their contracts say nothing more.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from percpu_contracts.contract import marked_names, marks_of
from percpu_contracts.evaluate import without_contract
from percpu_contracts.lock_guard import guarded
from percpu_reference.variants import Allocator

F = TypeVar("F", bound=Callable[..., Any])


def memo(function: F) -> F:
    """Remember what a function of hashable arguments returns.

    CrossHair sees through functools.cache and would compute it anew on every path.
    """
    known: dict[Any, Any] = {}

    @functools.wraps(function)
    def remembering(*args: Any) -> Any:
        if args not in known:
            known[args] = function(*args)
        return known[args]

    return cast("F", remembering)


@memo
def with_history(cls: type[Allocator], watched: bool) -> type[Allocator]:
    """Return a class without contracts that keeps history, and what a callee is owed first.

    The latter as `monitor.last`: clause and what is wrong. watched: its monitor's guard sees the
    locks and the populated bits.
    """
    namespace: dict[str, Any] = {"__slots__": ()}
    for name in marked_names(cls):
        marks = marks_of(cls, name)
        plain = without_contract(getattr(cls, name))
        if any(mark.is_note or mark.kind == "require" for mark in marks):
            namespace[name] = _with_notes(plain, marks)
        elif plain is not getattr(cls, name):
            namespace[name] = plain
    if watched:
        namespace = guarded(cls, namespace)
    return cast("type[Allocator]", type(cls.__name__, (cls,), namespace))


def _with_notes(function: Callable[..., Any], marks: Sequence[Any]) -> Callable[..., Any]:
    """Return a method that says what is required and is not, and makes its notes when left."""
    names = [*inspect.signature(function).parameters, "OLD", "result"]

    def asking(mark: Any) -> tuple[Callable[..., Any], list[int]]:
        """Return a condition and which of the names it takes."""
        parameters = inspect.signature(mark.condition).parameters
        return mark.condition, [names.index(name) for name in parameters]

    olds = [(m.clause, *asking(m)) for m in marks if m.kind == "old"]
    notes = [asking(m) for m in marks if m.is_note]
    if not notes:
        olds = []
    requires = [(m.clause, *asking(m)) for m in marks if m.kind == "require"]

    def enter(args: tuple[Any, ...]) -> list[Any]:
        # a list by number: CrossHair, which watches this run, makes much of a dict
        given = [*args, *[None] * (len(names) - len(args))]
        monitor = args[0].monitor
        was, monitor.guard.inside = monitor.guard.inside, False  # a contract may look anywhere
        for clause, condition, places in requires:
            wrong = condition(*[given[n] for n in places])
            if wrong and not monitor.last[0]:
                monitor.last = clause, f"{wrong}; {function.__name__} requires otherwise"
        given[-2] = old = types.SimpleNamespace()
        for name, capture, places in olds:
            setattr(old, name, capture(*[given[n] for n in places]))
        monitor.guard.inside = was
        return given

    def leave(given: list[Any], result: Any) -> Any:
        given[-1] = result
        guard = given[0].monitor.guard
        was, guard.inside = guard.inside, False
        for note, places in notes:
            note(*[given[n] for n in places])
        guard.inside = was
        return result

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def steps(*args: Any) -> Any:
            given = enter(args)
            return leave(given, (yield from function(*args)))

        return steps

    @functools.wraps(function)
    def plain(*args: Any) -> Any:
        given = enter(args)
        return leave(given, function(*args))

    return plain
