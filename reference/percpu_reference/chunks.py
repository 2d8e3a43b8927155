"""Chunks coming and going: metadata, first-chunk set-up, population book-keeping."""

from __future__ import annotations

from percpu_contracts.contract import ensure, old, record, require
from percpu_contracts.functions import chunks as must
from percpu_contracts.functions.slots import empties_before, float_before, locked
from percpu_reference.areas import Areas
from percpu_reference.chunk import Chunk
from percpu_reference.events import CreateChunk, DestroyChunk
from percpu_spec.steps import METADATA


class Chunks(Areas):
    """Life of a chunk, backing apart."""

    __slots__ = ()

    def setup_first_chunk(self) -> None:
        """Boot: lay out the slots, then the reserved and the first chunk of the first unit.

        The static part has no chunk; its size is rounded up to the granule and dyn shrinks by as
        much.
        """
        geometry = self.geometry
        self.setup_slots()
        static = -(-geometry.static // geometry.granule) * geometry.granule
        dyn = geometry.dyn - (static - geometry.static)

        self.reserved_chunk = None
        if geometry.reserved:
            self.reserved_chunk = self.alloc_first_chunk(-1, static, geometry.reserved)
        self.first_chunk = self.alloc_first_chunk(0, static + geometry.reserved, dyn)
        self.nr_empty_pop_pages = self.first_chunk.nr_empty_pop_pages
        self.chunk_relocate(self.first_chunk, -1)

        self.nr_populated += (geometry.static + geometry.reserved + geometry.dyn) // geometry.page
        self.chunk_created(0)

    @ensure("MAP-5", must.has_shape)
    @ensure("RCL-2", must.is_whole)
    def alloc_first_chunk(self, chunk_id: int, start: int, map_size: int) -> Chunk:
        """Return the chunk that serves map_size bytes from byte start of the first unit.

        Immutable and populated; what it shares with its neighbours in its first and last page is
        hidden as allocated bits.
        """
        geometry = self.geometry
        base = start // geometry.page * geometry.page
        start_offset = start - base
        region = -(-(start_offset + map_size) // geometry.page) * geometry.page

        chunk = self.new_chunk(chunk_id, region // geometry.page, base)
        chunk.start_offset = start_offset
        chunk.end_offset = region - start_offset - map_size
        chunk.immutable = True
        chunk.populated[:] = b"\1" * chunk.nr_pages
        chunk.nr_populated = chunk.nr_pages
        chunk.nr_empty_pop_pages = chunk.nr_pages
        chunk.free_bytes = map_size

        bits = start_offset // geometry.granule
        if start_offset:
            chunk.alloc_map[:bits] = b"\1" * bits
            chunk.bound_map[0] = 1
            chunk.bound_map[bits] = 1
            chunk.chunk_md.first_free = bits
            self.block_update_hint_alloc(chunk, 0, bits)

        if chunk.end_offset:
            bits = chunk.end_offset // geometry.granule
            first = chunk.map_bits - bits
            chunk.alloc_map[first:] = b"\1" * bits
            chunk.bound_map[(start_offset + map_size) // geometry.granule] = 1
            chunk.bound_map[chunk.map_bits] = 1
            self.block_update_hint_alloc(chunk, first, bits)
        return chunk

    @ensure("MAP-5", must.has_shape)
    @ensure("HINT-1", must.is_blank)
    def alloc_chunk(self, chunk_type: int = 0) -> Chunk | None:
        """Return a chunk's metadata, all free and on no list, or None if memory runs out."""
        vector = self.has_vector(chunk_type)
        self.ask(METADATA)
        fault = self.env.metadata_fault
        if fault.armed:
            pieces = 5 if vector else 4  # struct, two maps, blocks, object vector
            if any(fault.strikes() for _ in range(pieces)):
                return None
        chunk = self.new_chunk(self.next_id, self.geometry.unit_pages, 0)
        if vector:
            chunk.obj_exts = {}
        return chunk

    def has_vector(self, chunk_type: int) -> bool:
        """Return whether new chunks of a type have an object vector."""
        return self.geometry.memcg

    def ask(self, kind: str, gfp: int | None = None) -> None:
        """Note a request of the backing: its flags (GFP-1), else those that who asks hands on."""
        task = self.env.caller or self.WORK
        self.env.note(kind, (task.gfp if gfp is None else gfp) & ~task.forbids)

    def chunk_created(self, base_addr: int) -> None:
        """Count a new chunk and report it."""
        self.env.creates += 1
        if self.stats is not None:
            self.stats.chunk_alloc()
        if self.trace is not None:
            self.trace(CreateChunk(base_addr))

    def chunk_destroyed(self, base_addr: int) -> None:
        """Count a destroyed chunk and report it."""
        self.env.destroys += 1
        if self.stats is not None:
            self.stats.chunk_dealloc()
        if self.trace is not None:
            self.trace(DestroyChunk(base_addr))

    @require("LOCK-1", locked)
    @require("RCL-2", must.is_mutable)
    @require("POP-3", must.were_unpopulated)
    @old("nr_populated", must.nr_populated_before)
    @old("empties", empties_before)
    @ensure("POP-3", must.are_populated)
    @ensure("POP-1", must.moves_empties)
    @record(must.note_populated, deed=True)
    def chunk_populated(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Book-keep that pages [page_start, page_end) have been populated."""
        nr = page_end - page_start
        chunk.populated[page_start:page_end] = b"\1" * nr
        chunk.nr_populated += nr
        self.nr_populated += nr
        self.update_empty_pages(chunk, nr)

    @require("LOCK-1", locked)
    @require("RCL-2", must.is_mutable)
    @require("POP-3", must.were_populated)
    @require("POP-2", must.are_unused)
    @old("nr_populated", must.nr_populated_before)
    @old("empties", empties_before)
    @old("floating", float_before)
    @ensure("POP-3", must.are_unpopulated)
    @ensure("POP-1", must.moves_empties)
    @ensure("RCL-1", must.release_keeps_float)
    def chunk_depopulated(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Book-keep that the empty pages [page_start, page_end) have been released."""
        nr = page_end - page_start
        chunk.populated[page_start:page_end] = bytes(nr)
        chunk.nr_populated -= nr
        self.nr_populated -= nr
        self.update_empty_pages(chunk, -nr)
