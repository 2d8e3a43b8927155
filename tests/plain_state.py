"""Small states for tests, written as memory maps: one letter per area, a dot per free bit."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from percpu_spec.geometry import Geometry

SMALL = Geometry(unit=128, static=24, reserved=40, dyn=64, cpus=2, page=32, memcg=True)
"""Blocks of 8 bits, units of 4 pages; the reserved chunk hides its first 6 bits."""


class Bools(list[bool]):
    """A map as a list of booleans: the twin of a bytearray that symbolic harnesses use."""

    def find(self, bit: int, start: int = 0, end: int | None = None, /) -> int:
        """Return the first index in [start, end) whose element is `bit`, or -1."""
        end = len(self) if end is None else min(end, len(self))
        return next((i for i in range(start, end) if self[i] == bool(bit)), -1)

    def rfind(self, bit: int, start: int = 0, end: int | None = None, /) -> int:
        """Return the last index in [start, end) whose element is `bit`, or -1."""
        end = len(self) if end is None else min(end, len(self))
        return next((i for i in reversed(range(start, end)) if self[i] == bool(bit)), -1)

    def __getitem__(self, index: Any, /) -> Any:
        """Return an element, or elements as a map again."""
        found = super().__getitem__(index)
        return Bools(found) if isinstance(index, slice) else found

    def count(self, bit: int, start: int = 0, end: int | None = None, /) -> int:
        """Return how many elements in [start, end) are `bit`."""
        return sum(1 for value in self[start:end] if value == bool(bit))


@dataclass
class Block:
    """Hints with the fields of BlockView."""

    nr_bits: int
    scan_hint: int = 0
    scan_hint_start: int = 0
    contig_hint: int = 0
    contig_hint_start: int = 0
    left_free: int = 0
    right_free: int = 0
    first_free: int = 0


def exact(text: str) -> Block:
    """Return the exact hints of a stretch of map, counted letter by letter."""
    runs = []
    at = 0
    for free, group in groupby(text, key=lambda c: c == "."):
        length = len(list(group))
        if free:
            runs.append((length, -at))
        at += length
    longest, start = max(runs, default=(0, 0))
    left = len(text) - len(text.lstrip("."))
    right = len(text) - len(text.rstrip("."))
    first = text.index(".") if "." in text else len(text)
    return Block(len(text), 0, 0, longest, -start, left, right, first)


@dataclass(eq=False)
class Chunk:
    """A chunk with the fields of ChunkView; like any chunk it equals itself alone."""

    alloc_map: bytearray
    bound_map: bytearray
    populated: bytearray
    chunk_md: Block
    md_blocks: list[Block]
    free_bytes: int
    nr_pages: int
    nr_populated: int
    nr_empty_pop_pages: int
    immutable: bool = False
    isolated: bool = False
    start_offset: int = 0
    end_offset: int = 0


def chunk(
    text: str, populated: str, *, immutable: bool = False, isolated: bool = False, hidden: int = 0
) -> Chunk:
    """Build a chunk with exact hints and counters. `text` has a space between blocks."""
    blocks, bits = text.split(), text.replace(" ", "")
    bounds = bytearray(len(bits) + 1)
    at = 0
    for letter, group in groupby(bits):
        end = at + len(list(group))
        if letter != ".":
            bounds[at] = bounds[end] = 1
        at = end
    empty = sum(p == "1" and set(b) == {"."} for p, b in zip(populated, blocks, strict=True))
    return Chunk(
        alloc_map=bytearray(c != "." for c in bits),
        bound_map=bounds,
        populated=bytearray(map(int, populated)),
        chunk_md=exact(bits),
        md_blocks=[exact(b) for b in blocks],
        free_bytes=bits.count(".") * SMALL.granule,
        nr_pages=len(blocks),
        nr_populated=populated.count("1"),
        nr_empty_pop_pages=empty,
        immutable=immutable,
        isolated=isolated,
        start_offset=hidden,
    )


@dataclass
class Stats:
    """Statistics with the fields of StatsView."""

    nr_alloc: int = 9
    nr_dealloc: int = 2
    nr_cur_alloc: int = 7
    nr_max_alloc: int = 8
    nr_chunks: int = 4
    nr_max_chunks: int = 4
    min_alloc_size: int = 4
    max_alloc_size: int = 32


@dataclass
class Allocator:
    """An allocator with the fields of AllocatorView, and the chunks of a test by name."""

    first_chunk: Chunk
    reserved_chunk: Chunk | None
    busy: Chunk
    free: Chunk
    side: Chunk
    lists: dict[int, list[Chunk]]
    owned: list[Chunk] = field(default_factory=list)
    geometry: Geometry = SMALL
    sidelined_slot: int = 6
    free_slot: int = 7
    to_depopulate_slot: int = 8
    nr_slots: int = 9
    chunk_types: int = 1
    nr_empty_pop_pages: int = 2
    nr_populated: int = 9
    stats: Stats = field(default_factory=Stats)

    def chunk_type(self, chunk: Chunk, /) -> int:
        """Return the type of a chunk."""
        return 0

    def float_of(self, chunk_type: int, /) -> int:
        """Return the one float there is."""
        return self.nr_empty_pop_pages

    def slot_chunks(self, slot: int, /) -> list[Chunk]:
        """Return the chunks of one list."""
        return self.lists.setdefault(slot, [])

    def owned_chunks(self) -> list[Chunk]:
        """Return the chunks that a running step holds."""
        return self.owned


def allocator() -> Allocator:
    """Return a state in which every clause holds."""
    first = chunk("AAAA.... BB......", "11", immutable=True)
    reserved = chunk("hhhhhhCC ........", "11", immutable=True, hidden=24)
    busy = chunk("DDDDDDDD EE....FF ........ ........", "1110")
    free = chunk("........ ........ ........ ........", "1000")
    side = chunk("GG...... ........ ........ ........", "1000", isolated=True)
    lists = {2: [first], 4: [busy], 6: [side], 7: [free]}
    return Allocator(first, reserved, busy, free, side, lists)
