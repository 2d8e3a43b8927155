"""What linux_5_12 does, and what every variant declares."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace

import pytest
from page_states import (
    ACCOUNTED,
    PAGE,
    booted,
    broken,
    drawn,
    finish,
    free_pages,
    full_chunks,
    list_of,
    taken,
    watched,
)
from workloads import KM, SMALL, Scene, scenes

from percpu_proofs.machine import Machine
from percpu_reference import VARIANTS, Allocator, build
from percpu_reference.chunk import Chunk
from percpu_reference.variants.two_types import TwoTypes
from percpu_spec.catalogue import clauses
from percpu_spec.definitions import (
    chunks_of_type,
    computed_list,
    lists_of_slot,
    slot_layout,
    slots_per_type,
)
from percpu_spec.gfp import ACCOUNT, ATOMIC, KERNEL, NOFS, NOIO, NOWAIT

OLD = ("linux_5_12", "rfc_1", "rfc_series", "rfc_1_reviewed")
PLAIN, MEMCG = 0, 1

# what each file may change; a function beyond these is a change to read the file again for
OVERRIDES: dict[str, set[str]] = {
    "linux_5_12": {"float_of", "set_floats", "own_state", "update_empty_pages"},
    "rfc_1": {
        "balance_type", "check_freed_chunk", "depopulate_empty", "may_shrink", "page_is_empty",
        "put_back", "shrink_chunk", "shrink_populated", "take_off",
    },
    "rfc_series": {
        "_link", "balance_populated", "balance_type", "check_freed_chunk", "condemn_chunk",
        "count_again", "has_company", "may_shrink", "own_state", "shrink_chunk",
    },
    "rfc_1_reviewed": {
        "page_is_empty", "put_back", "reintegrate_chunk", "setup_slots", "take_off",
        "update_empty_pages",
    },
}  # fmt: skip

SEQUENTIAL_512 = {"HINT-3", "HINT-4", "HINT-5", "LIST-2", "BAL-2"}
ISOLATION = {"ISO-1", "ISO-2", "RCL-1", "RCL-2", "RCL-3", "RCL-4", "RCL-5"}
ON_SHRINK = {"FLT-1", "POP-5", "RCL-1", "RCL-4", "TLB-1"}
RACES = {"ISO-1", "LIST-1", "LIST-3", "LIST-4", "POP-1", "POP-2", "COST-1"}
EXPECTED = {
    "linux_5_12": SEQUENTIAL_512,
    "rfc_1": SEQUENTIAL_512 | ON_SHRINK | RACES | {"RCL-2"},
    "rfc_series": SEQUENTIAL_512 | ON_SHRINK | RACES | {"BAL-3"},
    "rfc_1_reviewed": SEQUENTIAL_512 | ON_SHRINK | {"RCL-2", "RCL-3", "RCL-5"},
}


# what is declared


@pytest.mark.parametrize("name", EXPECTED)
def test_expected(name: str) -> None:
    cls = VARIANTS[name]
    assert set(cls.EXPECTED) == EXPECTED[name]
    assert not set(cls.EXPECTED) & set(cls.NOT_APPLICABLE)
    for clause, reason in (cls.EXPECTED | cls.NOT_APPLICABLE).items():
        assert clause in clauses() and reason


def test_isolation_is_not_asked_of_an_allocator_without_it() -> None:
    assert set(VARIANTS["linux_5_12"].NOT_APPLICABLE) == ISOLATION | {"HINT-6", "FIT-1"}


@pytest.mark.parametrize("name", OVERRIDES)
def test_thin(name: str) -> None:
    """A variant's file overrides what is listed, and nothing of it is what it had anyway."""
    cls = VARIANTS[name]
    own = {n for n, f in cls.__dict__.items() if inspect.isfunction(f) and n != "__init__"}
    assert own == OVERRIDES[name]
    inherited = [n for n in own if any(n in base.__dict__ for base in cls.__mro__[1:])]
    assert inherited
    for n in inherited:
        assert cls.__dict__[n] is not getattr(cls.__mro__[1], n, None)
    file = inspect.getsourcefile(cls)
    assert file is not None and file.endswith(f"/{name}.py")


# what runs show


def playing(variant: str, scene: Scene) -> Allocator:
    allocator = build(variant, scene.geometry, contracts="full", stats=True)
    if scene.geometry.backing == "km":
        allocator.env.memory = 3000  # rfc_series takes all there is
    Machine(allocator).run(scene.listed)
    return allocator


@pytest.mark.parametrize("variant", OLD)
def test_scenes_break_what_is_expected_only(variant: str) -> None:
    seen: set[str] = set()
    for scene in scenes():
        seen |= broken(playing(variant, scene))  # raises for anything unexpected
    assert seen <= EXPECTED[variant]
    assert seen >= {"HINT-3", "HINT-4", "HINT-5", "LIST-2"}
    if variant != "linux_5_12":
        assert seen >= {"FLT-1", "RCL-4"}


# two types of chunks


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
    assert allocator.own_state() == origin.own_state() == (areas[1][0][0].id,)
    allocator.balance()
    assert allocator.own_state() == () != origin.own_state()
    assert copies[chunk] is not chunk
    allocator.restore(origin, copies)
    assert allocator.own_state() == origin.own_state()

    other = booted("linux_5_12")
    taken(other, gfp=ACCOUNTED)
    assert other.clone()[0].own_state() == other.own_state() == (other.float_of(MEMCG),)


# the kernel of then


@pytest.mark.parametrize(
    ("gfp", "atomic"), [(KERNEL, 0), (ACCOUNTED, 0), (NOFS, 1), (NOIO, 1), (NOWAIT, 1), (ATOMIC, 1)]
)
def test_what_cannot_do_everything_is_atomic(gfp: int, atomic: int) -> None:
    assert [booted(v).is_atomic(gfp) for v in OLD] == [bool(atomic)] * len(OLD)
    allocator = booted("linux_5_12")
    allocator.alloc(4, 4, gfp=gfp)
    assert "API-3" not in broken(allocator)


def test_the_share_of_the_vector_is_not_charged() -> None:
    allocator = booted("linux_5_12")
    area = taken(allocator, 12, ACCOUNTED)
    assert allocator.env.charged == 12 * SMALL.cpus
    allocator.free(area)
    assert allocator.env.charged == 0


def test_failed_atomic_requests_are_not_printed() -> None:
    allocator = booted("linux_5_12")
    allocator.alloc(SMALL.largest, 4, gfp=NOWAIT)
    assert (allocator.env.printed, allocator.warn_limit) == (0, 10)
    allocator.env.vm_fault.next = 1
    allocator.alloc(SMALL.largest, 4)
    assert (allocator.env.printed, allocator.env.stack_dumps, allocator.warn_limit) == (1, 1, 9)


def test_a_free_asks_only_for_a_second_free_chunk_of_its_type() -> None:
    allocator = booted("linux_5_12")
    areas = full_chunks(allocator, 2)
    charged = taken(allocator, gfp=ACCOUNTED)
    allocator.free(charged)
    allocator.work_pending = False  # asked for by the allocations
    free_pages(allocator, areas[0], *range(12))
    free_pages(allocator, areas[1], *range(11))
    assert not allocator.work_pending
    free_pages(allocator, areas[1], 11)
    assert allocator.work_pending
    assert not any(chunk.isolated for chunk in allocator.chunks())


def test_order_and_gaps_of_the_work() -> None:
    """Per type: free chunks first, then pages, list by list; the mutex is free in between."""
    allocator = booted("linux_5_12")
    areas = full_chunks(allocator, 2)
    for own in areas:
        free_pages(allocator, own, *range(12))
    names: list[str] = []
    for gap in allocator.balance_workfn():
        names.append(gap.name)
        assert not allocator.lock
        assert allocator.alloc_mutex == (gap.name != "balance: go on with the next chunk type")
    count, look = "balance: count the pages to populate", "balance: look at a list"
    page_slot = allocator.size_to_slot(PAGE)
    assert names == [
        "balance: release a free chunk",
        "balance: destroy a chunk",
        count,
        "balance: go on with the next chunk type",
        count,
        *[look] * (allocator.free_slot + 1 - page_slot),
        "balance: create a chunk",
        count,
        *[look] * (allocator.free_slot + 1 - page_slot),
        "balance: populate",
    ]


def test_the_mutex_is_taken_anew_for_each_type() -> None:
    allocator = booted("linux_5_12", concurrent=True)
    work = allocator.balance_workfn()
    for gap in work:
        if gap.name == "balance: go on with the next chunk type":
            allocator.alloc_mutex = True  # somebody else was faster
            assert next(work).name == "wait for pcpu_alloc_mutex"
            allocator.alloc_mutex = False
    assert not allocator.alloc_mutex and not allocator.lock


def test_the_first_type_answers_every_failure() -> None:
    """BAL-2 without partial depopulation: a chunk is created beside a fully free one.

    And for nothing: the number of pages is counted anew with the mark taken back.
    """
    allocator = booted("linux_5_12")
    (areas,) = full_chunks(allocator, 1)
    free_pages(allocator, areas, *range(12))
    allocator.balance()
    assert broken(allocator) == set()
    assert allocator.alloc(SMALL.largest, 4, gfp=NOWAIT | ACCOUNT) is None
    allocator.balance()
    assert allocator.quiescent
    watched(allocator).judge(allocator, quiescent=True)
    assert broken(allocator) == {"BAL-2"}
    free = list(allocator.slot_chunks(allocator.free_slot))
    assert [drawn(chunk) for chunk in free] == ["." * 12, "e" * 12]


@pytest.mark.parametrize("variant", ["linux_5_12", "rfc_1"])
def test_km_is_content_with_a_new_chunk(variant: str) -> None:
    allocator = booted(variant, KM)
    names = finish(allocator.balance_workfn())
    assert names.count("balance: create a chunk") == (1 if variant == "linux_5_12" else 0)
    assert "BAL-3" not in broken(allocator)


def own_chunks(allocator: Allocator, kind: int) -> Sequence[Chunk]:
    return [c for c in allocator.chunks() if isinstance(c, Chunk) and allocator.chunk_type(c) == kind]


def test_special_chunks_are_plain() -> None:
    for variant in OLD:
        cls = VARIANTS[variant]
        assert issubclass(cls, TwoTypes)
        allocator = booted(variant, SMALL.with_changes("static=38,reserved=132,dyn=310"))
        assert allocator.reserved_chunk is not None
        assert len(own_chunks(allocator, PLAIN)) == 2
