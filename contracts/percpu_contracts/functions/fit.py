"""Contracts of the searches within a chunk."""

from __future__ import annotations

from percpu_contracts.clauses import fit
from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.functions.model_view import LinkedChunk, ModelView
from percpu_spec.counts import counted
from percpu_spec.definitions import is_populated
from percpu_spec.views import BlockView


def starts_inside(self: ModelView, block: BlockView, result: int) -> str | None:
    """A scan starts within the block, at or behind first_free (HINT-2)."""
    if block.first_free <= result <= block.nr_bits:
        return None
    return f"scan starts at {result}, first_free {block.first_free}"


def region_fits(
    self: ModelView, chunk: LinkedChunk, alloc_bits: int, align: int, result: tuple[int, int]
) -> str | None:
    """A region found by hints holds the request (FIT-2)."""
    off, bits = result
    size = len(chunk.alloc_map)
    if off == size:
        return None
    if fit.zero_area(chunk.alloc_map, off, min(off + bits, size), alloc_bits, align) >= 0:
        return None
    return (
        f"region of {counted(bits, 'bit')} at {off} holds no {counted(alloc_bits, 'bit')} "
        f"aligned to {align}"
    )


def tells_population(
    self: ModelView, chunk: LinkedChunk, bit_off: int, bits: int, result: int
) -> str | None:
    """0 exactly if the pages are populated; else a place further on (POP-2)."""
    if (result == 0) != is_populated(chunk, bit_off, bit_off + bits, self.geometry):
        return f"bits {bit_off}..{bit_off + bits} called {'' if result == 0 else 'un'}populated"
    if result and result <= bit_off:
        return f"search for populated pages goes from bit {bit_off} back to {result}"
    return None


def hit_is_genuine(
    self: ModelView, chunk: LinkedChunk, alloc_bits: int, align: int, pop_only: bool, result: int
) -> str | None:
    """A place named by the hints has room, populated if asked (FIT-2)."""
    if result < 0:
        return NOT_ASKED
    return fit.hit_is_genuine(chunk, result, alloc_bits, align, pop_only, self.geometry)


def miss_is_genuine(
    self: ModelView, chunk: LinkedChunk, alloc_bits: int, align: int, pop_only: bool, result: int
) -> str | None:
    """An unaligned request that may populate misses only where nothing fits (FIT-1)."""
    if result >= 0 or align > 1 or pop_only:
        return NOT_ASKED
    return fit.miss_is_genuine(chunk, alloc_bits)


def area_is_first(
    self: ModelView,
    chunk: LinkedChunk,
    size: int,
    start: int,
    nr: int,
    align_mask: int,
    result: tuple[int, int, int],
) -> str | None:
    """The area found is the first aligned one, or there is none (FIT-2)."""
    wanted = fit.zero_area(chunk.alloc_map, start, size, nr, align_mask + 1)
    found = result[0] if result[0] + nr <= size else -1
    return None if found == wanted else f"zero area at {found}, expected {wanted}"


def skipped_is_free(
    self: ModelView, chunk: LinkedChunk, result: tuple[int, int, int]
) -> str | None:
    """The largest run skipped is free (HINT-1)."""
    _, off, bits = result
    if not bits or chunk.alloc_map.find(1, off, off + bits) < 0:
        return None
    return f"skipped run of {counted(bits, 'bit')} at {off} is not free"


def note_examined(self: ModelView, chunk: LinkedChunk, pop_only: bool) -> None:
    """An atomic search of the lists looked at this chunk (COST-1)."""
    self.monitor.history.pop_only = pop_only
    if not pop_only or chunk is self.reserved_chunk:
        return
    free = not chunk.isolated and chunk.free_bytes == self.geometry.unit
    self.monitor.history.examine(chunk, free)

