"""Read-only protocols of an allocator's state.

Predicates are written against these, never against a class: the reference allocator, a state
recorded from a running kernel, and compiled kernel code all offer them. Names are the kernel's
without their prefix. Bits are map bits (one granule each), pages are unit pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from percpu_spec.geometry import Geometry

HINTS: Final = (
    "scan_hint",
    "scan_hint_start",
    "contig_hint",
    "contig_hint_start",
    "left_free",
    "right_free",
    "first_free",
)
"""The hints of a block, in the order in which vectors and records write them."""


class BitMap(Protocol):
    """A bitmap with one element per bit, each 0 or 1. A bytearray is one."""

    def find(self, bit: int, start: int = ..., end: int = ..., /) -> int:
        """Return the first index in [start, end) whose element is `bit`, or -1."""

    def rfind(self, bit: int, start: int = ..., end: int = ..., /) -> int:
        """Return the last index in [start, end) whose element is `bit`, or -1."""

    def count(self, bit: int, start: int = ..., end: int = ..., /) -> int:
        """Return how many elements in [start, end) are `bit`."""

    def __getitem__(self, index: int, /) -> int: ...

    def __iter__(self) -> Iterator[int]: ...

    def __len__(self) -> int: ...


class BlockView(Protocol):
    """Hints of one block, or of a whole chunk (struct pcpu_block_md). All in bits."""

    @property
    def scan_hint(self) -> int:
        """Length of a free run before the longest one known, in bits; 0 if there is none."""
    @property
    def scan_hint_start(self) -> int:
        """Where that run begins, in bits."""
    @property
    def contig_hint(self) -> int:
        """Length of the longest free run known, in bits."""
    @property
    def contig_hint_start(self) -> int:
        """Where it begins, in bits."""
    @property
    def left_free(self) -> int:
        """Free bits from the first bit on."""
    @property
    def right_free(self) -> int:
        """Free bits up to the last bit."""
    @property
    def first_free(self) -> int:
        """A bit before which none is free."""
    @property
    def nr_bits(self) -> int:
        """How many bits the hints are about."""


class ChunkView(Protocol):
    """One chunk (struct pcpu_chunk). Offsets and free_bytes in bytes."""

    @property
    def free_bytes(self) -> int:
        """Free bytes, by count."""
    @property
    def chunk_md(self) -> BlockView:
        """Hints of the whole chunk."""
    @property
    def md_blocks(self) -> Sequence[BlockView]:
        """Hints of each page, in their order."""
    @property
    def alloc_map(self) -> BitMap:
        """A bit for each granule: 1 where an area is."""
    @property
    def bound_map(self) -> BitMap:
        """A bit more than alloc_map: 1 where an area begins or one has ended."""
    @property
    def populated(self) -> BitMap:
        """A bit for each page: 1 where it is backed on every CPU."""
    @property
    def immutable(self) -> bool:
        """Whether its pages stay: a chunk of boot."""
    @property
    def isolated(self) -> bool:
        """Whether it is out of circulation, on to_depopulate or sidelined."""
    @property
    def start_offset(self) -> int:
        """Bytes at its beginning that it shares and does not serve."""
    @property
    def end_offset(self) -> int:
        """Bytes at its end that it does not serve."""
    @property
    def nr_pages(self) -> int:
        """How many pages it has, backed or not."""
    @property
    def nr_populated(self) -> int:
        """Pages that are backed, by count."""
    @property
    def nr_empty_pop_pages(self) -> int:
        """Backed pages without an area, by count."""


class AllocatorView(Protocol):
    """A whole allocator: the lists, the two special chunks and the global counters.

    Lists are numbered type by type, and within a type by slot: with two types of chunks, list
    `nr_slots // 2` is slot 0 of the second. A slot that an allocator does not have is -1.
    """

    @property
    def geometry(self) -> Geometry:
        """The sizes that it was booted with."""
    @property
    def free_slot(self) -> int:
        """Slot of fully free chunks."""
    @property
    def sidelined_slot(self) -> int:
        """Slot of chunks that reclaim has drained."""
    @property
    def to_depopulate_slot(self) -> int:
        """Slot of chunks that wait for reclaim."""
    @property
    def nr_slots(self) -> int:
        """How many lists there are, of all types."""
    @property
    def chunk_types(self) -> int:
        """How many types of chunks are kept on lists of their own."""
    @property
    def nr_empty_pop_pages(self) -> int:
        """The float: empty populated pages the allocator counts as available.

        Where each type has a float of its own: that of the first type, the plain one.
        """
    @property
    def nr_populated(self) -> int:
        """Populated pages per unit, the whole pages of the static part included."""
    @property
    def first_chunk(self) -> ChunkView:
        """The chunk that serves the dynamic part of the first unit."""
    @property
    def reserved_chunk(self) -> ChunkView | None:
        """The chunk that serves the reserved part, if there is one."""

    def chunk_type(self, chunk: ChunkView, /) -> int:
        """Return the type of a chunk, below chunk_types."""

    def float_of(self, chunk_type: int, /) -> int:
        """Return the float that requests for a type go by, in pages."""

    def slot_chunks(self, slot: int, /) -> Iterable[ChunkView]:
        """Yield the chunks of one list, given by number, from its head to its tail."""

    def owned_chunks(self) -> Iterable[ChunkView]:
        """Yield live chunks that are on no list because a running step holds them."""
