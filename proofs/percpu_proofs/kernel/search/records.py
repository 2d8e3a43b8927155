"""States of a search as views for the clause predicates. The layout is that of stubs/search."""

from __future__ import annotations

from copy import copy
from typing import Final

from percpu_proofs.kernel.search.compiled import CompiledSearch
from percpu_proofs.kernel.views import OWNED, CompiledAllocator, CompiledChunk, set_bits
from percpu_proofs.recorded.states.snapshot import bitmap
from percpu_reference.chunk import Block
from percpu_spec.definitions import Listing
from percpu_spec.views import HINTS, ChunkView

COUNTERS: Final = 11
FIRST: Final = 1
RESERVED: Final = 2
"""Kinds of chunks that are of boot."""


class Record(CompiledChunk):
    """One chunk as it stood (ChunkView). Equal chunks share one, but where a copy is needed.

    mapped: pages that the page tables have; stale: pages whose old translation was not flushed.
    """

    __slots__ = (
        "alloc_map", "bound_map", "chunk_md", "contents", "end_offset", "free_bytes", "immutable",
        "isolated", "kind", "mapped", "md_blocks", "nr_empty_pop_pages", "nr_pages", "nr_populated",
        "number", "populated", "stale", "start_offset",
    )  # fmt: skip

    def __init__(self, words: memoryview, number: int, block_bits: int) -> None:
        self.number = self.contents = number  # which no other state of a chunk has
        (
            self.computed_slot, isolated, immutable, self.free_bytes, self.nr_pages,
            self.nr_populated, self.nr_empty_pop_pages, self.start_offset, self.end_offset,
            self.kind,
        ) = words[1:11]  # fmt: skip
        self.isolated, self.immutable = bool(isolated), bool(immutable)
        raw = words.tobytes()
        at = 11 * 4

        def take(count: int) -> bytes:
            nonlocal at
            size = -(-count // 64) * 8
            at += size
            return bytes(bitmap(raw[at - size : at], count))

        self.populated, self.mapped, self.stale = (take(64)[: self.nr_pages] for _ in range(3))
        bits = self.nr_pages * block_bits
        self.chunk_md = Block(bits)
        self.md_blocks = [Block(block_bits) for _ in range(self.nr_pages)]
        for block in (self.chunk_md, *self.md_blocks):
            for name, value in zip(HINTS, words[at // 4 :], strict=False):
                setattr(block, name, value)
            at += len(HINTS) * 4
        self.alloc_map = take(bits)
        self.bound_map = take(bits + 1)
        has_vector = words[at // 4]
        at += 4
        self.charges = set(set_bits(take(bits))) if has_vector else None

    @property
    def is_reserved(self) -> bool:
        """Whether it serves the reserved part."""
        return self.kind == RESERVED

    def __repr__(self) -> str:
        return f"<chunk of {self.nr_pages} pages, record {self.number}>"


class SearchState(CompiledAllocator, Listing):
    """The allocator in one state (AllocatorView). `chunks` are in the order of its description.

    slots: the list of each chunk, by number, OWNED or -1.
    """

    def __init__(self, search: CompiledSearch, words: list[int], records: list[Record]) -> None:
        self.geometry = search.geometry
        self.source = self
        self.nr_slots, self.sidelined_slot, self.free_slot, self.to_depopulate_slot = search.lists
        (
            self.nr_populated, self.nr_empty_pop_pages, marked, is_async, _, pending,
            self.charged, self.objcg_refs, self.live_pages, _, _,
        ) = words[:COUNTERS]  # fmt: skip
        self.atomic_alloc_failed, self.async_enabled = bool(marked), bool(is_async)
        self.work_pending = bool(pending)
        self.slots = words[COUNTERS::2]
        self.chunks: list[Record] = []
        self.owned: list[ChunkView] = []
        self.listed: list[tuple[int, ChunkView]] = []
        self.reserved_chunk: ChunkView | None = None
        seen = set()
        for slot, number in zip(self.slots, words[COUNTERS + 1 :: 2], strict=True):
            chunk = records[number]
            if number in seen:  # chunks are told apart by identity
                chunk = copy(chunk)
            seen.add(number)
            self.chunks.append(chunk)
            if chunk.kind == FIRST:
                self.first_chunk = chunk
            if slot >= 0:
                self.listed.append((slot, chunk))
            elif slot == OWNED:
                self.owned.append(chunk)
            else:
                self.reserved_chunk = chunk
        self.live = [chunk for _, chunk in self.listed] + self.owned

    @property
    def has_isolated(self) -> bool:
        """Whether a chunk is isolated, or on a list for such chunks."""
        apart = {self.sidelined_slot, self.to_depopulate_slot}
        return not apart.isdisjoint(self.slots) or any(c.isolated for c in self.chunks)


def present_state(search: CompiledSearch) -> SearchState:
    """Return the state in which a search stands. Raises KernelStopped where lists are corrupt."""
    words, raw = search.look()
    # each chunk its own record: they are told apart by identity
    records = [Record(one, number, search.geometry.block_bits) for number, one in enumerate(raw)]
    places = [word for number, slot in enumerate(words[COUNTERS:]) for word in (slot, number)]
    return SearchState(search, words[:COUNTERS] + places, records)
