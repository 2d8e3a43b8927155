"""Searches within a chunk: by hints, by populated pages, and bit by bit."""

from __future__ import annotations

from percpu_proofs.prove.small.invariant import choose_block_hints, choose_chunk_hints
from percpu_proofs.prove.small.judging import MethodCall, Wrong
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.chunk import Block, Chunk
from percpu_reference.variants import Allocator

Cls = type[Allocator]

BOTH = ("linux_6_12", "reference")
ANY_CHUNK = "a chunk of {pages} pages with {bits} map bits each, any bits used, any valid hints"
BESIDE = (
    "a block of {bits} map bits, any bits used, any valid hints; {pages} blocks in all, the others "
    "free, full or used at one end"
)
REQUEST = "; every length, aligned to 1 bit up to a page"


def _alignment(choose: Choices, size: Size) -> int:
    """Choose an alignment in bits, up to a page."""
    return 1 << choose.number(size.bits.bit_length())


def _zero_area(cls: Cls, choose: Choices, size: Size, align: int) -> Wrong:
    """Search a map of symbols for any length."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk([0] * (size.pages * size.bits), [1] * size.pages)
    count = chunk.map_bits
    chunk.alloc_map = bytearray([choose.bit() for _ in range(count)])
    nr = 1 + choose.number(count)
    call = MethodCall(scene, "find_zero_area", chunk, count, 0, nr, align - 1)
    wrong = call.run()
    index, off, bits = call.result
    if wrong is None and bits >= nr and off % align == 0 and index + nr > count:
        return f"FIT-2: {nr} bits are not found in the {bits} free ones at {off}"
    return wrong


ZERO = "a map of {pages} pages with {bits} bits each, any bits used; every length"


@obligation(
    "FIT-2",
    "fit.Fit.find_zero_area",
    words=ZERO,
    small=Size(2, 4),
    large=Size(3, 4),
)
def zero_area_unaligned(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The first free area is found, or there is none; the largest run skipped is free."""
    return _zero_area(cls, choose, size, 1)


@obligation(
    "FIT-2",
    "fit.Fit.find_zero_area",
    words=ZERO + ", aligned to 2 bits",
    small=Size(2, 4),
    large=Size(3, 4),
)
def zero_area_aligned_to_2(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The first area aligned to 2 bits is found, or there is none; what is skipped is free."""
    return _zero_area(cls, choose, size, 2)


@obligation(
    "FIT-2",
    "fit.Fit.find_zero_area",
    words=ZERO + ", aligned to 4 bits",
    small=Size(2, 4),
    large=Size(3, 4),
)
def zero_area_aligned_to_4(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The first area aligned to 4 bits is found, or there is none; what is skipped is free."""
    return _zero_area(cls, choose, size, 4)


@obligation(
    "POP-2",
    "fit.Fit.is_populated",
    words="{pages} pages of {bits} map bits each, each populated or not; every range of bits",
    small=Size(4, 2),
    large=Size(6, 4),
)
def is_populated(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """0 exactly for populated pages; else the first populated page behind the hole."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk([0] * (size.pages * size.bits), [1] * size.pages)
    start = choose.number(chunk.map_bits)
    bits = 1 + choose.number(chunk.map_bits - start)
    chunk.populated = bytearray([choose.bit() for _ in range(size.pages)])
    call = MethodCall(scene, "is_populated", chunk, start, bits)
    wrong = call.run()
    if wrong is None and call.result:
        page, end = call.result // size.bits, -(-(start + bits) // size.bits)
        hole = chunk.populated.find(0, start // size.bits, end)
        if call.result % size.bits or chunk.populated.find(1, hole, page) >= 0:
            return f"POP-2: the search goes on from bit {call.result}, behind a populated page"
    return wrong


@obligation(
    "HINT-2",
    "fit.Fit.next_hint",
    words="a block of {bits} bits: any contig_hint, scan_hint and first_free; every length",
    small=Size(1, 8),
    large=Size(1, 10),
)
def next_hint(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A scan starts at first_free, or behind a scan_hint that is too short and lies in front."""
    scene = Scene(cls, choose, Size(4, 1))
    block = Block(size.bits)
    block.contig_hint_start = choose.whole(size.bits)
    block.contig_hint = choose.whole(size.bits - block.contig_hint_start + 1)
    block.scan_hint_start = choose.whole(size.bits)
    block.scan_hint = choose.whole(size.bits - block.scan_hint_start + 1)
    block.first_free = choose.whole(size.bits)
    assume(not block.scan_hint or block.first_free <= block.scan_hint_start)
    bits = 1 + choose.whole(size.bits)
    call = MethodCall(scene, "next_hint", block, bits)
    wrong = call.run()
    behind = block.scan_hint_start >= block.contig_hint_start
    if wrong is None and behind and call.result != block.first_free:
        return "HINT-2: a scan_hint behind the contig_hint moves the start"
    if wrong is None and block.scan_hint >= bits and call.result > block.scan_hint_start:
        return "HINT-2: a scan_hint that would do is passed over"
    if wrong is None and block.contig_hint and call.result > block.contig_hint_start:
        ordered = block.first_free <= block.contig_hint_start
        if ordered and block.scan_hint_start + block.scan_hint <= block.contig_hint_start:
            return "HINT-2: the scan starts behind the contig_hint"
    return wrong


@obligation(
    "FIT-2",
    "fit.Fit.next_fit_region",
    words="a chunk of {pages} pages with {bits} map bits each, any bits used, exact hints; every "
    "length, unaligned or aligned to a page; from every page",
    small=Size(3, 2),
    large=Size(3, 4),
)
def next_fit_region(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A region found by hints holds the request, and lies at or behind the start."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    start = choose.number(size.pages) * size.bits
    nr, align = 1 + choose.number(chunk.map_bits), (1, size.bits)[choose.number(2)]
    return MethodCall(scene, "next_fit_region", chunk, nr, align, start).run()


def _fit(scene: Scene, chunk: Chunk, pop_only: bool, align: int) -> Wrong:
    """Search a chunk by its hints for any length."""
    nr = 1 + scene.choose.number(chunk.map_bits)
    return MethodCall(scene, "find_block_fit", chunk, nr, align, pop_only).run()


@obligation(
    "FIT-2",
    "fit.Fit.find_block_fit",
    "fit.Fit.next_fit_region",
    words=ANY_CHUNK + "; every length, unaligned",
    small=Size(3, 2),
    large=Size(4, 2),
    variants=("reference",),
)
def fit_by_chunk_hints(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A place named by the hints has room; fixed, a request misses only if nothing has."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    choose_chunk_hints(scene, chunk)
    return _fit(scene, chunk, False, 1)


@obligation(
    "FIT-2",
    "fit.Fit.find_block_fit",
    "fit.Fit.next_fit_region",
    words="a block of {bits} map bits, any bits used, exact hints; {pages} blocks in all, the "
    "others free, full or used at one end; every length, every alignment up to a page",
    small=Size(2, 4),
    large=Size(3, 4),
)
def fit_aligned(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A place named for an aligned request has room for it."""
    scene = Scene(cls, choose, size)
    return _fit(scene, scene.chunk_with_block(), False, _alignment(choose, size))


@obligation(
    "FIT-2",
    "fit.Fit.find_block_fit",
    words=BESIDE + "; every length, unaligned",
    small=Size(2, 4),
    large=Size(2, 8),
    variants=("reference",),
)
def fit_by_block_hints(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Whatever valid hints one block has, a place found has room; fixed, a miss is genuine."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_with_block()
    choose_block_hints(scene, chunk, 0)
    return _fit(scene, chunk, False, 1)


@obligation(
    "POP-2",
    "fit.Fit.find_block_fit",
    words=(
        "a chunk of {pages} pages with {bits} map bits each, any bits used, every page populated "
        "or not; every length, unaligned"
    ),
    small=Size(3, 2),
    large=Size(4, 2),
)
def fit_in_populated_pages(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A place for an atomic request has room in populated pages."""
    scene = Scene(cls, choose, size)
    bits = [choose.number(2) for _ in range(size.pages * size.bits)]
    pages = range(size.pages)
    used = [any(bits[p * size.bits : (p + 1) * size.bits]) for p in pages]
    chunk = scene.chunk(bits, [1 if u else choose.number(2) for u in used])
    return _fit(scene, chunk, True, 1)
