"""What linux_5_12 does, and what every variant declares."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from depth import deep_unless
from page_states import (
    ACCOUNTED,
    PAGE,
    booted,
    broken,
    drawn,
    finish,
    free_pages,
    full_chunks,
    taken,
    watched,
)
from random_actors import Actors
from workloads import ALIGNED, HIDDEN, KM, SMALL, Scene, scenes

from percpu_proofs import data
from percpu_proofs.commands.source import Source, read_source
from percpu_proofs.recorded.vectors import find_vectors
from percpu_proofs.review.job import KM_MEMORY
from percpu_proofs.run.driver import Driver
from percpu_reference import VARIANTS, Allocator, build
from percpu_spec.catalogue import clauses
from percpu_spec.gfp import ACCOUNT, ATOMIC, KERNEL, NOFS, NOIO, NOWAIT

OLD = ("linux_5_12", "rfc_1", "rfc_series", "rfc_1_reviewed")

# what each file may change; a function beyond these is a change to read the file again for
OVERRIDES: dict[str, set[str]] = {
    "linux_5_12": {"float_of", "set_floats", "update_empty_pages"},
    "rfc_1": {
        "balance_type", "check_freed_chunk", "depopulate_empty", "may_shrink", "page_is_empty",
        "put_back", "shrink_chunk", "shrink_populated", "take_off",
    },
    "rfc_series": {
        "balance_populated", "balance_type", "check_freed_chunk", "condemn_chunk",
        "count_again", "has_company", "may_shrink", "shrink_chunk",
    },
    "rfc_1_reviewed": {
        "page_is_empty", "put_back", "reintegrate_chunk", "setup_slots", "take_off",
        "update_empty_pages",
    },
}  # fmt: skip

SEQUENTIAL_512 = {"HINT-3", "HINT-4", "HINT-5", "LIST-2", "BAL-2"}
ISOLATION = {f"ISO-{n}" for n in range(1, 5)} | {f"RCL-{n}" for n in range(1, 8)}
ON_SHRINK = {"FLT-1", "POP-5", "RCL-1", "RCL-4", "RCL-6", "TLB-1"}
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


def playing(variant: str, scene: Scene | Source) -> Allocator:
    allocator = build(variant, scene.geometry, contracts="full", stats=True)
    if scene.geometry.backing == "km":
        allocator.env.memory = KM_MEMORY
    Driver(allocator).run(scene.listed)
    return allocator


VECTORS = find_vectors([data.folder("vectors")])


@pytest.mark.parametrize("variant", OLD)
@pytest.mark.parametrize(
    "path", deep_unless(lambda path: path.name[:2] < "28", VECTORS), ids=lambda p: p.name[:2]
)
def test_vectors_break_what_is_expected_only(variant: str, path: Path) -> None:
    # raises for anything unexpected
    assert broken(playing(variant, read_source(path, None))) <= EXPECTED[variant]


@pytest.mark.parametrize("variant", deep_unless(lambda variant: variant != "rfc_series", OLD))
def test_scenes_break_what_is_expected_only(variant: str) -> None:
    seen: set[str] = set()
    for scene in scenes():
        seen |= broken(playing(variant, scene))  # raises for anything unexpected
    assert seen <= EXPECTED[variant]
    assert seen >= {"HINT-3", "HINT-4", "HINT-5", "LIST-2"}
    if variant != "linux_5_12":
        assert seen >= {"FLT-1", "RCL-4"}


@pytest.mark.parametrize("concurrent", [False, True])
@pytest.mark.parametrize("variant", OLD)
def test_random_actors_break_what_is_expected_only(variant: str, concurrent: bool) -> None:
    for seed, geometry in enumerate((SMALL, HIDDEN, ALIGNED)):
        actors = Actors(VARIANTS[variant], geometry, seed, concurrent)
        for _ in range(3):
            actors.phase(30)  # raises for anything unexpected
        actors.free_all()
        assert set(actors.monitor.violations) <= EXPECTED[variant]


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
