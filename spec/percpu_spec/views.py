"""Read-only protocols of an allocator's state.

Predicates are written against these, never against a class: the reference allocator, a state
recorded from a running kernel, and compiled kernel code all offer them. Names are the kernel's
without their prefix. Bits are map bits (one granule each), pages are unit pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from percpu_spec.geometry import Geometry


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
    def scan_hint(self) -> int: ...  # noqa: D102
    @property
    def scan_hint_start(self) -> int: ...  # noqa: D102
    @property
    def contig_hint(self) -> int: ...  # noqa: D102
    @property
    def contig_hint_start(self) -> int: ...  # noqa: D102
    @property
    def left_free(self) -> int: ...  # noqa: D102
    @property
    def right_free(self) -> int: ...  # noqa: D102
    @property
    def first_free(self) -> int: ...  # noqa: D102
    @property
    def nr_bits(self) -> int: ...  # noqa: D102


class ChunkView(Protocol):
    """One chunk (struct pcpu_chunk). Offsets and free_bytes in bytes."""

    @property
    def free_bytes(self) -> int: ...  # noqa: D102
    @property
    def chunk_md(self) -> BlockView: ...  # noqa: D102
    @property
    def md_blocks(self) -> Sequence[BlockView]: ...  # noqa: D102
    @property
    def alloc_map(self) -> BitMap: ...  # noqa: D102
    @property
    def bound_map(self) -> BitMap: ...  # noqa: D102
    @property
    def populated(self) -> BitMap: ...  # noqa: D102
    @property
    def immutable(self) -> bool: ...  # noqa: D102
    @property
    def isolated(self) -> bool: ...  # noqa: D102
    @property
    def start_offset(self) -> int: ...  # noqa: D102
    @property
    def end_offset(self) -> int: ...  # noqa: D102
    @property
    def nr_pages(self) -> int: ...  # noqa: D102
    @property
    def nr_populated(self) -> int: ...  # noqa: D102
    @property
    def nr_empty_pop_pages(self) -> int: ...  # noqa: D102


class AllocatorView(Protocol):
    """A whole allocator: the lists, the two special chunks and the global counters.

    Lists are numbered type by type, and within a type by slot: with two types of chunks, list
    `nr_slots // 2` is slot 0 of the second. A slot that an allocator does not have is -1.
    """

    @property
    def geometry(self) -> Geometry: ...  # noqa: D102
    @property
    def free_slot(self) -> int: ...  # noqa: D102
    @property
    def sidelined_slot(self) -> int: ...  # noqa: D102
    @property
    def to_depopulate_slot(self) -> int: ...  # noqa: D102
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
    def first_chunk(self) -> ChunkView: ...  # noqa: D102
    @property
    def reserved_chunk(self) -> ChunkView | None: ...  # noqa: D102

    def chunk_type(self, chunk: ChunkView, /) -> int:
        """Return the type of a chunk, below chunk_types."""

    def float_of(self, chunk_type: int, /) -> int:
        """Return the float that requests for a type go by, in pages."""

    def slot_chunks(self, slot: int, /) -> Iterable[ChunkView]:
        """Yield the chunks of one list, given by number, from its head to its tail."""

    def owned_chunks(self) -> Iterable[ChunkView]:
        """Yield live chunks that are on no list because a running step holds them."""
