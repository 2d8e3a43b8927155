"""The invariant is inductive for any number of chunks, pages and actors; bugs make it fail."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from counting import LEMMAS, is_proved
from depth import deep_unless

from percpu_proofs.prove.protocol.induction import (
    LIMITS,
    InductionQuery,
    is_enabled_somewhere,
    prove_action,
    prove_implications,
    prove_initial,
)
from percpu_spec.protocol import balancing, freeing, reclaiming
from percpu_spec.protocol.clauses import INVARIANT
from percpu_spec.protocol.design import DESIGN
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.operators import Truth
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import Place, State
from percpu_spec.protocol.transitions import Transition, freed, left_empty
from percpu_spec.protocol.variants import LINUX_6_12, MACHINES, REFERENCE, RFC_1_REVIEWED

CHANGED = [
    name for name, action in REFERENCE.actions.items() if LINUX_6_12.actions.get(name) is not action
]


@cache
def proved(machine: str, action: str) -> list[InductionQuery]:
    return prove_action(MACHINES[machine], action)


def not_proved(found: list[InductionQuery]) -> list[str]:
    return [str(obligation) for obligation in found if obligation.state != "proved"]


@pytest.mark.parametrize("action", LINUX_6_12.actions)
def test_linux_keeps_the_invariant(action: str) -> None:
    found = proved("linux_6_12", action)
    assert not_proved(found) == []
    assert {o.clause for o in found} >= set(INVARIANT)


@pytest.mark.parametrize("action", CHANGED)
def test_reference_keeps_more(action: str) -> None:
    found = proved("reference", action)
    assert not_proved(found) == []
    assert "RCL-3" in {o.clause for o in found}


@pytest.mark.parametrize(
    "action", deep_unless(lambda action: "free" in action, RFC_1_REVIEWED.actions)
)
def test_what_the_review_asked_for_is_kept(action: str) -> None:
    found = proved("rfc_1_reviewed", action)
    assert not_proved(found) == []
    assert {"ISO-1", "ISO-2", "POP-1", "POP-2", "LIST-1"} <= {o.clause for o in found}


@pytest.mark.parametrize("machine", [REFERENCE, RFC_1_REVIEWED], ids=lambda machine: machine.name)
def test_boot_keeps_the_invariant(machine: Machine) -> None:
    found = prove_initial(machine)
    assert not_proved(found) == []
    assert {o.clause for o in found} >= set(machine.clauses)


def test_invariant_implies_the_design() -> None:
    found = prove_implications(LINUX_6_12)
    assert not_proved(found) == []
    assert [o.clause for o in found] == list(DESIGN)
    found = prove_implications(RFC_1_REVIEWED)
    assert not_proved(found) == []
    assert [o.clause for o in found] == ["LIST-1", "ISO-1", "ISO-2", "POP-1", "POP-2"]


@pytest.mark.parametrize("action", ["fill_next", "release_end", "destroy", "free_isolating"])
def test_guard_can_hold(action: str) -> None:
    assert is_enabled_somewhere(LINUX_6_12, action)


def test_linux_sidelines_what_is_not_drained() -> None:
    asked = LINUX_6_12.changed("asked too much", clauses={"RCL-3": REFERENCE.clauses["RCL-3"]})
    assert failing(asked, "sideline") == {"RCL-3"}
    assert "RCL-3" in failing(asked, "populate_end")


def failing(machine: Machine, action: str) -> set[str]:
    return {o.clause for o in prove_action(machine, action) if o.state == "failed"}


POSTED = {
    "free": {"LIST-1", "ISO-1", "STALE"},
    "release_end": {"RCL-2", "RCL-1 (step)"},
    "relist": {"LIST-1", "LIST-3", "STALE"},
    "area": set(),
    "release_begin": set(),
}


@pytest.mark.parametrize("action", POSTED)
def test_where_the_posting_fails(action: str) -> None:
    assert failing(MACHINES["rfc_1"], action) == POSTED[action]


def relisting(s: State, c: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """A free puts its chunk on an active list, isolated or not."""
    move = freeing.free(s, c, pages, left, right)
    after = freed(s, c, left_empty(pages, left, right))
    bare = after.chunk._replace(place=Place.ACTIVE)
    return Transition(move.when, lambda: s.with_chunk(c, bare, after.floating))


def uncounted(s: State, c: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """Isolation leaves the float alone."""
    move = freeing.free_isolating(s, c, pages, left, right)
    after = freed(s, c, left_empty(pages, left, right))
    return Transition(move.when, lambda: move.then()._replace(floating=after.floating))


def unflushed(s: State, a: Any) -> Transition:
    """The flush covers nothing."""
    move = reclaiming.flush_end(s, a)
    return Transition(move.when, lambda: s.with_actor(a, move.then().actors[a]))


def unmarked(s: State, a: Any, c: Any) -> Transition:
    """A sidelined chunk is no longer isolated."""
    move = reclaiming.sideline(s, a, c)
    bare = s.chunks[c]._replace(place=Place.SIDELINED, isolated=False)
    return Transition(move.when, lambda: s.with_chunk(c, bare, s.floating))


def low_threshold(s: State, a: Any, c: Any, pages: Span) -> Transition:
    """Reclaim releases what an area uses."""
    move = reclaiming.release_begin(s, a, c, pages)
    kept = {name: holds for name, holds in move.when.items() if name != "they are not used"}
    return Transition(kept, move.then)


def uncounted_release(s: State, a: Any) -> Transition:
    """Releasing pages of a free chunk leaves its counter alone."""
    move = balancing.drain_end(s, a)

    def after() -> State:
        c = s.actors[a].at
        done = move.then()
        return done.with_chunk(
            c, done.chunks[c]._replace(empties=s.chunks[c].empties), done.floating
        )

    return Transition(move.when, after)


def early_leave(s: State, a: Any) -> Transition:
    """The work releases the mutex while it releases pages."""
    move = reclaiming.release_end(s, a)
    return Transition(move.when, lambda: move.then().with_mutex(s.world.nobody))


def eager(s: State, c: Any, pages: Span, left: Truth, right: Truth) -> Transition:
    """A free isolates whatever the float."""
    move = freeing.free_isolating(s, c, pages, left, right)
    kept = {n: holds for n, holds in move.when.items() if n != "the chunk qualifies for reclaim"}
    return Transition(kept, move.then)


BUGS: dict[str, tuple[str, Any, str]] = {
    "a free re-lists an isolated chunk": ("free", relisting, "ISO-1"),
    "float not lowered at isolation": ("free_isolating", uncounted, "FLT-1"),
    "no flush": ("flush_end", unflushed, "STALE"),
    "atomic area without population": ("area", "its pages are populated", "POP-2"),
    "sidelined but not isolated": ("sideline", unmarked, "ISO-2"),
    "a used page is released": ("release_begin", low_threshold, "RELEASED"),
    "threshold off": ("free_isolating", eager, "RCL-1 (step)"),
    "counter not restored": ("drain_end", uncounted_release, "POP-1"),
    "mutex released early": ("release_end", early_leave, "MUTEX"),
    "an area in a chunk being released": ("area", "the search can find the chunk", "ISO-1"),
    "a chunk destroyed with pages": ("destroy", "nothing is populated", "FLT-1"),
    "the work leaves with a chunk": ("leave", "it owns no chunk", "LIST-1"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_seeded_bug_breaks_its_clause(bug: str) -> None:
    name, change, clause = BUGS[bug]
    if isinstance(change, str):
        machine = LINUX_6_12.weakened(name, change)
    else:
        machine = LINUX_6_12.changed(bug, {name: change})
    assert clause in failing(machine, name)


def test_failure_shows_a_case() -> None:
    machine = LINUX_6_12.weakened("area", "its pages are populated")
    found = [o for o in prove_action(machine, "area") if o.state == "failed"]
    assert found[0].clause == "POP-2"
    assert {"c", "pages.lo", "some_page", "float", "c.place"} <= found[0].model.keys()


def test_a_time_out_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "rlimit", 1)
    found = prove_action(LINUX_6_12, "area_hole")
    assert {o.state for o in found} <= {"proved", "unknown"}
    assert "unknown" in {o.state for o in found}


@pytest.mark.parametrize("lemma", LEMMAS, ids=lambda lemma: lemma.name)
def test_counting_lemma(lemma: Any) -> None:
    assert is_proved(lemma)


def test_wrong_lemma_is_not_proved() -> None:
    wrong = replace(LEMMAS[0], assumed=lambda n: True)
    assert not is_proved(wrong)
