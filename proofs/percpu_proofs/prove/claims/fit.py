"""Searches within a chunk: by hints, by populated pages, and bit by bit."""

from __future__ import annotations

from collections.abc import Callable

from percpu_proofs.prove.claims.hints import NO_CHUNK
from percpu_proofs.prove.small.case import claim
from percpu_proofs.prove.small.invariant import choose_block_hints, choose_chunk_hints
from percpu_proofs.prove.small.judging import call
from percpu_proofs.prove.small.obligation import obligation
from percpu_proofs.prove.small.scene import BITS, BLOCK, OTHERS, Scene
from percpu_proofs.run.choices import assume
from percpu_reference.chunk import Block, Chunk

ZERO = "a map of {pages} pages with {bits} bits each, any bits used; every length"


def _zero_area(align: int) -> Callable[[Scene], None]:
    """Return the obligation that the first area aligned to so many bits is found, if there is one.

    The largest run skipped is free.
    """

    def judge(scene: Scene) -> None:
        chunk = scene.free_chunk()
        count = chunk.map_bits
        chunk.alloc_map = bytearray([scene.choose.bit() for _ in range(count)])
        nr = 1 + scene.choose.number(count)
        index, off, bits = call(scene, "find_zero_area", chunk, count, 0, nr, align - 1)
        skipped = bits >= nr and off % align == 0 and index + nr > count
        claim("FIT-2", not skipped, f"{nr} bits are not found in the {bits} free ones at {off}")

    return judge


for _align, _name, _words in (
    (1, "unaligned", ""),
    (2, "aligned-to-2", ", aligned to 2 bits"),
    (4, "aligned-to-4", ", aligned to 4 bits"),
):
    obligation(
        "FIT-2", "Fit.find_zero_area", name=f"zero-area-{_name}", words=ZERO + _words,
        sizes=((2, 4), (3, 4)),
    )(_zero_area(_align))  # fmt: skip


@obligation(
    "POP-2",
    "Fit.is_populated",
    words="{pages} pages of {bits} map bits each, each populated or not; every range of bits",
    sizes=((4, 2), (6, 4)),
)
def is_populated(scene: Scene) -> None:
    """0 exactly for populated pages; else the first populated page behind the hole."""
    chunk, bits = scene.free_chunk(), scene.size.bits
    start, end = scene.range_in(chunk.map_bits)
    chunk.populated = bytearray(scene.some_pages())
    found = call(scene, "is_populated", chunk, start, end - start)
    if found:
        hole = chunk.populated.find(0, start // bits, -(-end // bits))
        passed = found % bits or chunk.populated.find(1, hole, found // bits) >= 0
        claim("POP-2", not passed, f"the search goes on from bit {found}, behind a populated page")


@obligation(
    "HINT-2",
    "Fit.next_hint",
    words="a block of {bits} bits: any contig_hint, scan_hint and first_free; every length",
    sizes=((1, 8), (1, 10)),
    shape=NO_CHUNK,
)
def next_hint(scene: Scene) -> None:
    """A scan starts at first_free, or behind a scan_hint that is too short and lies in front."""
    size, choose = scene.case.bits, scene.choose
    block = Block(size)
    block.contig_hint_start = choose.number(size)
    block.contig_hint = choose.number(size - block.contig_hint_start + 1)
    block.scan_hint_start = choose.number(size)
    block.scan_hint = choose.number(size - block.scan_hint_start + 1)
    block.first_free = choose.number(size)
    assume(not block.scan_hint or block.first_free <= block.scan_hint_start)
    bits = 1 + choose.number(size)
    start = call(scene, "next_hint", block, bits)
    if block.scan_hint_start >= block.contig_hint_start:
        wrong = "a scan_hint behind the contig_hint moves the start"
        claim("HINT-2", start == block.first_free, wrong)
    if block.scan_hint >= bits:
        wrong = "a scan_hint that would do is passed over"
        claim("HINT-2", start <= block.scan_hint_start, wrong)
    ordered = block.first_free <= block.contig_hint_start
    if block.contig_hint and ordered and (
        block.scan_hint_start + block.scan_hint <= block.contig_hint_start
    ):
        wrong = "the scan starts behind the contig_hint"
        claim("HINT-2", start <= block.contig_hint_start, wrong)


@obligation(
    "FIT-2",
    "Fit.next_fit_region",
    words=BITS
    + ", exact hints; every length, unaligned or aligned to a page; from every page",
    sizes=((3, 2), (3, 4)),
)
def next_fit_region(scene: Scene) -> None:
    """A region found by hints holds the request, and lies at or behind the start."""
    chunk, choose, bits = scene.chunk_of_bits(), scene.choose, scene.size.bits
    start = choose.number(scene.size.pages) * bits
    nr, align = 1 + choose.number(chunk.map_bits), choose.pick((1, bits))
    call(scene, "next_fit_region", chunk, nr, align, start)


def _fit(scene: Scene, chunk: Chunk, align: int = 1, *, pop_only: bool = False) -> None:
    """Search a chunk by its hints for any length."""
    nr = 1 + scene.choose.number(chunk.map_bits)
    call(scene, "find_block_fit", chunk, nr, align, pop_only)


@obligation(
    "FIT-2",
    "Fit.find_block_fit next_fit_region",
    words=BITS + ", any valid hints; every length, unaligned",
    sizes=((3, 2), (4, 2)),
    variants=("reference",),
)
def fit_by_chunk_hints(scene: Scene) -> None:
    """A place named by the hints has room; fixed, a request misses only if nothing has."""
    chunk = scene.chunk_of_bits()
    choose_chunk_hints(scene, chunk)
    _fit(scene, chunk)


@obligation(
    "FIT-2",
    "Fit.find_block_fit next_fit_region",
    words=BLOCK + ", exact hints" + OTHERS + "; every length, every alignment up to a page",
    sizes=((2, 4), (3, 4)),
)
def fit_aligned(scene: Scene) -> None:
    """A place named for an aligned request has room for it."""
    chunk = scene.chunk_with_block()
    _fit(scene, chunk, 1 << scene.choose.number(scene.size.bits.bit_length()))


@obligation(
    "FIT-2",
    "Fit.find_block_fit",
    words=BLOCK + ", any valid hints" + OTHERS + "; every length, unaligned",
    sizes=((2, 4), (2, 8)),
    variants=("reference",),
)
def fit_by_block_hints(scene: Scene) -> None:
    """Whatever valid hints one block has, a place found has room; fixed, a miss is genuine."""
    chunk = scene.chunk_with_block()
    choose_block_hints(scene, chunk, 0)
    _fit(scene, chunk)


@obligation(
    "POP-2",
    "Fit.find_block_fit",
    words=BITS + ", every page populated or not; every length, unaligned",
    sizes=((3, 2), (4, 2)),
)
def fit_in_populated_pages(scene: Scene) -> None:
    """A place for an atomic request has room in populated pages."""
    _fit(scene, scene.chunk_of_used_bits(), pop_only=True)


@obligation(
    "FIT-2",
    "Fit.next_fit_region",
    words=BLOCK + ", exact hints" + OTHERS + "; every length, aligned to a page",
    sizes=((2, 4), (3, 4)),
)
def aligned_region(scene: Scene) -> None:
    """A region found for an aligned request holds it."""
    chunk = scene.chunk_with_block()
    nr = 1 + scene.choose.number(chunk.map_bits)
    call(scene, "next_fit_region", chunk, nr, scene.size.bits, 0)


@obligation(
    "FIT-1",
    "Fit.find_block_fit next_fit_region",
    words=BITS + ", exact hints; a request for its longest run",
    sizes=((2, 4), (3, 4)),
    variants=("reference",),
)
def longest_run_is_found(scene: Scene) -> None:
    """A request for the longest run there is does not miss it."""
    chunk = scene.chunk_of_bits()
    assume(chunk.chunk_md.contig_hint)
    call(scene, "find_block_fit", chunk, chunk.chunk_md.contig_hint, 1, False)
