"""Blocks, chunks and the lists they are linked on: the allocator's data, without behaviour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Final

from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS

FREE: Final = bytearray(b"\0")
USED: Final = bytearray(b"\1")
"""A bit of a map, to be repeated. A bytearray as maps are: a slice of a map that is assigned
anything else copies that into one first."""


_hints_of: Callable[[object], tuple[int, ...]] = attrgetter(*HINTS)


class Block:
    """Hints about the free runs of one block, or of a whole chunk (struct pcpu_block_md).

    All in bits, positions relative to the block. A hint of size 0 says nothing: its start is stale.
    """

    __slots__ = (*HINTS, "nr_bits")

    def __init__(self, nr_bits: int) -> None:
        """Make a block of nr_bits bits that is free throughout."""
        self.scan_hint = 0
        self.scan_hint_start = 0
        self.contig_hint = nr_bits
        self.contig_hint_start = 0
        self.left_free = nr_bits
        self.right_free = nr_bits
        self.first_free = 0
        self.nr_bits = nr_bits

    def clone(self) -> Block:
        """Return an independent copy."""
        new = Block.__new__(Block)
        new.nr_bits = self.nr_bits
        new.restore(self)
        return new

    def restore(self, other: Block) -> None:
        """Take over another block's hints."""
        self.scan_hint = other.scan_hint
        self.scan_hint_start = other.scan_hint_start
        self.contig_hint = other.contig_hint
        self.contig_hint_start = other.contig_hint_start
        self.left_free = other.left_free
        self.right_free = other.right_free
        self.first_free = other.first_free

    def as_list(self) -> list[int]:
        """Return the seven hints in the order of the recorded vectors."""
        return list(_hints_of(self))

    def __repr__(self) -> str:
        return f"Block{tuple(self.as_list())}"


class ListHead:
    """A list of chunks, linked through them as the kernel links its lists; slot is its number.

    `next` and `prev` are chunks or the head itself; typed loosely so that loops over a list need
    no casts.
    """

    __slots__ = ("next", "prev", "slot")

    next: Any
    prev: Any

    def __init__(self, slot: int) -> None:
        self.next = self
        self.prev = self
        self.slot = slot

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks from head to tail; the list must not change meanwhile."""
        return iter(()) if self.next is self else self._walk()

    def _walk(self) -> Iterator[Chunk]:
        chunk = self.next
        while chunk is not self:
            yield chunk
            chunk = chunk.next


class Chunk:
    """One chunk (struct pcpu_chunk): maps of a unit's bits and pages, and its counters.

    Offsets and free_bytes in bytes. A chunk on no list is linked to itself.
    """

    __slots__ = (
        "alloc_map", "base_addr", "bound_map", "chunk_md", "end_offset", "free_bytes", "id",
        "immutable", "isolated", "map_bits", "max_alloc_size", "md_blocks", "next", "nr_alloc",
        "nr_empty_pop_pages", "nr_pages", "nr_populated", "obj_exts", "populated", "prev",
        "start_offset",
    )  # fmt: skip

    next: Any
    prev: Any

    def __init__(self, geometry: Geometry, chunk_id: int, nr_pages: int, base_addr: int) -> None:
        """Make a chunk of nr_pages pages, all bits free, nothing populated, on no list."""
        self.id = chunk_id
        self.next = self
        self.prev = self
        self.base_addr = base_addr
        self.nr_pages = nr_pages
        self.map_bits = nr_pages * geometry.block_bits
        self.alloc_map = bytearray(self.map_bits)
        self.bound_map = bytearray(self.map_bits + 1)
        self.populated = bytearray(nr_pages)
        self.chunk_md = Block(self.map_bits)
        self.md_blocks = [Block(geometry.block_bits) for _ in range(nr_pages)]
        self.free_bytes = nr_pages * geometry.page
        self.immutable = False
        self.isolated = False
        self.start_offset = 0
        self.end_offset = 0
        self.nr_populated = 0
        self.nr_empty_pop_pages = 0
        self.obj_exts: dict[int, object] | None = None  # map bit of an area -> its object cgroup
        self.nr_alloc = 0
        self.max_alloc_size = 0

    def clone(self) -> Chunk:
        """Return an independent copy that is on no list, without fields of a variant's own."""
        new = self.__class__.__new__(self.__class__)
        new.id = self.id
        new.base_addr = self.base_addr
        new.nr_pages = self.nr_pages
        new.map_bits = self.map_bits
        new.immutable = self.immutable
        new.start_offset = self.start_offset
        new.end_offset = self.end_offset
        new.alloc_map = bytearray(self.alloc_map)
        new.bound_map = bytearray(self.bound_map)
        new.populated = bytearray(self.populated)
        new.chunk_md = self.chunk_md.clone()
        new.md_blocks = [block.clone() for block in self.md_blocks]
        new._take_over(self)
        return new

    def restore(self, other: Chunk) -> None:
        """Take over the state of a chunk of the same shape, in place, and be on no list."""
        self.alloc_map[:] = other.alloc_map
        self.bound_map[:] = other.bound_map
        self.populated[:] = other.populated
        self.chunk_md.restore(other.chunk_md)
        for block, origin in zip(self.md_blocks, other.md_blocks, strict=True):
            block.restore(origin)
        self._take_over(other)

    def _take_over(self, other: Chunk) -> None:
        """Take over the flags and counters, and be on no list."""
        self.next = self
        self.prev = self
        self.free_bytes = other.free_bytes
        self.isolated = other.isolated
        self.nr_populated = other.nr_populated
        self.nr_empty_pop_pages = other.nr_empty_pop_pages
        self.obj_exts = None if other.obj_exts is None else dict(other.obj_exts)
        self.nr_alloc = other.nr_alloc
        self.max_alloc_size = other.max_alloc_size

    def __repr__(self) -> str:
        return f"<chunk {self.id}>"


class OpenChunk(Chunk):
    """A chunk that may be given fields, by a variant that is not ours."""


Area = tuple[Chunk, int]
"""What an allocation returns: the chunk and the byte offset in it (the kernel's address)."""
