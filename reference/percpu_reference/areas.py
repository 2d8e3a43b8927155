"""Allocating and freeing an area in a chunk's maps, under pcpu_lock."""

from __future__ import annotations

from percpu_contracts.contract import ensure, old, record, require
from percpu_contracts.functions import areas as must
from percpu_contracts.functions.slots import locked
from percpu_reference.chunk import FREE, USED, Chunk
from percpu_reference.fit import Fit


class Areas(Fit):
    """The two operations on a chunk that change its allocation map."""

    __slots__ = ()

    @require("LOCK-1", locked)
    @old("map", must.map_before)
    @old("free_bytes", must.free_bytes_before)
    @ensure("MAP-1", must.area_is_taken)
    @ensure("MAP-2", must.free_bytes_fall)
    @ensure("MAP-3", must.area_is_bounded)
    @ensure("HINT-7", must.first_free_is_exact)
    @ensure("FIT-3", must.hit_is_served)
    @record(must.note_placed, deed=True)
    def alloc_area(self, chunk: Chunk, alloc_bits: int, align: int, start: int) -> int:
        """Allocate alloc_bits bits aligned to align bits, searching from bit start.

        Returns the byte offset in the chunk, or -1 if nothing fits within a block's length.
        """
        oslot = self.chunk_slot(chunk)

        end = start + alloc_bits + self.block_bits
        if end > chunk.map_bits:
            end = chunk.map_bits
        bit_off, area_off, area_bits = self.find_zero_area(chunk, end, start, alloc_bits, align - 1)
        if bit_off >= end:
            return -1

        if area_bits:
            self.block_update_scan(chunk, area_off, area_bits)

        stop = bit_off + alloc_bits
        ones = USED * alloc_bits
        chunk.alloc_map[bit_off:stop] = ones

        bound_map = chunk.bound_map
        bound_map[bit_off:stop] = FREE * alloc_bits
        bound_map[bit_off] = 1
        bound_map[stop] = 1

        granule = self.granule
        chunk.free_bytes -= alloc_bits * granule

        chunk_md = chunk.chunk_md
        if bit_off == chunk_md.first_free:
            first = chunk.alloc_map.find(0, stop)
            chunk_md.first_free = chunk.map_bits if first < 0 else first

        self.block_update_hint_alloc(chunk, bit_off, alloc_bits)
        self.chunk_relocate(chunk, oslot)
        return bit_off * granule

    @require("LOCK-1", locked)
    @old("map", must.map_before)
    @old("free_bytes", must.free_bytes_before)
    @old("size", must.size_before)
    @ensure("MAP-1", must.bits_are_cleared)
    @ensure("MAP-2", must.free_bytes_rise)
    @ensure("MAP-4", must.area_is_returned)
    @ensure("HINT-7", must.first_free_is_exact)
    @ensure("LIST-2", must.freed_chunk_is_listed)
    def free_area(self, chunk: Chunk, off: int) -> int:
        """Free the area that starts at byte off and return its size in bytes.

        Its end is read from the boundary map, whose bits stay (MAP-3). From 7.0 on 0 is returned,
        and nothing changed, where no area starts (API-2).
        """
        if self.CHECKS_FREES and not self.is_start(chunk, off):
            return 0
        if self.stats is not None:
            self.stats.area_dealloc(chunk)

        oslot = self.chunk_slot(chunk)

        granule = self.granule
        bit_off = off // granule
        end = chunk.bound_map.find(1, bit_off + 1, chunk.map_bits)
        if end < 0:
            end = chunk.map_bits
        bits = end - bit_off
        chunk.alloc_map[bit_off:end] = FREE * bits

        freed = bits * granule
        chunk.free_bytes += freed

        if bit_off < chunk.chunk_md.first_free:
            chunk.chunk_md.first_free = bit_off

        self.block_update_hint_free(chunk, bit_off, bits)
        self.chunk_relocate(chunk, oslot)
        return freed

    def is_start(self, chunk: Chunk, off: int) -> bool:
        """Return whether the maps have a live area start at byte off."""
        bit = off // self.granule
        return bool(chunk.alloc_map[bit] and chunk.bound_map[bit])
