"""Contracts of taking and freeing an area in the maps."""

from __future__ import annotations

from typing import Any

from percpu_contracts.clauses import fit, hints, lists, maps
from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.functions.model_view import LinkedChunk, ModelView
from percpu_spec.definitions import area_size
from percpu_spec.steps import Deed


def map_before(chunk: LinkedChunk) -> bytearray:
    """Return the allocation map at entry, to be changed into the one wanted."""
    return bytearray(chunk.alloc_map)


def free_bytes_before(chunk: LinkedChunk) -> int:
    """Return free_bytes at entry."""
    return chunk.free_bytes


def size_before(self: ModelView, chunk: LinkedChunk, off: int) -> int | None:
    """Return the size in bytes of the live area at byte off."""
    return area_size(chunk, off, self.geometry)


def area_is_taken(
    self: ModelView, chunk: LinkedChunk, alloc_bits: int, align: int, result: int, OLD: Any
) -> str | None:
    """Just the bits of a free, aligned area were set, or none at all (MAP-1)."""
    granule = self.geometry.granule
    if result < 0:
        return None if OLD.map == chunk.alloc_map else "a failed search changed the map"
    at, end = result // granule, result // granule + alloc_bits
    if at % align or end > len(OLD.map) or result % granule:
        return f"area of bits {at}..{end} is misaligned for {align} or outside the chunk"
    if OLD.map.find(1, at, end) >= 0:
        return f"area of bits {at}..{end} was not free"
    wanted = OLD.map
    wanted[at:end] = b"\1" * alloc_bits
    return None if chunk.alloc_map == wanted else f"other bits than {at}..{end} changed"


def hit_is_served(
    self: ModelView, chunk: LinkedChunk, alloc_bits: int, align: int, start: int, result: int
) -> str | None:
    """A search by hints is followed as far as its hit reaches (FIT-3)."""
    if result >= 0:
        return None
    return fit.hit_is_served(chunk, start, alloc_bits, align, self.geometry)


def note_placed(self: ModelView, chunk: LinkedChunk, alloc_bits: int, result: int) -> None:
    """An area was taken."""
    if result >= 0:
        at = result // self.geometry.granule
        self.monitor.history.tell(Deed.PLACED, chunk, at, at + alloc_bits)


def area_is_bounded(
    self: ModelView, chunk: LinkedChunk, alloc_bits: int, result: int
) -> str | None:
    """Boundary bits delimit the area taken (MAP-3)."""
    if result < 0:
        return None
    found = area_size(chunk, result, self.geometry)
    wanted = alloc_bits * self.geometry.granule
    return None if found == wanted else f"boundary bits make an area of {found}, not {wanted} bytes"


def free_bytes_fall(
    self: ModelView, chunk: LinkedChunk, alloc_bits: int, result: int, OLD: Any
) -> str | None:
    """free_bytes falls by the area's bytes (MAP-2)."""
    wanted = OLD.free_bytes - (alloc_bits * self.geometry.granule if result >= 0 else 0)
    return None if chunk.free_bytes == wanted else f"free_bytes {chunk.free_bytes}, not {wanted}"


def first_free_is_exact(self: ModelView, chunk: LinkedChunk) -> str | None:
    """The chunk's first_free is its first free bit (HINT-7)."""
    return hints.chunk_first_free_is_exact(chunk, self.geometry)


def area_is_returned(self: ModelView, result: int, OLD: Any) -> str | None:
    """A free returns what the allocation took (MAP-4); one that is refused is none (API-2)."""
    if OLD.size is None and self.CHECKS_FREES and not result:
        return NOT_ASKED
    return maps.free_returns_area(result, OLD.size)


def bits_are_cleared(
    self: ModelView, chunk: LinkedChunk, off: int, result: int, OLD: Any
) -> str | None:
    """Just the area's bits were cleared (MAP-1)."""
    granule = self.geometry.granule
    at, end = off // granule, (off + result) // granule
    wanted = OLD.map
    wanted[at:end] = bytes(end - at)
    return None if chunk.alloc_map == wanted else f"other bits than {at}..{end} changed"


def free_bytes_rise(self: ModelView, chunk: LinkedChunk, result: int, OLD: Any) -> str | None:
    """free_bytes rises by the area's bytes (MAP-2)."""
    wanted = OLD.free_bytes + result
    return None if chunk.free_bytes == wanted else f"free_bytes {chunk.free_bytes}, not {wanted}"


def list_of(chunk: LinkedChunk) -> int:
    """Return the slot whose list a chunk is linked on, -1 if on none."""
    link: Any = chunk.next
    while link is not chunk:
        slot = getattr(link, "slot", None)
        if slot is not None:
            found: int = slot
            return found
        link = link.next
    return -1


def freed_chunk_is_listed(self: ModelView, chunk: LinkedChunk, result: int) -> str | None:
    """After a free the chunk is on the list computed from its hints (LIST-2)."""
    if not result:
        return NOT_ASKED
    return lists.chunk_is_on_its_list(self, chunk, list_of(chunk))
