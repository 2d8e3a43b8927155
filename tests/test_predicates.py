"""Each predicate holds in one state and catches a seeded breakage of it."""

from __future__ import annotations

import pytest
from operation_rows import OPERATIONS
from plain_state import SMALL as G
from plain_state import allocator
from predicate_rows import CASES, Break, Call, move
from step_rows import STEPS, Make, doing
from step_rows import Break as BreakStep

from percpu_contracts.clauses import balance, hints, lists, maps, population
from percpu_contracts.history import History
from percpu_contracts.registry import Predicate, predicates
from percpu_spec.steps import Deed


@pytest.mark.parametrize(("clause_id", "predicate", "call", "breakage", "message"), CASES)
def test_holds_then_catches(
    clause_id: str, predicate: Predicate, call: Call, breakage: Break, message: str
) -> None:
    assert predicate in predicates()[clause_id] or predicate.__name__ == "everywhere"
    state = allocator()
    assert call(state) is None
    breakage(state)
    found = call(state)
    assert found is not None and message in found and "\n" not in found


@pytest.mark.parametrize(("clause_id", "predicate", "good", "bad", "message"), OPERATIONS)
def test_operation_holds_then_catches(
    clause_id: str,
    predicate: Predicate,
    good: tuple[object, ...],
    bad: tuple[object, ...],
    message: str,
) -> None:
    assert predicate in predicates()[clause_id]
    assert predicate(*good) is None
    found = predicate(*bad)
    assert found is not None and message in found and "\n" not in found


@pytest.mark.parametrize(("clause_id", "predicate", "make", "breakage", "message"), STEPS)
def test_step_holds_then_catches(
    clause_id: str, predicate: Predicate, make: Make, breakage: BreakStep, message: str
) -> None:
    assert predicate in predicates()[clause_id]
    state, history = allocator(), History()
    step = make(state, history)
    assert predicate(step, state, history) is None
    found = predicate(breakage(state, history, step), state, history)
    assert found and message in found and "\n" not in found


def test_a_float_is_told_as_it_was_and_is() -> None:
    state, history = allocator(), History()
    state.nr_empty_pop_pages = 9
    step = doing("b", Deed.POPULATED, "busy", floats=(8,))(state, history)
    found = balance.work_raises_float(step, state, history)
    assert found is not None and "populated 2 pages, the float went from 8 to 9" in found


def test_every_predicate_has_a_row() -> None:
    rows = {row[1] for row in (*CASES, *OPERATIONS, *STEPS)}
    missing = {p.__name__ for bound in predicates().values() for p in bound if p not in rows}
    assert not missing


@pytest.mark.parametrize("name", ["first_chunk", "busy", "free", "side", "reserved_chunk"])
def test_every_chunk_of_the_good_state_passes(name: str) -> None:
    case = getattr(allocator(), name)
    for predicate in (
        hints.hints_are_sound,
        hints.left_is_exact,
        hints.right_is_exact,
        hints.chunk_hint_is_close,
        hints.hints_are_longest,
        hints.emptiness_shows,
        maps.free_bytes_are_counted,
        maps.shape_fits,
        population.empty_pages_are_counted,
        population.used_pages_are_populated,
    ):
        assert predicate(case, G) is None, predicate.__name__


def test_allowances() -> None:
    """What the clauses excuse: stale starts, chunk edges, a short chunk hint, relegation."""
    state = allocator()
    block, own = state.busy.md_blocks[0], state.busy.chunk_md
    block.first_free, block.contig_hint_start = 0, 5  # a full block may keep both
    own.scan_hint_start, own.left_free, own.right_free = 31, 32, 32
    own.contig_hint, own.contig_hint_start = 9, 23  # the run of 16 lies in no single block
    assert hints.hints_are_sound(state.busy, G) is None
    assert hints.left_is_exact(state.busy, G) is None
    assert hints.hints_are_ordered(state.busy, G) is None
    assert hints.chunk_hint_is_close(state.busy, G) is None
    move(4, 3)(state)
    move(2, 0)(state)
    assert lists.placement_is_explained(state) is None
    assert lists.chunk_is_on_its_list(state, state.side, 6) is None
    assert lists.chunk_is_on_its_list(state, state.first_chunk, 0) is not None
