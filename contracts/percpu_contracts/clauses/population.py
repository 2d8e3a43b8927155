"""Pages behind chunks. Kernel: pcpu_chunk_populated, pcpu_chunk_depopulated."""

from __future__ import annotations

from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, states
from percpu_spec.counts import counted
from percpu_spec.definitions import (
    dynamic_chunks,
    empty_populated_pages,
    first_chunk_pages,
    is_populated,
    listed_chunks,
    pages_of,
)
from percpu_spec.geometry import Geometry
from percpu_spec.steps import AreaExtent, Deed, Kind, Step
from percpu_spec.views import AllocatorView, ChunkView


@states("POP-1", Scope.CHUNK, When.SETTLED)
def empty_pages_are_counted(chunk: ChunkView, geometry: Geometry) -> str | None:
    """nr_empty_pop_pages equals the populated pages without an allocated bit."""
    found, wanted = chunk.nr_empty_pop_pages, empty_populated_pages(chunk, geometry)
    if found == wanted:
        return None
    return f"nr_empty_pop_pages {found}, expected {counted(wanted, 'page')}"


@states("POP-2")
def area_is_populated(chunk: ChunkView, off: int, size: int, geometry: Geometry) -> str | None:
    """The area of `size` bytes at byte `off` lies in populated pages."""
    start, end = off // geometry.granule, (off + size) // geometry.granule
    if is_populated(chunk, start, end, geometry):
        return None
    page = chunk.populated.find(0, *pages_of(geometry, start, end))
    return f"area of {size} bytes at byte {off}: page {page} is not populated"


@states("POP-2", Scope.CHUNK, When.SETTLED)
def used_pages_are_populated(chunk: ChunkView, geometry: Geometry) -> str | None:
    """No unpopulated page holds an allocated bit. Asked outside allocations."""
    block, pages = geometry.block_bits, chunk.nr_pages
    page = chunk.populated.find(0, 0, pages)
    while page >= 0:
        behind = chunk.populated.find(1, page, pages)
        behind = pages if behind < 0 else behind
        used = chunk.alloc_map.find(1, page * block, behind * block)
        if used >= 0:
            return f"page {used // block} holds allocated bit {used} and is not populated"
        page = chunk.populated.find(0, behind, pages)
    return None


@states("POP-3", Scope.CHUNK, When.ALWAYS)
def populated_pages_are_counted(chunk: ChunkView, geometry: Geometry) -> str | None:
    """nr_populated equals the chunk's populated bits."""
    wanted = chunk.populated.count(1)
    if chunk.nr_populated == wanted:
        return None
    return f"nr_populated {chunk.nr_populated}, expected {counted(wanted, 'page')}"


@states("POP-3", Scope.ALLOCATOR, When.ALWAYS)
def all_populated_pages_are_counted(allocator: AllocatorView) -> str | None:
    """The global nr_populated is the first chunk's whole pages plus those created since."""
    # those of the first chunk that a variant released, against RCL-2, are not counted
    wanted = first_chunk_pages(allocator) - allocator.first_chunk.populated.count(0)
    wanted += sum(chunk.populated.count(1) for chunk in dynamic_chunks(allocator))
    if allocator.nr_populated == wanted:
        return None
    return f"allocator nr_populated {allocator.nr_populated}, expected {counted(wanted, 'page')}"


@states("POP-5", Scope.ALLOCATOR, When.ALWAYS)
def km_chunks_are_whole(allocator: AllocatorView) -> str | None:
    """With the km backing every listed chunk is populated whole."""
    if allocator.geometry.backing != "km":
        return None
    for slot, chunk in listed_chunks(allocator):
        page = chunk.populated.find(0, 0, chunk.nr_pages)
        if page >= 0:
            return f"km: a chunk on list {slot} lacks page {page}"
    return None


@states("POP-2", Scope.STEP, When.STEP)
def used_pages_are_kept(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """No page is released that an area lies in, and none handed out that is being released."""
    size = allocator.geometry.block_bits
    released = step.deeds(Deed.RELEASED)
    for done in released:
        used = done.chunk.alloc_map.find(1, done.start * size, done.end * size)
        if used >= 0:
            return f"page {used // size} was released with allocated bit {used}"
    if step.area is None:
        return None if released else NOT_ASKED
    chunk, off, bytes_ = step.area
    wrong = area_is_populated(chunk, off, bytes_, allocator.geometry)
    first, behind = area_pages(step.area, allocator.geometry)
    for stand in step.standing:
        losing = stand.chunk is chunk and stand.kind in (Kind.RELEASE, Kind.DRAIN)
        if losing and first < stand.end and stand.start < behind:
            wrong = wrong or (
                f"area of {bytes_} bytes at byte {off} handed out while pages "
                f"{stand.start}..{stand.end} of its chunk are being released"
            )
    return wrong


def area_pages(area: AreaExtent, geometry: Geometry) -> tuple[int, int]:
    """Return the pages [first, behind) of its chunk that an area lies in."""
    granule = geometry.granule
    return pages_of(geometry, area.off // granule, (area.off + area.size) // granule)
