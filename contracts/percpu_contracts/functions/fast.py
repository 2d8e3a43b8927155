"""Contracts of level fast: what one operation's own block can tell, in constant time.

A few reads of the maps decide whether anything can be wrong; only then are the predicates asked
which clause it is. Balance work, which is rare, is followed by one pass over the chunks' counters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from percpu_contracts.clauses import balance, floats, hints, lists, population, reclaim
from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.violations import Breach
from percpu_spec.definitions import is_free

ALLOC = "MAP-1 MAP-3 POP-2 HINT-1 HINT-2 HINT-3 HINT-4"
FREE = "HINT-1 HINT-2 HINT-3 HINT-4"
BALANCE = "FLT-1 BAL-2 RCL-3"

LINKS = 16  # how far along its list a chunk's list is looked for


def alloc_holds(self: Any, size: int, result: tuple[Any, int] | None) -> Iterable[Breach]:
    """The area is set, bounded and populated; its first block's hints are right."""
    if result is None:
        return ()
    chunk, off = result
    granule = self.granule
    at = off // granule
    end = at - -size // granule
    page = self.page
    bounds = chunk.bound_map
    if (
        chunk.alloc_map.find(0, at, end) >= 0
        or bounds.find(1, at + 1, end + 1) != end
        or not bounds[at]
        or chunk.populated.find(0, off // page, (off + size - 1) // page + 1) >= 0
        or _is_suspect(chunk, at >> self.block_shift, self.block_bits)
    ):
        return _alloc_breaks(self, chunk, at, end)
    return ()


def free_holds(self: Any, area: tuple[Any, int] | None) -> Iterable[Breach]:
    """The hints of the block that the freed area began in are right."""
    if area is None:
        return ()
    chunk, off = area
    index = (off // self.granule) >> self.block_shift
    if _is_suspect(chunk, index, self.block_bits):
        return _block_breaks(self, chunk, index)
    return ()


def freed_chunk_is_listed(self: Any, area: tuple[Any, int] | None) -> str | None:
    """The chunk freed into is on its computed list (LIST-2).

    Not asked where the list's end is more than LINKS chunks away, which keeps the work constant.
    """
    if area is None:
        return NOT_ASKED
    chunk = area[0]
    if chunk.isolated or chunk is self.reserved_chunk:
        return NOT_ASKED
    link = chunk.next
    for _ in range(LINKS):
        if type(link) is not type(chunk):
            return lists.chunk_is_on_its_list(self, chunk, link.slot)
        link = link.next
    return NOT_ASKED


def balance_holds(self: Any) -> Iterator[Breach]:
    """The float is the sum of the chunks' counters; quiescent, nothing is left to do."""
    wrong = floats.float_is_counted(self)
    if wrong is not None:
        yield "FLT-1", wrong
    if self.quiescent:
        wrong = balance.one_free_chunk(self)
        if wrong is not None:
            yield "BAL-2", wrong
        wrong = reclaim.reclaim_is_done(self)
        if wrong is not None:
            yield "RCL-3", wrong


def _is_suspect(chunk: Any, index: int, block_bits: int) -> bool:
    """Say whether a block's hints differ from what a few reads of its bits show."""
    block = chunk.md_blocks[index]
    bits = chunk.alloc_map
    base = index * block_bits
    end = base + block_bits
    contig = block.contig_hint
    first = bits.find(1, base, end)
    if first < 0:
        return bool(contig != block_bits or block.left_free != contig or block.right_free != contig)
    start = base + block.contig_hint_start
    scan = block.scan_hint
    return bool(
        block.left_free != first - base
        or block.right_free != end - 1 - bits.rfind(1, base, end)
        or (contig and bits.find(1, start, start + contig) >= 0)
        or (scan and (block.scan_hint_start > block.contig_hint_start) != (scan == contig))
    )


def _block_breaks(self: Any, chunk: Any, index: int) -> Iterator[Breach]:
    for clause, state in (
        ("HINT-1", hints.block_hints_are_sound),
        ("HINT-2", hints.block_left_is_exact),
        ("HINT-3", hints.block_right_is_exact),
    ):
        wrong = state(chunk, index, self.geometry)
        if wrong is not None:
            yield clause, wrong
    wrong = hints.hint_is_ordered(chunk.md_blocks[index])
    if wrong is not None:
        yield "HINT-4", f"block {index}: {wrong}"


def _alloc_breaks(self: Any, chunk: Any, at: int, end: int) -> Iterator[Breach]:
    if is_free(chunk.alloc_map, at, at + 1) or chunk.alloc_map.find(0, at, end) >= 0:
        yield "MAP-1", f"bits {at}..{end} of an area handed out are not all set"
    if not chunk.bound_map[at] or chunk.bound_map.find(1, at + 1, end + 1) != end:
        yield "MAP-3", f"boundary bits do not delimit the area of bits {at}..{end}"
    granule = self.granule
    wrong = population.area_is_populated(chunk, at * granule, (end - at) * granule, self.geometry)
    if wrong is not None:
        yield "POP-2", wrong
    yield from _block_breaks(self, chunk, at // self.block_bits)
