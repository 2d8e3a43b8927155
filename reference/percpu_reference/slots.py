"""Slots: which list a chunk is on, and the float that goes with it.

Lists are ordered by the longest run a chunk advertises; behind them stand sidelined, free and
to_depopulate. Kernel functions of the same names, 6.12 order.
"""

from __future__ import annotations

from percpu_contracts.contract import ensure, old, record, require
from percpu_contracts.functions import slots as must
from percpu_reference.chunk import Chunk, ListHead
from percpu_reference.state import Globals


class Slots(Globals):
    """Slot arithmetic, list moves, isolation and the empty page counters."""

    __slots__ = ()

    def setup_slots(self) -> None:
        """Lay out the lists (pcpu_setup_first_chunk) and the tables derived from them."""
        self.sidelined_slot = self._size_to_slot(self.unit_size) + 1
        self.free_slot = self.sidelined_slot + 1
        self.to_depopulate_slot = self.free_slot + 1
        self.nr_slots = self.to_depopulate_slot + 1
        self.setup_lists(self.free_slot)

    def setup_lists(self, last_searched: int) -> None:
        """Make nr_slots empty lists; a search ends with slot last_searched of its type."""
        slots = self.nr_slots // self.chunk_types
        self.chunk_lists = [ListHead(number) for number in range(self.nr_slots)]
        self.search_lists = [
            self.chunk_lists[number : number - number % slots + last_searched + 1]
            for number in range(self.nr_slots)
        ]
        self.slot_of_bits = self.slot_table()

    def slot_table(self) -> list[int]:
        """Return the slot of a run of each length in bits, 0 for none."""
        bits, granule = self.geometry.unit_bits, self.granule
        table = [0] * (bits + 1)
        first = 1
        while first <= bits:  # a slot's runs share the highest bit of their size
            behind = -(-(1 << (first * granule).bit_length()) // granule)
            behind = min(max(behind, first + 1), bits + 1)
            table[first:behind] = [self._size_to_slot(first * granule)] * (behind - first)
            first = behind
        table[bits] = self.size_to_slot(bits * granule)
        return table

    def _size_to_slot(self, size: int) -> int:
        return max(size.bit_length() - self.geometry.slot_base_shift + 2, 1)

    @ensure("SLOT-1", must.is_slot_of_size)
    def size_to_slot(self, size: int) -> int:
        """Return the slot of a run of size bytes; a whole unit has the free slot."""
        if size == self.unit_size:
            return self.free_slot
        return self._size_to_slot(size)

    def chunk_slot(self, chunk: Chunk) -> int:
        """Return the slot computed from a chunk's hints (SLOT-1)."""
        if chunk.free_bytes < self.granule:
            return 0
        return self.slot_of_bits[chunk.chunk_md.contig_hint]

    def _chunk_move(self, chunk: Chunk, slot: int, move_front: bool) -> None:
        if chunk is self.reserved_chunk:
            return
        before, after = chunk.prev, chunk.next
        before.next = after
        after.prev = before
        head = self.chunk_lists[slot]
        if move_front:
            before, after = head, head.next
        else:
            before, after = head.prev, head
        before.next = chunk
        chunk.prev = before
        chunk.next = after
        after.prev = chunk

    @ensure("LIST-1", must.is_at_head)
    def chunk_move(self, chunk: Chunk, slot: int) -> None:
        """Move a chunk to the head of a list; the reserved chunk stays on none."""
        self._chunk_move(chunk, slot, True)

    @old("place", must.place)
    @ensure("SLOT-1", must.slot_is_computed)
    @ensure("LIST-4", must.is_relocated)
    def chunk_relocate(self, chunk: Chunk, oslot: int) -> None:
        """Put a chunk on the list of its computed slot if that is no longer oslot.

        To the head when the slot grew, to the tail when it shrank. Isolated chunks stay.
        """
        nslot = self.chunk_slot(chunk)
        if chunk.isolated:
            return
        if oslot != nslot:
            self._chunk_move(chunk, nslot, oslot < nslot)

    @require("LOCK-1", must.locked)
    @require("RCL-5", must.may_be_isolated)
    @old("isolated", must.was_isolated)
    @old("floating", must.float_before)
    @ensure("ISO-2", must.is_set_apart)
    @ensure("FLT-1", must.leaves_float)
    @ensure("RCL-1", must.keeps_float_high)
    def isolate_chunk(self, chunk: Chunk) -> None:
        """Take a chunk out of the float and to the head of to_depopulate (ISO-1, FLT-1)."""
        if not chunk.isolated:
            chunk.isolated = True
            self.nr_empty_pop_pages -= chunk.nr_empty_pop_pages
        self._chunk_move(chunk, self.to_depopulate_slot, True)

    @require("LOCK-1", must.locked)
    @old("isolated", must.was_isolated)
    @old("floating", must.float_before)
    @old("place", must.place)
    @ensure("FLT-1", must.rejoins_float)
    @ensure("LIST-4", must.is_back)
    @record(must.note_back)
    def reintegrate_chunk(self, chunk: Chunk) -> None:
        """Bring an isolated chunk back into the float and onto its list; else do nothing."""
        if chunk.isolated:
            chunk.isolated = False
            self.nr_empty_pop_pages += chunk.nr_empty_pop_pages
            self.chunk_relocate(chunk, -1)

    @old("empties", must.empties_before)
    @old("floating", must.float_before)
    @ensure("FLT-1", must.counts_empties)
    def update_empty_pages(self, chunk: Chunk, nr: int) -> None:
        """Add nr pages to a chunk's empty populated pages, and to the float if it counts there.

        During an allocation the count runs low: pages not yet populated are subtracted at once
        and come back with chunk_populated (POP-1, FLT-1).
        """
        chunk.nr_empty_pop_pages += nr
        if chunk is not self.reserved_chunk and not chunk.isolated:
            self.nr_empty_pop_pages += nr

    def list_del(self, chunk: Chunk) -> None:
        """Take a chunk off its list."""
        chunk.prev.next = chunk.next
        chunk.next.prev = chunk.prev
        chunk.next = chunk.prev = chunk
