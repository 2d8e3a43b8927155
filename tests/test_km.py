"""The km backing: chunks born populated in one kernel allocation, never reclaimed."""

from __future__ import annotations

import pytest

from percpu_reference import build
from percpu_reference.events import CreateChunk, DestroyChunk, Event
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry


def km(cpus: int, events: list[Event] | None = None) -> Allocator:
    geometry = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=cpus, backing="km")
    trace = None if events is None else events.append
    return build("linux_6_12", geometry.require_kernel(), contracts="full", trace=trace)


@pytest.mark.parametrize(("cpus", "pages"), [(1, 8), (2, 16), (3, 32), (4, 32), (5, 64)])
def test_a_chunk_takes_a_power_of_two_of_pages_and_gives_them_back(cpus: int, pages: int) -> None:
    allocator = km(cpus)
    areas = [allocator.alloc(32768, 4) for _ in range(3)]
    assert allocator.env.live_pages == allocator.env.page_allocs == 3 * pages
    assert allocator.nr_populated == 8 + 3 * 8
    for area in areas:
        allocator.free(area)
    while allocator.work_pending:
        allocator.balance()
    assert allocator.env.live_pages == pages and allocator.env.destroys == 2


def test_a_chunk_is_born_whole_and_one_fault_strikes_it_whole() -> None:
    allocator = km(2)
    allocator.env.page_fault.kth = 2
    first = allocator.alloc(32768, 4)
    assert first is not None and list(first[0].populated) == [1] * 8
    assert allocator.alloc(32768, 4) is None  # the second request for a chunk's memory
    assert allocator.env.page_allocs == 16 and allocator.env.creates == 2


def test_nothing_is_reclaimed() -> None:
    allocator = km(1)
    areas = [allocator.alloc(4096, 4) for _ in range(23)]
    for area in areas[7:20]:
        allocator.free(area)
    assert not any(chunk.isolated for chunk in allocator.chunks())
    assert allocator.env.tlb_flushes == 0


def test_free_chunks_are_destroyed_from_the_tail_of_the_free_list() -> None:
    events: list[Event] = []
    allocator = km(1, events)
    areas = [allocator.alloc(32768, 4) for _ in range(4)]
    for area in areas:
        allocator.free(area)
    # on the free list each newcomer heads; the head is spared
    bases = [e.base_addr for e in events if isinstance(e, CreateChunk)][1:]
    allocator.balance()
    gone = [e.base_addr for e in events if isinstance(e, DestroyChunk)]
    assert gone == bases[:3]
