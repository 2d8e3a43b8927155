"""Two types of chunks: lists, floats, and the clauses that speak of each type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from page_states import (
    ACCOUNTED,
    PAGE,
    booted,
    broken,
    free_pages,
    full_chunks,
    list_of,
    taken,
)
from workloads import SMALL

from percpu_contracts.clauses.balance import one_free_chunk
from percpu_contracts.whole_state import WholeState
from percpu_reference.variants import variant_class
from percpu_reference.variants.linux_5_12 import Linux512
from percpu_reference.variants.two_types import TwoTypes
from percpu_spec.definitions import (
    chunks_of_type,
    computed_list,
    lists_of_slot,
    slot_layout,
    slots_per_type,
)
from percpu_spec.gfp import ACCOUNT, KERNEL, NOWAIT

OLD = ("linux_5_12", "rfc_1", "rfc_series", "rfc_1_reviewed")
PLAIN, MEMCG = 0, 1


@pytest.mark.parametrize(("variant", "extra"), [(v, v == "rfc_1_reviewed") for v in OLD])
def test_layout(variant: str, extra: bool) -> None:
    allocator = booted(variant)
    layout = slot_layout(SMALL, sidelined=extra, to_depopulate=False)
    assert allocator.chunk_types == 2
    assert allocator.nr_slots == 2 * layout.nr_slots
    assert (allocator.free_slot, allocator.sidelined_slot) == (layout.free, layout.sidelined)
    assert allocator.to_depopulate_slot == -1
    slots = slots_per_type(allocator)
    for number, lists in enumerate(allocator.search_lists):
        stop = number - number % slots + slots
        assert [head.slot for head in lists] == list(range(number, stop))


@pytest.mark.parametrize(
    ("gfp", "changes", "objcg", "kind"),
    [
        (KERNEL, {}, True, PLAIN),
        (ACCOUNTED, {}, True, MEMCG),
        (ACCOUNTED, {}, False, PLAIN),
        (ACCOUNTED, {"memcg": False}, True, PLAIN),
    ],
)
def test_type_of_a_request(gfp: int, changes: dict[str, bool], objcg: bool, kind: int) -> None:
    allocator = booted("linux_5_12", replace(SMALL, **changes))  # type: ignore[arg-type]
    allocator.env.has_objcg = objcg
    chunk, _ = taken(allocator, gfp=gfp)
    assert allocator.chunk_type(chunk) == kind
    assert list_of(allocator, chunk) == computed_list(allocator, chunk)
    assert (chunk in chunks_of_type(allocator, MEMCG)) == (kind == MEMCG)
    assert bool(chunk.obj_exts) == (kind == MEMCG)


def test_lists_of_both_types_are_kept_apart() -> None:
    allocator = booted("linux_5_12")
    plain, charged = taken(allocator), taken(allocator, gfp=ACCOUNTED)
    allocator.balance()
    free = lists_of_slot(allocator, allocator.free_slot)
    assert list(free) == [allocator.free_slot, allocator.free_slot + slots_per_type(allocator)]
    allocator.free(charged)
    assert [c is charged[0] for c in allocator.slot_chunks(free[MEMCG])] == [True]
    assert not list(allocator.slot_chunks(free[PLAIN]))
    assert plain[0] is allocator.first_chunk
    assert not broken(allocator)


def test_each_type_has_its_float() -> None:
    allocator = booted("linux_5_12")
    chunk, _ = taken(allocator, gfp=ACCOUNTED)
    allocator.balance()
    first = allocator.first_chunk.nr_empty_pop_pages
    assert allocator.float_of(PLAIN) == allocator.nr_empty_pop_pages == first
    assert allocator.float_of(MEMCG) == chunk.nr_empty_pop_pages == SMALL.empty_high


def test_one_float_starves_the_other_type() -> None:
    """Bug 29: with pages for plain requests only, accounted atomic ones fail for ever."""
    served = {}
    for variant in OLD:
        allocator = booted(variant)
        for _ in range(3):
            area = allocator.alloc(PAGE, 4, gfp=NOWAIT | ACCOUNT)
            allocator.balance()
        served[variant] = area is not None
    assert served == {"linux_5_12": True} | dict.fromkeys(OLD[1:], False)


def test_metadata_of_a_memcg_chunk_has_one_piece_more() -> None:
    for kind, pieces in ((PLAIN, 4), (MEMCG, 5)):
        allocator = booted("linux_5_12", SMALL.with_changes("memcg=0"))
        allocator.env.metadata_fault.kth = pieces
        assert allocator.alloc_chunk(kind) is None
        assert not allocator.env.metadata_fault.armed


def test_clones_are_apart() -> None:
    origin = booted("rfc_series")
    areas = full_chunks(origin, 2)
    chunk = free_pages(origin, areas[0], 2, 3, 4, 5)
    free_pages(origin, areas[1], 2, 3, 4, 5)
    allocator, copies = origin.clone()
    marked = ("chunk", areas[1][0][0].id)
    assert allocator.own_state() == origin.own_state() == (("marked", (marked,)),)
    allocator.balance()
    assert allocator.own_state() == (("marked", ()),) != origin.own_state()
    assert copies[chunk] is not chunk
    allocator.restore(origin, copies)
    assert allocator.own_state() == origin.own_state()

    other = booted("linux_5_12")
    taken(other, gfp=ACCOUNTED)
    float_of_type = (("nr_empty_pop_memcg", other.float_of(MEMCG)),)
    assert other.clone()[0].own_state() == other.own_state() == float_of_type


def float_is_off(allocator: Linux512) -> None:
    allocator.nr_empty_pop_memcg += 1


def list_of_the_other_type(allocator: Linux512) -> None:
    (chunk,) = chunks_of_type(allocator, MEMCG)
    allocator.list_del(chunk)
    head = allocator.free_list(PLAIN)
    chunk.prev, chunk.next = head, head
    head.prev = head.next = chunk


def slot_too_low(allocator: Linux512) -> None:
    allocator.free_slot -= 1


def both_listed_and_owned(allocator: Linux512) -> None:
    allocator.owned += chunks_of_type(allocator, MEMCG)


@pytest.mark.parametrize(
    ("breakage", "clauses_broken"),
    [
        (float_is_off, {"FLT-1"}),
        (list_of_the_other_type, {"LIST-4"}),
        (slot_too_low, {"LIST-3", "LIST-4", "SLOT-2"}),
        (both_listed_and_owned, {"LIST-1"}),
    ],
)
def test_clauses_see_the_types(
    breakage: Callable[[Linux512], None], clauses_broken: set[str]
) -> None:
    allocator = booted("linux_5_12")
    assert isinstance(allocator, Linux512)
    allocator.free(taken(allocator, gfp=ACCOUNTED))
    judge = WholeState()
    assert not list(judge.broken(allocator))
    breakage(allocator)
    assert {clause for clause, _ in judge.broken(allocator)} == clauses_broken


def test_one_fully_free_chunk_of_each_type_may_stay() -> None:
    allocator = booted("linux_5_12")
    (areas,) = full_chunks(allocator, 1)
    charged = taken(allocator, gfp=ACCOUNTED)
    free_pages(allocator, areas, *range(12))
    allocator.free(charged)
    assert one_free_chunk(allocator) is None
    chunk = charged[0]
    chunk.obj_exts = None  # taken for a plain one
    assert one_free_chunk(allocator) == "2 fully free chunks of type 0 and no work is pending"


@pytest.mark.parametrize("variant", OLD)
def test_special_chunks_are_plain(variant: str) -> None:
    assert issubclass(variant_class(variant), TwoTypes)
    allocator = booted(variant, SMALL.with_changes("static=38,reserved=132,dyn=310"))
    special = allocator.first_chunk, allocator.reserved_chunk
    assert [allocator.chunk_type(chunk) for chunk in special] == [PLAIN, PLAIN]
