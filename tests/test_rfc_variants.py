"""What the variants of the first posting do with pages, quirk by quirk."""

from __future__ import annotations

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
    gap_with,
    list_of,
    taken,
    watched,
)
from workloads import KM, SMALL

from percpu_reference import Allocator, build
from percpu_reference.chunk import Area, Chunk
from percpu_reference.gaps import Steps
from percpu_reference.variants.rfc_1 import Rfc1
from percpu_reference.variants.rfc_series import RfcSeries
from percpu_spec.gfp import NOWAIT

RFC = ("rfc_1", "rfc_series", "rfc_1_reviewed")
POSTED = ("rfc_1", "rfc_series")
UNMARKED = ("rfc_1", "rfc_1_reviewed")
RELEASE = "shrink: release pages"


def judged(allocator: Allocator) -> set[str]:
    """Return the clauses broken so far, those that the state breaks now included."""
    monitor = watched(allocator)
    monitor.judge(allocator, quiescent=allocator.quiescent and not allocator.owned)
    return broken(allocator)


def two_chunks(variant: str) -> tuple[Allocator, list[Area], list[Area]]:
    """Return an allocator whose first chunk and two more are full, and the areas of those by page.

    Nothing is asked of the balance work.
    """
    allocator = booted(variant)
    areas, others = full_chunks(allocator, 2)
    allocator.work_pending = False
    return allocator, areas, others


# which pages go


@pytest.mark.parametrize("variant", RFC)
@pytest.mark.parametrize(
    ("freed", "before", "after"),
    [
        ((2, 3, 4, 5), "##eeee######", "##....######"),
        ((0, 1, 2, 3), "eeee########", "....########"),
        ((1, 2, 6, 7, 8), "#ee###eee###", "#..###...###"),
        ((8, 9, 10, 11), "########eeee", "########eeee"),  # reaches the last page: RCL-4
        ((1, 2, 3, 10, 11), "#eee######ee", "#...######ee"),
    ],
)
def test_ranges(variant: str, freed: tuple[int, ...], before: str, after: str) -> None:
    allocator, areas, others = two_chunks(variant)
    free_pages(allocator, others, 7, 8, 9, 10, 11)  # for the float, never released
    chunk = free_pages(allocator, areas, *freed)
    assert drawn(chunk) == before
    if isinstance(allocator, RfcSeries):
        allocator.marked.add(chunk)  # whatever its company was
    allocator.balance()
    assert drawn(chunk) == after
    assert "RCL-4" in broken(allocator) or after[-1] != "e"


@pytest.mark.parametrize("variant", RFC)
def test_the_first_chunk(variant: str) -> None:
    allocator = booted(variant)
    areas = [taken(allocator, align=PAGE) for _ in range(5)]
    allocator.work_pending = False
    chunk = free_pages(allocator, areas, 0, 1, 2, 3)
    assert chunk is allocator.first_chunk and drawn(chunk) == "#eeee#"
    released = {gap.chunk for gap in allocator.balance_workfn() if gap.name == RELEASE}
    assert released == (set() if variant == "rfc_series" else {chunk})
    assert drawn(chunk) == "#eeee#"  # populated again: the float had fallen to 0
    assert ("RCL-2" in broken(allocator)) == (variant != "rfc_series")
    assert ("RCL-5" in judged(allocator)) == (variant == "rfc_1_reviewed")


@pytest.mark.parametrize("variant", UNMARKED)
def test_the_spare_free_chunk(variant: str) -> None:
    allocator = booted(variant)
    chunk, off = taken(allocator, gfp=ACCOUNTED)
    allocator.free((chunk, off))
    assert drawn(chunk) == "e..........."
    allocator.balance()
    assert drawn(chunk) == "............"
    assert chunk.isolated == (variant == "rfc_1_reviewed")


@pytest.mark.parametrize("variant", RFC)
def test_the_float_is_tested_once_a_chunk(variant: str) -> None:
    allocator, areas, others = two_chunks(variant)
    free_pages(allocator, areas, 1, 2, 3, 4)
    free_pages(allocator, others, 1, 2, 3, 4)
    free_pages(allocator, areas, 5)
    floats = [allocator.float_of(0) for _ in allocator.balance_workfn()]
    assert min(floats) == 0 and floats[0] == 9
    assert allocator.float_of(0) == 4  # populated again at once
    assert "RCL-1" in broken(allocator)


@pytest.mark.parametrize("variant", RFC)
def test_no_flush(variant: str) -> None:
    allocator, areas, others = two_chunks(variant)
    free_pages(allocator, others, 7, 8, 9, 10, 11)
    chunk = free_pages(allocator, areas, 1, 2, 3, 4)
    allocator.balance()
    assert drawn(chunk) == "#....#######" and allocator.env.tlb_flushes == 0
    while taken(allocator)[0] is not chunk:
        pass
    assert "TLB-1" in broken(allocator)


def test_a_list_is_walked_again_from_its_head() -> None:
    visited: list[Chunk] = []

    class Recording(Rfc1):
        """Rfc1, its visits noted."""

        __slots__ = ()

        def depopulate_empty(self, chunk: Chunk) -> Steps[tuple[int, int, bool]]:
            visited.append(chunk)
            return (yield from super().depopulate_empty(chunk))

    allocator = build(Recording, SMALL, contracts="full", strict=False)
    areas, others = full_chunks(allocator, 2)
    gives = free_pages(allocator, areas, 1, 2, 3, 4)
    keeps = free_pages(allocator, others, 7, 8, 9, 10, 11)
    number = list_of(allocator, gives)
    assert list(allocator.slot_chunks(number)) == [keeps, gives]
    allocator.balance()
    assert [c for c in visited if c in (gives, keeps)] == [keeps, gives, keeps, gives]
    assert list(allocator.slot_chunks(number)) == [keeps, gives]


@pytest.mark.parametrize("variant", RFC)
def test_emptiness_is_read_from(variant: str) -> None:
    """The map as posted, the block's contig_hint as reviewed."""
    allocator, areas, others = two_chunks(variant)
    free_pages(allocator, others, 7, 8, 9, 10, 11)
    chunk = free_pages(allocator, areas, 1, 2, 3, 4)
    chunk.md_blocks[2].contig_hint = 15
    allocator.balance()
    assert drawn(chunk) == ("#.e..#######" if variant == "rfc_1_reviewed" else "#....#######")


# who asks for the work


def test_an_empty_page_asks() -> None:
    """Ours: the patch has no caller."""
    allocator, areas, _ = two_chunks("rfc_1")
    small = taken(allocator, 4)
    allocator.work_pending = False
    allocator.free(small)
    assert not allocator.work_pending
    free_pages(allocator, areas, 5)
    assert allocator.work_pending

    reserved = booted("rfc_1", SMALL.with_changes("static=38,reserved=132,dyn=310"))
    area = reserved.alloc(PAGE, 4, reserved=True)
    assert area is not None and area[0] is reserved.reserved_chunk
    reserved.work_pending = False
    reserved.free(area)
    assert not reserved.work_pending


# the window


def contended(variant: str) -> tuple[Allocator, list[Area], Steps[None]]:
    """Stop the work in the gap in which it releases pages 1 to 4 of #eeee###...., and others run.

    Another chunk, #######eeeee, keeps the float up, is company, and is not touched.
    """
    allocator = booted(variant, concurrent=True)
    (others,) = full_chunks(allocator, 1)
    areas = [taken(allocator, align=PAGE) for _ in range(8)]
    free_pages(allocator, others, 7, 8, 9, 10, 11)
    chunk = free_pages(allocator, areas, 1, 2, 3, 4)
    assert drawn(chunk) == "#eeee###...."
    work = allocator.balance_workfn()
    gap = gap_with(work, RELEASE)
    assert (gap.chunk, gap.start, gap.end) == (chunk, 1, 5)
    assert list_of(allocator, chunk) == -1 and allocator.owned == [chunk]
    assert not broken(allocator) - {"FLT-1"}
    return allocator, areas, work


@pytest.mark.parametrize("variant", RFC)
def test_an_allocation_in_a_page_being_released(variant: str) -> None:
    allocator, areas, work = contended(variant)
    chunk = free_pages(allocator, areas, 5, 6, 7)
    assert (list_of(allocator, chunk) >= 0) == (variant in POSTED)
    area = allocator.alloc(6 * PAGE, 4, gfp=NOWAIT)  # more than the other chunk has
    next(work)
    pages = drawn(chunk)
    finish(work)
    lost = {"ISO-1", "LIST-1", "POP-1", "POP-2"}
    if variant in POSTED:
        assert area == (chunk, PAGE) and pages == "#!!!!##e...."
        assert judged(allocator) >= lost
    else:
        assert area is None
        assert chunk.isolated and list_of(allocator, chunk) == allocator.sidelined_slot
        assert not judged(allocator) & lost


@pytest.mark.parametrize("variant", RFC)
def test_back_to_where_it_was_found(variant: str) -> None:
    """A second range takes the chunk off the list that a free put it on."""
    allocator, areas, work = contended(variant)
    chunk = free_pages(allocator, areas, 5, 6, 7)
    gap = gap_with(work, RELEASE)
    assert (gap.chunk, gap.start, gap.end) == (chunk, 6, 8)
    finish(work)
    assert ("LIST-4" in judged(allocator)) == (variant in POSTED)
    assert "LIST-3" not in broken(allocator)


@pytest.mark.parametrize("variant", RFC)
def test_a_chunk_freed_whole_meanwhile(variant: str) -> None:
    """The free lists it where it belongs, or it is sidelined like any other."""
    allocator, areas, work = contended(variant)
    chunk = free_pages(allocator, areas, 5, 6, 7)
    gap_with(work, RELEASE)
    free_pages(allocator, areas, 0)
    finish(work)
    assert chunk.free_bytes == SMALL.unit
    slot = allocator.free_slot if variant in POSTED else allocator.sidelined_slot
    assert list_of(allocator, chunk) == slot


@pytest.mark.parametrize("variant", POSTED)
def test_a_free_chunk_off_the_free_list(variant: str) -> None:
    """With a range left to release it is taken off again and goes back to where it was found."""
    allocator, areas, work = contended(variant)
    chunk = free_pages(allocator, areas, 5, 6, 7, 0)
    assert list_of(allocator, chunk) == allocator.free_slot
    gap_with(work, RELEASE)
    finish(work)
    assert chunk.free_bytes == SMALL.unit and list_of(allocator, chunk) != allocator.free_slot
    assert "LIST-3" in judged(allocator)


# the order of search


@pytest.mark.parametrize("variant", RFC)
def test_depopulated_chunks_in_the_search(variant: str) -> None:
    allocator, areas, others = two_chunks(variant)
    free_pages(allocator, others, 4, 5, 6, 7)
    chunk = free_pages(allocator, areas, 1, 2, 3, 4)
    free_pages(allocator, others, 8, 9, 10, 11)
    if isinstance(allocator, RfcSeries):
        allocator.marked.discard(others[0][0])
    allocator.balance()
    assert drawn(chunk) == "#....#######"
    area = allocator.alloc(PAGE, 4, gfp=NOWAIT)
    assert area == (others[0][0], 4 * PAGE)
    assert ("COST-1" in broken(allocator)) == (variant in POSTED)


def test_reviewed_rejoins_on_success() -> None:
    allocator, areas, others = two_chunks("rfc_1_reviewed")
    free_pages(allocator, others, 7, 8, 9, 10, 11)
    chunk = free_pages(allocator, areas, 1, 2, 3, 4)
    floating = allocator.float_of(0)
    allocator.balance()
    assert chunk.isolated and list_of(allocator, chunk) == allocator.sidelined_slot
    assert allocator.float_of(0) == floating - 4  # by the release, not by the isolation

    allocator.free(areas[8])
    assert chunk.isolated and list_of(allocator, chunk) == allocator.sidelined_slot
    assert allocator.float_of(0) == floating - 3  # counted all the same
    assert "FLT-1" in broken(allocator)

    free = SMALL.unit_pages - drawn(chunk).count("#")
    while any(c is not chunk and c is not allocator.first_chunk for c in [taken(allocator)[0]]):
        pass
    assert not chunk.isolated and list_of(allocator, chunk) == allocator.chunk_slot(chunk)
    assert free > SMALL.unit_pages - drawn(chunk).count("#")


def test_reviewed_keeps_free_chunks_for_ever() -> None:
    """As v3 of the series did: nothing destroys a sidelined chunk that became fully free."""
    allocator = booted("rfc_1_reviewed")
    chunks = full_chunks(allocator, 4)
    for areas in chunks:
        free_pages(allocator, areas, *range(1, 11))
    allocator.balance()
    for areas in chunks:
        free_pages(allocator, areas, 0, 11)
    while allocator.work_pending:
        allocator.balance()
    free = [c for areas in chunks for c in [areas[0][0]] if c.isolated]
    assert len(free) > 1 and all(c.free_bytes == SMALL.unit for c in free)
    assert judged(allocator) >= {"BAL-2"}


# the marks of the series


@pytest.mark.parametrize(
    ("company", "own", "marked"),
    [
        ((7, 8, 9, 10), (1, 2, 3), False),  # a quarter of the pages
        ((7, 8, 9, 10), (1, 2, 3, 4), True),  # more than a quarter
        ((7, 8, 9, 10), (1, 2, 3, 4, 6), True),
        ((), (1, 2, 3, 4), False),  # alone in its slot
        ((4, 5, 6, 7, 8, 9, 10, 11), (1, 2, 3, 4), False),  # the other is in a higher one
    ],
)
def test_marks(company: tuple[int, ...], own: tuple[int, ...], marked: bool) -> None:
    allocator, areas, others = two_chunks("rfc_series")
    assert isinstance(allocator, RfcSeries)
    free_pages(allocator, others, *company)
    chunk = free_pages(allocator, areas, *own)
    assert allocator.marked == ({chunk} if marked else set())
    assert not allocator.work_pending


def test_two_marks_ask() -> None:
    allocator, areas, others = two_chunks("rfc_series")
    assert isinstance(allocator, RfcSeries)
    free_pages(allocator, others, 7, 8, 9, 10)
    free_pages(allocator, areas, 1, 2, 3, 4)
    assert not allocator.work_pending
    free_pages(allocator, others, 11)
    assert allocator.marked == {areas[0][0], others[0][0]}
    assert allocator.work_pending
    allocator.balance()
    assert not allocator.marked  # the tail of the second was tried for nothing
    assert (drawn(areas[0][0]), drawn(others[0][0])) == ("#....#######", "#######eeeee")


def test_what_is_not_marked_is_left_alone() -> None:
    allocator, areas, others = two_chunks("rfc_series")
    assert isinstance(allocator, RfcSeries)
    chunk = free_pages(allocator, areas, 1, 2, 3, 4)  # no company
    free_pages(allocator, others, 2, 3, 4)
    allocator.balance()
    assert (drawn(chunk), drawn(others[0][0])) == ("#eeee#######", "##eee#######")


def test_a_low_float_populates_and_keeps_the_marks() -> None:
    allocator, areas, others = two_chunks("rfc_series")
    assert isinstance(allocator, RfcSeries)
    free_pages(allocator, others, 7, 8, 9, 10)
    chunk = free_pages(allocator, areas, 1, 2, 3, 4)
    while allocator.float_of(0) >= SMALL.empty_high:
        taken(allocator, gfp=NOWAIT)
    names = finish(allocator.balance_workfn())
    assert RELEASE not in names and "balance: populate" in names
    assert allocator.marked == {chunk}


def test_a_free_chunk_loses_its_mark_when_it_goes() -> None:
    allocator, areas, others = two_chunks("rfc_series")
    assert isinstance(allocator, RfcSeries)
    free_pages(allocator, others, 7, 8, 9, 10)
    chunk = free_pages(allocator, areas, 1, 2, 3, 4)
    spared = free_pages(allocator, others, 11)
    free_pages(allocator, areas, 0, *range(5, 12))
    free_pages(allocator, others, *range(7))
    assert allocator.marked == {chunk, spared}
    gap = next(allocator.balance_workfn())
    assert (gap.name, gap.chunk) == ("balance: release a free chunk", chunk)
    assert allocator.marked == {spared}


def test_km_creates_for_ever() -> None:
    """BAL-3: the number of pages wanted is not counted anew, and new chunks lack none."""
    allocator = booted("rfc_series", KM)
    allocator.env.memory = 1000
    taken(allocator, SMALL.largest)
    for _ in range(3):
        allocator.alloc(SMALL.largest, 4, gfp=NOWAIT)
    names = finish(allocator.balance_workfn())
    assert names.count("balance: create a chunk") > SMALL.empty_high + 1
    assert allocator.env.live_pages + 64 > allocator.env.memory
    assert broken(allocator) >= {"BAL-3"}
