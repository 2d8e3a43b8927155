"""Which list a size or a chunk belongs on."""

from __future__ import annotations

from typing import NamedTuple

from percpu_spec.geometry import Geometry
from percpu_spec.views import AllocatorView, ChunkView


class SlotLayout(NamedTuple):
    """The slots behind the active ones, -1 if absent, and how many slots there are (SLOT-2)."""

    sidelined: int
    free: int
    to_depopulate: int
    nr_slots: int


def active_slot(geometry: Geometry, nbytes: int) -> int:
    """Slot of a size by the formula alone, a whole unit included: at least 1."""
    return max(nbytes.bit_length() - geometry.slot_base_shift + 2, 1)


def slot_layout(
    geometry: Geometry, *, sidelined: bool = True, to_depopulate: bool = True
) -> SlotLayout:
    """Return where the sidelined, free and to_depopulate slots of a type are (SLOT-2).

    An allocator that does not depopulate has neither the first nor the last.
    """
    free = active_slot(geometry, geometry.unit) + 1 + sidelined
    return SlotLayout(
        free - 1 if sidelined else -1,
        free,
        free + 1 if to_depopulate else -1,
        free + 1 + to_depopulate,
    )


def size_to_slot(geometry: Geometry, nbytes: int, free_slot: int | None = None) -> int:
    """Slot of a free run or of a request of `nbytes`: the free slot for a whole unit (SLOT-1).

    The free slot is that of 6.12's layout unless given.
    """
    if nbytes != geometry.unit:
        return active_slot(geometry, nbytes)
    return slot_layout(geometry).free if free_slot is None else free_slot


def chunk_slot(chunk: ChunkView, geometry: Geometry, free_slot: int | None = None) -> int:
    """Slot computed from a chunk's hints: 0 where nothing is free or known to be (SLOT-1)."""
    contig = chunk.chunk_md.contig_hint
    if chunk.free_bytes < geometry.granule or contig == 0:
        return 0
    return size_to_slot(geometry, contig * geometry.granule, free_slot)


def slots_per_type(allocator: AllocatorView) -> int:
    """How many lists each type of chunks has; list number modulo this is the slot."""
    return allocator.nr_slots // allocator.chunk_types


def list_number(allocator: AllocatorView, chunk: ChunkView, slot: int) -> int:
    """Return the number of the list that is `slot` of the chunk's type."""
    if allocator.chunk_types == 1:
        return slot
    return slot + allocator.chunk_type(chunk) * slots_per_type(allocator)


def computed_list(allocator: AllocatorView, chunk: ChunkView) -> int:
    """Return the number of the list computed from a chunk's hints and type (LIST-2)."""
    slot = chunk_slot(chunk, allocator.geometry, allocator.free_slot)
    return list_number(allocator, chunk, slot)


def lists_of_slot(allocator: AllocatorView, slot: int) -> range:
    """Return the numbers of a slot's lists, one for each type; none if there is no such slot."""
    return range(slot, allocator.nr_slots if slot >= 0 else slot, slots_per_type(allocator))
