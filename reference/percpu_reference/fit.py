"""Finding room in a chunk: first by hints, then by a scan of the map."""

from __future__ import annotations

from percpu_contracts.contract import ensure, record
from percpu_contracts.functions import fit as must
from percpu_reference.chunk import Block, Chunk
from percpu_reference.hints import Hints


class Fit(Hints):
    """The fit search over hints and the search for an aligned zero area. Bits throughout."""

    __slots__ = ()

    def check_block_hint(self, block: Block, bits: int, align: int) -> bool:
        """Return whether so many bits, aligned to align bits, lie in contig_hint."""
        return (-block.contig_hint_start & (align - 1)) + bits <= block.contig_hint

    @ensure("HINT-2", must.starts_inside)
    def next_hint(self, block: Block, alloc_bits: int) -> int:
        """Return where to start scanning: first_free, or behind a scan_hint that is too short."""
        if (
            block.scan_hint
            and block.contig_hint_start > block.scan_hint_start
            and alloc_bits > block.scan_hint
        ):
            return block.scan_hint_start + block.scan_hint
        return block.first_free

    @ensure("FIT-2", must.region_fits)
    def next_fit_region(
        self, chunk: Chunk, alloc_bits: int, align: int, bit_off: int
    ) -> tuple[int, int]:
        """Return offset and length of the next region that holds the request for certain.

        A fit in a block's contig_hint starts at next_hint, to fill smaller holes on the way. The
        offset is the map's end when there is none.
        """
        block_bits = self.block_bits
        mask = align - 1
        base = bit_off & ~self.block_mask
        bits = 0
        for block in chunk.md_blocks[bit_off >> self.block_shift :]:
            if bits:
                off = base - bits
                bits += block.left_free
                if bits >= alloc_bits:
                    return off, bits
                if block.left_free == block_bits:
                    base += block_bits
                    continue

            hint = block.contig_hint
            if hint >= alloc_bits:
                start = block.contig_hint_start
                skipped = -start & mask
                if base + start >= bit_off and hint >= skipped + alloc_bits:
                    first = self.next_hint(block, alloc_bits)
                    return base + first, skipped + alloc_bits + start - first

            base += block_bits
            bits = block.right_free & -align
            if bits >= alloc_bits:
                return base - bits, bits
        return chunk.map_bits, bits

    @ensure("POP-2", must.tells_population)
    def is_populated(self, chunk: Chunk, bit_off: int, bits: int) -> int:
        """Return 0 if the pages under the bits are populated, else the bit to go on from.

        That bit starts the first populated page behind the hole, or ends the last page asked for.
        """
        shift = self.block_shift
        end = (bit_off + bits + self.block_mask) >> shift
        hole = chunk.populated.find(0, bit_off >> shift, end)
        if hole < 0:
            return 0
        behind = chunk.populated.find(1, hole + 1, end)
        return (end if behind < 0 else behind) << shift

    @ensure("FIT-2", must.hit_is_genuine)
    @ensure("FIT-1", must.miss_is_genuine)
    @record(must.note_examined)
    def find_block_fit(self, chunk: Chunk, alloc_bits: int, align: int, pop_only: bool) -> int:
        """Return the bit from which a fit is certain within a block's length, or -1.

        Only the hints are read: a chunk whose contig_hint is too short or badly aligned is skipped
        (FIT-1). With pop_only the region found lies in populated pages (POP-2).
        """
        chunk_md = chunk.chunk_md
        if not self.check_block_hint(chunk_md, alloc_bits, align):
            return -1

        bit_off, bits = self.next_fit_region(
            chunk, alloc_bits, align, self.next_hint(chunk_md, alloc_bits)
        )
        if pop_only:
            map_bits = chunk.map_bits
            while bit_off < map_bits:
                next_off = self.is_populated(chunk, bit_off, bits)
                if not next_off:
                    break
                bit_off, bits = self.next_fit_region(chunk, alloc_bits, align, next_off)
        return -1 if bit_off == chunk.map_bits else bit_off

    @ensure("FIT-2", must.area_is_first)
    @ensure("HINT-1", must.skipped_is_free)
    def find_zero_area(
        self, chunk: Chunk, size: int, start: int, nr: int, align_mask: int
    ) -> tuple[int, int, int]:
        """Find nr aligned clear bits in [start, size).

        Returns (index, largest_off, largest_bits): the area, or an index beyond size - nr when
        there is none, and the largest run skipped, of equally long ones the better aligned.
        """
        find = chunk.alloc_map.find
        largest_off = largest_bits = 0
        while True:
            index = find(0, start, size)
            if index < 0:
                index = size
            index = (index + align_mask) & ~align_mask
            if align_mask:  # rounds of the kernel's that skip no free bit: index is i
                clear = chunk.alloc_map[index : size : align_mask + 1].find(0)
                index = size if clear < 0 else index + clear * (align_mask + 1)
            end = index + nr
            if end > size:
                return end, largest_off, largest_bits
            i = find(1, index, end)
            if i < 0:
                return index, largest_off, largest_bits
            area_bits = i - index
            if area_bits > largest_bits or (
                area_bits == largest_bits
                and largest_off
                and (not index or (index & -index) > (largest_off & -largest_off))
            ):
                largest_off = index
                largest_bits = area_bits
            start = i + 1
