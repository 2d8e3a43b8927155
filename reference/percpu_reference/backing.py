"""Backing memory: vmalloc areas populated page by page (vm), or one kernel allocation (km)."""

from __future__ import annotations

from percpu_contracts.contract import ensure, old, record, require
from percpu_contracts.functions import chunks as must
from percpu_reference.chunk import Chunk
from percpu_reference.chunks import Chunks
from percpu_spec.steps import AREAS, METADATA, PAGES, TABLES


class VmBacking(Chunks):
    """Chunks mapped into vmalloc areas (mm/percpu-vm.c). Pages are per unit, ranges half open."""

    __slots__ = ()

    @require("LOCK-2", must.may_sleep)
    @require("RCL-2", must.is_mutable)
    @old("live_pages", must.live_pages_before)
    @old("mapping", must.mapping_before)
    @ensure("POP-4", must.all_or_nothing)
    @ensure("TLB-2", must.flushes_failed_map)
    def populate_chunk(self, chunk: Chunk, page_start: int, page_end: int) -> bool:
        """Back and map pages [page_start, page_end) of every unit; all or nothing (POP-4)."""
        env = self.env
        if not self.pages_array:
            self.ask(METADATA, self.INNER)
            if env.metadata_fault.strikes():
                return False
            self.pages_array = True

        units = self.geometry.cpus
        nr = page_end - page_start
        self.ask(PAGES)
        if not env.alloc_pages(units, nr):
            return False
        self.ask(TABLES, self.INNER)
        if env.map_fault.armed and any(env.map_fault.strikes() for _ in range(units)):
            self.post_unmap_tlb_flush(chunk, page_start, page_end)
            env.free_pages(units, nr)
            return False
        return True

    @require("LOCK-2", must.may_sleep)
    @require("RCL-2", must.is_mutable)
    @require("ISO-1", must.is_hidden)
    @require("POP-2", must.are_unused)
    @old("live_pages", must.live_pages_before)
    @ensure("POP-4", must.gives_pages_back)
    @record(must.note_released, deed=True)
    def depopulate_chunk(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Unmap and release pages [page_start, page_end) of every unit.

        The caller flushes the TLB unless the addresses go back to vmalloc (TLB-1).
        """
        self.env.free_pages(self.geometry.cpus, page_end - page_start)

    @require("LOCK-2", must.may_sleep)
    @require("ISO-1", must.flushed_is_hidden)
    @record(must.note_flushed, deed=True)
    def post_unmap_tlb_flush(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Flush the TLB of every CPU for the addresses of pages [page_start, page_end)."""
        self.env.tlb_flushes += 1

    @require("LOCK-2", must.may_sleep)
    @ensure("LIST-1", must.is_owned)
    @ensure("HINT-1", must.is_blank)
    def create_chunk(self, chunk_type: int = 0) -> Chunk | None:
        """Return a new chunk on no list with nothing populated, or None if memory runs out."""
        chunk = self.alloc_chunk(chunk_type)
        if chunk is not None:
            self.ask(AREAS, self.INNER)
        if chunk is None or self.env.vm_fault.strikes():
            return None
        self.enter_chunk(chunk)
        return chunk

    def enter_chunk(self, chunk: Chunk) -> None:
        """Give a new chunk its address and count it."""
        chunk.base_addr = self.place_chunk() if self.place_chunk else self.next_id << 40
        self.next_id += 1
        self.owned.append(chunk)
        self.chunk_created(chunk.base_addr)

    @require("LOCK-2", must.may_sleep)
    @require("LIST-1", must.is_destructible)
    @require("POP-3", must.is_drained)
    @record(must.note_destroyed, deed=True)
    def destroy_chunk(self, chunk: Chunk) -> None:
        """Return a chunk without populated pages to the kernel."""
        self.chunk_destroyed(chunk.base_addr)
        self.owned.remove(chunk)

    @ensure("RCL-5", must.spares_special)
    @ensure("RCL-1", must.spares_float)
    def should_reclaim_chunk(self, chunk: Chunk) -> bool:
        """Return whether a chunk's empty pages are to be released.

        Never the first or reserved chunk. An isolated one with empty pages goes back to
        to_depopulate; any other qualifies with a quarter of its pages empty and more than HIGH
        empty pages elsewhere (RCL-1).
        """
        if chunk is self.first_chunk or chunk is self.reserved_chunk:
            return False
        nr_empty = chunk.nr_empty_pop_pages
        geometry = self.geometry
        return (chunk.isolated and nr_empty > 0) or (
            self.nr_empty_pop_pages > geometry.empty_high + nr_empty
            and nr_empty >= chunk.nr_pages // geometry.reclaim_divisor
        )


class KmBacking(VmBacking):
    """Chunks born populated in one kernel allocation and never reclaimed (mm/percpu-km.c)."""

    __slots__ = ()

    def populate_chunk(self, chunk: Chunk, page_start: int, page_end: int) -> bool:
        """Succeed: everything is populated from birth."""
        return True

    def depopulate_chunk(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Do nothing: pages leave with their chunk."""

    def post_unmap_tlb_flush(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Do nothing: nothing was unmapped."""

    def create_chunk(self, chunk_type: int = 0) -> Chunk | None:
        """Return a new chunk on no list, fully populated, or None if memory runs out."""
        chunk = self.alloc_chunk(chunk_type)
        if chunk is not None:
            self.ask(PAGES)
        if chunk is None or not self.env.alloc_block(self._chunk_pages()):
            return None
        self.spin_lock()
        self.chunk_populated(chunk, 0, chunk.nr_pages)
        self.spin_unlock()
        self.enter_chunk(chunk)
        return chunk

    def destroy_chunk(self, chunk: Chunk) -> None:
        """Return a chunk and its pages to the kernel."""
        super().destroy_chunk(chunk)
        self.env.free_pages(1, self._chunk_pages())

    def should_reclaim_chunk(self, chunk: Chunk) -> bool:
        """Return False."""
        return False

    def _chunk_pages(self) -> int:
        """Return the pages of a chunk's one allocation: a power of two of them."""
        wanted = self.geometry.units * self.geometry.unit_pages
        return 1 << (wanted - 1).bit_length()
