"""Checked classes as people and tools see them, and the evaluator that stands behind them."""

from __future__ import annotations

import inspect
import pydoc
from collections import Counter
from typing import Any

import pytest
from icontract._checkers import find_checker

from percpu_contracts.contract import ensure, marked_names, marks_of, old, require, sentence
from percpu_contracts.evaluate import enforced
from percpu_contracts.monitor import Monitor
from percpu_contracts.violations import ClauseViolation, MisuseError
from percpu_reference import VARIANTS, build, checked
from percpu_reference.gaps import Gap
from percpu_spec.geometry import Geometry


def test_every_variant_and_level_has_a_class() -> None:
    assert len(checked.__all__) == 2 * len(VARIANTS)
    for name in checked.__all__:
        assert getattr(checked, name).__name__ == name


@pytest.mark.parametrize("level", ["fast", "full"])
def test_build_makes_instances_of_it(level: Any) -> None:
    allocator = build("reference", Geometry(), contracts=level)
    assert type(allocator) is getattr(checked, f"Reference{level.title()}")


def test_help_shows_the_contract() -> None:
    text = pydoc.render_doc(checked.Linux612Full.isolate_chunk, renderer=pydoc.plaintext)
    for line in (
        "isolate_chunk(self, chunk: 'Chunk') -> 'None'",
        "Take a chunk out of the float",
        "requires\n        LOCK-1: Index data change under pcpu_lock.",
        "ensures\n        ISO-2: An isolated chunk heads to_depopulate.",
    ):
        assert line in text


@pytest.mark.parametrize("name", marked_names(VARIANTS["linux_6_12"]))
def test_tools_find_every_condition(name: str) -> None:
    """icontract's own attributes hold the conditions of level full, in their order."""
    marks = [m for m in marks_of(VARIANTS["linux_6_12"], name) if m.level == "full"]
    function = getattr(checked.Linux612Full, name)
    checker: Any = find_checker(function)
    said = {
        kind: [sentence(m) for m in marks if m.kind == kind and not m.is_note]
        for kind in ("require", "ensure")
    }
    if not marks:
        assert checker is None
        return
    groups = checker.__preconditions__
    assert [c.description for group in groups for c in group] == said["require"]
    assert [c.description for c in checker.__postconditions__] == said["ensure"]
    olds = [m.clause for m in marks if m.kind == "old"] if said["ensure"] else []
    assert [snapshot.name for snapshot in checker.__postcondition_snapshots__] == olds
    for line in said["require"] + said["ensure"]:
        assert line in function.__doc__


# the evaluator


class Counted:
    """What an evaluator asks of an allocator."""

    def __init__(self, *expected: str) -> None:
        self.monitor = Monitor(expected, strict=True)
        self.lock = False
        self.value = 0

    def add(self, number: int, times: int = 1) -> int:
        """Add a number so many times."""
        self.value += number * times
        return self.value


def _positive(number: int) -> str | None:
    """The caller adds something (API-2)."""
    return None if number > 0 else f"adds {number}"


def _grows(self: Any, number: int, times: int, result: int, OLD: Any) -> str | None:
    """The value grows by what is added (MAP-1)."""
    self.add(0)  # a condition that calls its own function is not asked again
    wanted = OLD.value + number * times
    return None if result == wanted else f"{result}, not {wanted}"


def _checked(function: Any, *marked: Any) -> Any:
    for mark in reversed(marked):
        function = mark(function)
    return enforced(function, function.__percpu_contract__)


ADD = (
    require("API-2", _positive),
    old("value", lambda self: self.value),
    ensure("MAP-1", _grows),
)


def _make(body: Any = Counted.add, *expected: str) -> Any:
    def add(self: Any, number: int, times: int = 1) -> int:
        """Add."""
        return int(body(self, number, times))

    made = type("Made", (Counted,), {"add": _checked(add, *ADD)})
    return made(*expected)


@pytest.mark.parametrize(
    ("given", "named"), [((2,), {}), ((2, 3), {}), ((2,), {"times": 3}), ((), {"number": 2})]
)
def test_conditions_take_arguments_by_name(given: Any, named: Any) -> None:
    made = _make()
    assert made.add(*given, **named) == 2 * (3 if given[1:] or "times" in named else 1)
    assert made.monitor.evaluated == Counter({"API-2": 1, "MAP-1": 1})


def test_what_is_wrong_is_raised_with_its_clause() -> None:
    with pytest.raises(MisuseError, match="API-2: adds -1"):
        _make().add(-1)
    twice = _make(lambda self, number, times: Counted.add(self, number, 2 * times))
    with pytest.raises(ClauseViolation, match="MAP-1 violated at operation 0: 4, not 2"):
        twice.add(2)


def test_a_declared_violation_is_counted() -> None:
    twice = _make(lambda self, number, times: Counted.add(self, number, 2 * times), "MAP-1")
    assert twice.add(2) == 4
    assert twice.monitor.violations["MAP-1"].count == 1


def test_without_a_monitor_nothing_is_expected() -> None:
    twice = _make(lambda self, number, times: Counted.add(self, number, 2 * times), "MAP-1")
    twice.monitor = None
    with pytest.raises(AssertionError, match="contract broken"):
        _checked(Counted.add, ensure("MAP-1", lambda result: "wrong"))(twice, 1)


def test_steps_of_two_actors_are_judged_apart() -> None:
    """The old value is that of the first step of each, the promise is asked at its return."""
    seen: list[tuple[int, int]] = []

    def walk(self: Any, number: int) -> Any:
        """Add in two steps."""
        self.value += number
        yield Gap("between")
        self.value += number
        return number

    def note(number: int, OLD: Any, result: int) -> None:
        seen.append((number, OLD.value))

    made = Counted()
    made.monitor.judge = lambda *_, **__: None  # type: ignore[method-assign]
    run = _checked(walk, old("value", lambda self: self.value), ensure("MAP-1", note))
    assert inspect.isgeneratorfunction(run)
    first, second = run(made, 1), run(made, 2)
    assert made.value == 0  # nothing runs before the first step
    next(first), next(second)
    for steps in (second, first):
        with pytest.raises(StopIteration):
            next(steps)
    assert seen == [(2, 1), (1, 0)]
    assert made.monitor.evaluated == Counter({"MAP-1": 2})
