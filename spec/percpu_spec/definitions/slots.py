"""Which list a size or a chunk belongs on."""

from __future__ import annotations

from typing import NamedTuple

from percpu_spec.geometry import Geometry
from percpu_spec.views import ChunkView


class SlotLayout(NamedTuple):
    """The lists behind the active ones, and how many lists there are (SLOT-2)."""

    sidelined: int
    free: int
    to_depopulate: int
    nr_slots: int


def active_slot(geometry: Geometry, nbytes: int) -> int:
    """Slot of a size by the formula alone, a whole unit included: at least 1."""
    return max(nbytes.bit_length() - geometry.slot_base_shift + 2, 1)


def slot_layout(geometry: Geometry) -> SlotLayout:
    """Return where the sidelined, free and to_depopulate lists are (SLOT-2)."""
    sidelined = active_slot(geometry, geometry.unit) + 1
    return SlotLayout(sidelined, sidelined + 1, sidelined + 2, sidelined + 3)


def size_to_slot(geometry: Geometry, nbytes: int) -> int:
    """Slot of a free run or of a request of `nbytes`: the free list for a whole unit (SLOT-1)."""
    if nbytes == geometry.unit:
        return active_slot(geometry, nbytes) + 2
    return active_slot(geometry, nbytes)


def chunk_slot(chunk: ChunkView, geometry: Geometry) -> int:
    """Slot computed from a chunk's hints: 0 where nothing is free or known to be (SLOT-1)."""
    contig = chunk.chunk_md.contig_hint
    if chunk.free_bytes < geometry.granule or contig == 0:
        return 0
    return size_to_slot(geometry, contig * geometry.granule)
