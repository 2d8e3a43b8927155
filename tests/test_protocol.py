"""The abstract machine on plain values: small instances, every state, every action."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from depth import deep_unless
from machine_states import Enumeration, enumerate_states

from percpu_spec.protocol import balancing, reclaiming
from percpu_spec.protocol.instances import INSTANCES
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.operators import And, If, Iff, Implies, Max, Min, Not, Or, one_of
from percpu_spec.protocol.pages import NO_PAGES, Pages
from percpu_spec.protocol.state import Place, State
from percpu_spec.protocol.transitions import Transition
from percpu_spec.protocol.variants import LINUX_6_12, MACHINES, on_km

STATES = {
    ("linux_6_12", "three pages"): 1076,
    ("linux_6_12", "two actors"): 2008,
    ("linux_6_12", "reserved"): 528,
    ("reference", "three pages"): 992,
}


@cache
def enumerated(machine: str, instance: str) -> Enumeration:
    return enumerate_states(MACHINES[machine], INSTANCES[instance])


@pytest.mark.parametrize(
    ("machine", "instance"),
    deep_unless(lambda _, instance: instance not in ("two actors", "three pages"), sorted(STATES)),
)
def test_every_state_keeps_the_invariant(machine: str, instance: str) -> None:
    found = enumerated(machine, instance)
    assert (found.failure, found.complete) == (None, True)
    assert found.states == STATES[machine, instance]


@pytest.mark.parametrize(
    "machine", deep_unless(lambda name: name == "reference", ["linux_6_12", "reference"])
)
def test_every_action_fires(machine: str) -> None:
    assert enumerated(machine, "three pages").never == []


def test_linux_leaves_empty_pages_in_sidelined_chunks() -> None:
    asked = LINUX_6_12.changed(
        "asked too much", clauses={"RCL-3": MACHINES["reference"].clauses["RCL-3"]}
    )
    found = enumerate_states(asked, INSTANCES["two actors"])
    assert found.failure is not None
    assert found.failure.clause == "RCL-3"
    names = [step.action for step in found.failure.steps]
    assert names[-1] == "populate_end" or "sideline" in names


def test_km_keeps_the_invariant() -> None:
    found = enumerate_states(on_km(LINUX_6_12), INSTANCES["reserved"])
    assert found.failure is None
    assert {"drain_end", "destroy", "create"} <= set(found.fired)
    assert not {"release_begin", "sideline"} & set(found.fired)


def no_flush(s: State, a: Any) -> Transition:
    """Reclaim goes on as if it had flushed."""
    move = reclaiming.flush_end(s, a)
    return Transition(
        move.when,
        lambda: s.with_actor(a, move.then().actors[a]),
    )


def lazy_drain(s: State, a: Any) -> Transition:
    """The float keeps what a free chunk gave back."""
    move = balancing.drain_end(s, a)
    return Transition(move.when, lambda: move.then()._replace(floating=s.floating))


SEEDED: dict[str, tuple[Machine, str]] = {
    "sideline without a flush": (
        LINUX_6_12.changed("", {"flush_end": no_flush}),
        "TLB-1 STALE",
    ),
    "float kept at destruction": (LINUX_6_12.changed("", {"drain_end": lazy_drain}), "FLT-1"),
    "atomic area without population": (
        LINUX_6_12.weakened("area", "its pages are populated"),
        "POP-2",
    ),
    "release of used pages": (
        LINUX_6_12.weakened("release_begin", "they are not used"),
        "RELEASED",
    ),
}


@pytest.mark.parametrize("bug", sorted(SEEDED))
def test_seeded_bug_is_found(bug: str) -> None:
    machine, clauses = SEEDED[bug]
    found = enumerate_states(machine, INSTANCES["reserved"])
    assert found.failure is not None
    assert found.failure.clause in clauses.split()
    assert found.failure.steps


# the shortest runs of the first posting's machine to a state that breaks a clause
POSTED = {
    "LIST-1": "work area release_begin free",
    "ISO-1": "work area release_begin free",
    "POP-2": "work area release_begin free area release_end",
    "TLB-1": "work area release_begin free area release_end",
    "RCL-2": "work release_begin release_end",
}


@pytest.mark.parametrize(
    "clause", deep_unless(lambda clause: clause not in ("TLB-1", "POP-2"), POSTED)
)
def test_the_posting_breaks(clause: str) -> None:
    machine = MACHINES["rfc_1"]
    alone = replace(machine, clauses={clause: machine.clauses[clause]}, steps={})
    failure = enumerate_states(alone, INSTANCES["two actors"]).failure
    assert failure is not None
    assert " ".join(step.action for step in failure.steps) == POSTED[clause]


def test_the_posting_lets_the_float_fall() -> None:
    failure = enumerate_states(MACHINES["rfc_1"], INSTANCES["two actors"]).failure
    assert failure is not None
    assert failure.clause == "RCL-1"


def test_before_depopulation_the_invariant_held() -> None:
    found = enumerated("linux_5_12", "reserved")
    assert (found.failure, found.complete) == (None, True)


def test_failure_is_shown_as_steps() -> None:
    machine, _ = SEEDED["atomic area without population"]
    found = enumerate_states(machine, INSTANCES["two actors"])
    assert found.failure is not None
    assert [str(step) for step in found.failure.steps][-1].startswith("area(1, ")


def test_page_sets() -> None:
    pages = NO_PAGES.add(1, 3)
    assert pages.members() == [1, 2]
    assert pages.all_in(1, 3) and not pages.all_in(0, 2) and pages.all_in(5, 5)
    assert pages.none_in(3, 9) and not pages.none_in(2, 3)
    assert pages.remove(2, 3).members() == [1]
    assert pages.mark(0, 2).clear(2, 9).members() == [0, 1]
    assert pages.minus(Pages(1 << 2)).members() == [1]
    assert (pages.size, pages.has(2), pages.has(-1)) == (2, True, False)
    assert Pages.of(b"\0\1\1") == pages
    assert repr(pages) == "{1, 2}"


TRUTH = [False, True]


def test_operators_on_plain_values() -> None:
    for x in TRUTH:
        assert Not(x) is (not x)
        assert If(x, 1, 2) == (1 if x else 2)
        for y in TRUTH:
            assert And(x, y) is (x and y)
            assert Or(x, y) is (x or y)
            assert Implies(x, y) is (not x or y)
            assert Iff(x, y) is (x == y)
    assert (Min(1, 2), Max(1, 2)) == (1, 2)
    assert one_of(Place.FREE, Place.ACTIVE, Place.FREE) is True
