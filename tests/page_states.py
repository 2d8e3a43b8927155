"""Chunks in chosen page states, for tests of what variants do with pages."""

from __future__ import annotations

from workloads import SMALL

from percpu_contracts.monitor import Monitor
from percpu_reference import Allocator, build
from percpu_reference.chunk import Area, Chunk
from percpu_reference.gaps import Gap, Steps
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ACCOUNT, KERNEL

PAGE = SMALL.page
ACCOUNTED = KERNEL | ACCOUNT

Pages = dict[Chunk, list[Area]]
"""The page-sized areas of chunks, by page."""


def booted(variant: str, geometry: Geometry = SMALL, *, concurrent: bool = False) -> Allocator:
    """Return an allocator under all contracts that records what it breaks."""
    allocator = build(variant, geometry, contracts="full", strict=False)
    watched(allocator).history.concurrent = concurrent
    return allocator


def watched(allocator: Allocator) -> Monitor:
    assert allocator.monitor is not None
    return allocator.monitor


def broken(allocator: Allocator) -> set[str]:
    """Return the clauses found broken so far."""
    return set(watched(allocator).violations)


def taken(allocator: Allocator, size: int = PAGE, gfp: int = KERNEL, align: int = 4) -> Area:
    """Return an area, which there must be room for."""
    area = allocator.alloc(size, align, gfp=gfp)
    assert area is not None
    return area


def full_chunks(allocator: Allocator, count: int, gfp: int = KERNEL) -> list[list[Area]]:
    """Fill so many new chunks with areas of a page, and the first chunk with them; by page."""
    found: Pages = {}
    while len(found) < count or any(len(a) < allocator.geometry.unit_pages for a in found.values()):
        area = taken(allocator, gfp=gfp, align=PAGE)
        if area[0] is not allocator.first_chunk:
            found.setdefault(area[0], []).append(area)
    return list(found.values())


def free_pages(allocator: Allocator, areas: list[Area], *pages: int) -> Chunk:
    """Free the areas of some pages and return their chunk."""
    for page in pages:
        allocator.free(areas[page])
    return areas[0][0]


def drawn(chunk: Chunk) -> str:
    """Return a chunk's pages: # used, e empty and populated, . not populated, ! used but not."""
    size = len(chunk.alloc_map) // chunk.nr_pages
    used = [any(chunk.alloc_map[i * size : (i + 1) * size]) for i in range(chunk.nr_pages)]
    return "".join(".!e#"[2 * p + u] for p, u in zip(chunk.populated, used, strict=True))


def list_of(allocator: Allocator, chunk: Chunk) -> int:
    """Return the number of the list that a chunk is on, -1 for none."""
    lists = range(allocator.nr_slots)
    return next((n for n in lists if any(c is chunk for c in allocator.slot_chunks(n))), -1)


def gap_with(steps: Steps[None], name: str) -> Gap:
    """Run steps to their next gap of that name."""
    return next(gap for gap in steps if gap.name == name)


def finish(steps: Steps[None]) -> list[str]:
    """Run steps to their end and return the names of the gaps on the way."""
    return [gap.name for gap in steps]
