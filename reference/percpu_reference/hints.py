"""Hints: what blocks and chunks remember about their free runs.

Shortfalls of 6.12 that the variants repair are marked with their names (L1 to L5).
"""

from __future__ import annotations

from percpu_contracts.contract import ensure, old
from percpu_contracts.functions import hints as must
from percpu_contracts.functions.slots import empties_before
from percpu_reference.chunk import Block, Chunk
from percpu_reference.slots import Slots


class Hints(Slots):
    """Keeping the hints up to date over scans, allocations and frees. Bits throughout."""

    __slots__ = ()

    def region_overlap(self, a: int, b: int, x: int, y: int) -> bool:
        """Return whether [a, b) and [x, y) overlap."""
        return a < y and x < b

    @old("hints", must.hints_before)
    @ensure("HINT-1", must.enters_run)
    @ensure("HINT-2", must.moves_first_free)
    @ensure("HINT-4", must.is_ordered)
    def block_update(self, block: Block, start: int, end: int) -> None:
        """Enter the whole free run [start, end) into a block's hints.

        Of equally long runs the better aligned start becomes contig_hint, 0 best of all.
        """
        contig = end - start

        if start < block.first_free:
            block.first_free = start
        if start == 0:
            block.left_free = contig
        if end == block.nr_bits:
            block.right_free = contig

        hint = block.contig_hint
        if contig > hint:
            # the old contig_hint, if before the new one, may become scan_hint
            if start > block.contig_hint_start:
                if hint > block.scan_hint:
                    block.scan_hint_start = block.contig_hint_start
                    block.scan_hint = hint
                elif start < block.scan_hint_start:
                    block.scan_hint = 0
            else:
                block.scan_hint = 0
            block.contig_hint_start = start
            block.contig_hint = contig
        elif contig == hint:
            hint_start = block.contig_hint_start
            if hint_start and (not start or (start & -start) > (hint_start & -hint_start)):
                block.contig_hint_start = start
                if start < block.scan_hint_start and hint > block.scan_hint:
                    block.scan_hint = 0
            elif start > block.scan_hint_start or hint > block.scan_hint:
                block.scan_hint_start = start
                block.scan_hint = contig
        elif start < block.contig_hint_start and (
            contig > block.scan_hint
            or (contig == block.scan_hint and start > block.scan_hint_start)
        ):
            block.scan_hint_start = start
            block.scan_hint = contig

    @ensure("HINT-1", must.scanned_block_is_sound)
    def block_update_scan(self, chunk: Chunk, bit_off: int, bits: int) -> None:
        """Enter a run that an allocation's search skipped, widened to its left.

        A run that crosses its block's end is left out.
        """
        s_off = bit_off & self.block_mask
        e_off = s_off + bits
        if e_off > self.block_bits:
            return
        base = bit_off - s_off
        # an aligned search may have stepped over free bits in front
        s_off = chunk.alloc_map.rfind(1, base, bit_off) + 1
        s_off = s_off - base if s_off else 0
        self.block_update(chunk.md_blocks[bit_off >> self.block_shift], s_off, e_off)

    def next_md_free_region(self, chunk: Chunk, bit_off: int) -> tuple[int, int]:
        """Return offset and length of the next free run, from bit_off on, that blocks' hints tell.

        Runs across blocks are put together from right_free and left_free; of the runs inside a
        block only contig_hint is seen. The offset is the map's end or more when there is none.
        """
        index = bit_off >> self.block_shift
        block_off = bit_off & self.block_mask
        bits = 0
        for block in chunk.md_blocks[index:]:
            if bits:
                bits += block.left_free
                if block.left_free == self.block_bits:
                    continue
                return bit_off, bits

            start, bits = block.contig_hint_start, block.contig_hint
            # one that ends the block goes on as right_free
            if bits and start >= block_off and start + bits < self.block_bits:
                return (index << self.block_shift) + start, bits
            block_off = 0
            index += 1
            bits = block.right_free
            bit_off = (index << self.block_shift) - bits
        return bit_off, bits

    @ensure("HINT-1", must.chunk_is_sound)
    def chunk_refresh_hint(self, chunk: Chunk, full_scan: bool) -> None:
        """Recompute a chunk's hints from those of its blocks.

        Without full_scan a scan_hint is promoted and only what lies behind it is visited (L4).
        """
        chunk_md = chunk.chunk_md
        if not full_scan and chunk_md.scan_hint:
            bit_off = chunk_md.scan_hint_start + chunk_md.scan_hint
            chunk_md.contig_hint_start = chunk_md.scan_hint_start
            chunk_md.contig_hint = chunk_md.scan_hint
            chunk_md.scan_hint = 0
        else:
            bit_off = chunk_md.first_free
            chunk_md.contig_hint = 0

        bit_off, bits = self.next_md_free_region(chunk, bit_off)
        while bit_off < chunk.map_bits:
            self.block_update(chunk_md, bit_off, bit_off + bits)
            bit_off, bits = self.next_md_free_region(chunk, bit_off + bits + 1)

    @ensure("HINT-1", must.block_is_sound)
    def block_refresh_hint(self, chunk: Chunk, index: int) -> None:
        """Rescan a block whose contig_hint was broken.

        Starts behind a promoted scan_hint, so right_free is lost where that hint ends the
        block (L2).
        """
        block = chunk.md_blocks[index]
        if block.scan_hint:
            start = block.scan_hint_start + block.scan_hint
            block.contig_hint_start = block.scan_hint_start
            block.contig_hint = block.scan_hint
            block.scan_hint = 0
        else:
            start = block.first_free
            block.contig_hint = 0

        block.right_free = 0

        find = chunk.alloc_map.find
        base = index << self.block_shift
        limit = base + self.block_bits
        start = find(0, base + start, limit)
        while start >= 0:
            end = find(1, start + 1, limit)
            if end < 0:
                self.block_update(block, start - base, self.block_bits)
                return
            self.block_update(block, start - base, end - base)
            start = find(0, end + 1, limit)

    @old("empties", empties_before)
    @ensure("HINT-1", must.blocks_are_sound)
    @ensure("HINT-1", must.chunk_is_sound)
    @ensure("HINT-2", must.lefts_are_exact)
    @ensure("HINT-3", must.rights_are_exact)
    @ensure("POP-1", must.counts_used_pages)
    def block_update_hint_alloc(self, chunk: Chunk, bit_off: int, bits: int) -> None:
        """Bring hints and empty page counts up to date after bits were allocated."""
        chunk_md = chunk.chunk_md
        alloc_map = chunk.alloc_map
        block_bits = self.block_bits
        end = bit_off + bits
        nr_empty_pages = 0

        s_index = bit_off >> self.block_shift
        s_off = bit_off & self.block_mask
        s_end = s_off + bits  # relative to the start block, even where it lies in a later one
        s_block = chunk.md_blocks[s_index]

        if s_block.contig_hint == block_bits:
            nr_empty_pages += 1

        if s_off == s_block.first_free:
            limit = bit_off - s_off + block_bits
            first = alloc_map.find(0, end, limit)
            s_block.first_free = block_bits if first < 0 else first - limit + block_bits

        start = s_block.scan_hint_start
        if self.region_overlap(start, start + s_block.scan_hint, s_off, s_end):
            s_block.scan_hint = 0

        start = s_block.contig_hint_start
        if self.region_overlap(start, start + s_block.contig_hint, s_off, s_end):
            # the block's longest known run is broken
            if not s_off:
                s_block.left_free = 0
            self.block_refresh_hint(chunk, s_index)
        else:
            if s_off < s_block.left_free:
                s_block.left_free = s_off
            if s_end > block_bits:
                s_block.right_free = 0
            elif s_block.right_free > block_bits - s_end:
                s_block.right_free = block_bits - s_end

        if s_end > block_bits:
            e_index = (end - 1) >> self.block_shift
            e_off = ((end - 1) & self.block_mask) + 1
            e_block = chunk.md_blocks[e_index]
            if e_block.contig_hint == block_bits:
                nr_empty_pages += 1

            base = e_index << self.block_shift
            first = alloc_map.find(0, base + e_off, base + block_bits)
            e_block.first_free = block_bits if first < 0 else first - base

            stop = e_index
            if e_off == block_bits:
                stop += 1  # the end block is covered whole
            else:
                # the scan_hint_start of a scan_hint of 0 is compared too
                if e_off > e_block.scan_hint_start:
                    e_block.scan_hint = 0
                e_block.left_free = 0
                if e_off > e_block.contig_hint_start:
                    self.block_refresh_hint(chunk, e_index)
                elif e_block.right_free > block_bits - e_off:
                    e_block.right_free = block_bits - e_off

            nr_empty_pages += e_index - s_index - 1
            for block in chunk.md_blocks[s_index + 1 : stop]:
                block.scan_hint = 0
                block.contig_hint = 0
                block.left_free = 0
                block.right_free = 0

        if nr_empty_pages:
            # pages not populated yet are subtracted here and added back by chunk_populated
            self.update_empty_pages(chunk, -nr_empty_pages)

        start = chunk_md.scan_hint_start
        if self.region_overlap(start, start + chunk_md.scan_hint, bit_off, end):
            chunk_md.scan_hint = 0

        start = chunk_md.contig_hint_start
        if self.region_overlap(start, start + chunk_md.contig_hint, bit_off, end):
            self.chunk_refresh_hint(chunk, False)

    @old("empties", empties_before)
    @ensure("HINT-1", must.blocks_are_sound)
    @ensure("HINT-1", must.chunk_is_sound)
    @ensure("HINT-2", must.lefts_are_exact)
    @ensure("HINT-3", must.rights_are_exact)
    @ensure("POP-1", must.counts_emptied_pages)
    def block_update_hint_free(self, chunk: Chunk, bit_off: int, bits: int) -> None:
        """Bring hints and empty page counts up to date after bits were freed."""
        alloc_map = chunk.alloc_map
        block_bits = self.block_bits
        nr_empty_pages = 0

        last = bit_off + bits - 1
        s_index = bit_off >> self.block_shift
        e_index = last >> self.block_shift
        s_off = bit_off & self.block_mask
        e_off = (last & self.block_mask) + 1
        s_block = chunk.md_blocks[s_index]
        e_block = chunk.md_blocks[e_index]

        # the run's extent inside the blocks, by the hints where they touch it
        base = bit_off - s_off
        if s_off == s_block.contig_hint + s_block.contig_hint_start:
            start = s_block.contig_hint_start
        else:
            start = alloc_map.rfind(1, base, bit_off) + 1
            start = start - base if start else 0

        if e_off == e_block.contig_hint_start:
            end = e_block.contig_hint_start + e_block.contig_hint
        else:
            e_base = e_index << self.block_shift
            end = alloc_map.find(1, e_base + e_off, e_base + block_bits)
            end = block_bits if end < 0 else end - e_base

        e_off = end if s_index == e_index else block_bits
        if not start and e_off == block_bits:
            nr_empty_pages += 1
        self.block_update(s_block, start, e_off)

        if s_index != e_index:
            if end == block_bits:
                nr_empty_pages += 1
            self.block_update(e_block, 0, end)

            nr_empty_pages += e_index - s_index - 1
            for block in chunk.md_blocks[s_index + 1 : e_index]:
                block.first_free = 0
                block.scan_hint = 0
                block.contig_hint_start = 0
                block.contig_hint = block_bits
                block.left_free = block_bits
                block.right_free = block_bits

        if nr_empty_pages:
            self.update_empty_pages(chunk, nr_empty_pages)

        self.chunk_update_hint_free(chunk, s_index, e_index, start, end)

    def chunk_update_hint_free(
        self, chunk: Chunk, s_index: int, e_index: int, start: int, end: int
    ) -> None:
        """Bring a chunk's hints up to date: bits [start of s_index, end of e_index) became free.

        The chunk is refreshed when a block became free or the area crossed blocks; otherwise only
        the run inside the block is entered (L5).
        """
        if end - start >= self.block_bits or s_index != e_index:
            self.chunk_refresh_hint(chunk, True)
        else:
            # L1: the end is relative to the block, the start to the chunk
            self.block_update(chunk.chunk_md, s_index * self.block_bits + start, end)
