"""The compiled kernel's state as views, for the clause predicates and for the vectors' format."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from percpu_proofs.kernel.instance import Kernel, as_compiled
from percpu_reference.chunk import Block
from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS, ChunkView

_HEADER = 11
_GLOBALS = 8
RESERVED, OWNED = -1, -2
"""Slots of the reserved chunk, and of one that a running step holds."""


class CompiledChunk:
    """What a chunk of compiled code has beside what all have (ChunkView).

    charges: bits at which charged areas begin, None without a vector of object cgroups.
    computed_slot: the one that the kernel itself computes from its hints.
    """

    __slots__ = ("charges", "computed_slot")

    charges: set[int] | None
    computed_slot: int

    @property
    def obj_exts(self) -> list[int] | None:
        """Bits at which charged areas begin, None without a vector."""
        return None if self.charges is None else sorted(self.charges)


class CompiledAllocator:
    """What any reading of a compiled allocator has (AllocatorView): chunks of one type."""

    chunk_types = 1
    nr_empty_pop_pages: int

    def chunk_type(self, chunk: ChunkView, /) -> int:
        """Return 0, the only type."""
        return 0

    def float_of(self, chunk_type: int, /) -> int:
        """Return the float, in pages."""
        return self.nr_empty_pop_pages

    def chunk_slot(self, chunk: CompiledChunk) -> int:
        """Return the slot that the kernel itself computes from a chunk's hints."""
        return chunk.computed_slot


class KernelList(list["KernelChunk"]):
    """One of the kernel's lists, as it stood, head to tail; `slot` is its number."""

    def __init__(self, slot: int) -> None:
        super().__init__()
        self.slot = slot


class KernelChunk(CompiledChunk):
    """One chunk as it stood when read last (ChunkView).

    scalars, hints and block_hints are what the library's record has, to be compared at one stroke.
    """

    def __init__(self, kernel: Kernel, record: Any) -> None:
        self.id: int = record.id
        self._words = memoryview(kernel.ffi.buffer(record.words, record.nr_words * 4)).cast("i")
        self._maps = memoryview(kernel.ffi.buffer(record.maps, record.nr_maps))
        self.changes = -1
        bits = kernel.geometry.block_bits
        self.nr_pages = self._words[6]
        self.chunk_md = Block(self.nr_pages * bits)
        self.md_blocks = [Block(bits) for _ in range(self.nr_pages)]
        self.hints: tuple[int, ...] = ()
        self.block_hints: list[tuple[int, ...]] = [()] * self.nr_pages
        self._charged = b""
        self.charges = None

    def refresh(self, changes: int) -> None:
        """Take over the record if it has changed since."""
        if changes == self.changes:
            return
        self.changes = changes
        words = self._words.tolist()
        self.on_list, self.computed_slot = words[1], words[2]
        self.scalars = tuple(words[3:_HEADER])
        (
            isolated, immutable, self.free_bytes, _, self.nr_populated, self.nr_empty_pop_pages,
            self.start_offset, self.end_offset,
        ) = self.scalars  # fmt: skip
        self.isolated, self.immutable = bool(isolated), bool(immutable)
        size = len(HINTS)
        hints, *block_hints = [
            tuple(words[at : at + size]) for at in range(_HEADER, len(words), size)
        ]
        self.hints = _enter(self.chunk_md, self.hints, hints)
        self.block_hints = list(map(_enter, self.md_blocks, self.block_hints, block_hints))
        pages, bits = self.nr_pages, self.chunk_md.nr_bits
        maps = self._maps
        self.populated = bytearray(maps[:pages])
        self.alloc_map = bytearray(maps[pages : pages + bits])
        self.bound_map = bytearray(maps[pages + bits : pages + 2 * bits + 1])
        charged = bytes(maps[pages + 2 * bits + 1 :])
        if charged != self._charged:
            self._charged, self.charges = charged, set(set_bits(charged))

    @property
    def contents(self) -> tuple[int, int]:
        """A value that no other state of a chunk of the same kernel has."""
        return self.id, self.changes

    @property
    def is_reserved(self) -> bool:
        """Whether it serves the reserved part."""
        return self.on_list == RESERVED

    def __repr__(self) -> str:
        return f"<kernel chunk {self.id}>"


def set_bits(bits: bytes) -> Iterator[int]:
    """Yield which bytes of a map are 1."""
    at = bits.find(1)
    while at >= 0:
        yield at
        at = bits.find(1, at + 1)


def _enter(block: Block, was: tuple[int, ...], now: tuple[int, ...]) -> tuple[int, ...]:
    """Enter a block's hints if they are others than they were; return them."""
    if now != was:
        for name, value in zip(HINTS, now, strict=True):
            setattr(block, name, value)
    return now


class CompiledState(CompiledAllocator):
    """A compiled kernel's allocator as it stood when read last (AllocatorView).

    Chunks keep their identity from one reading to the next. order: the list and the number of each
    chunk on a list, list by list, head to tail.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.geometry: Geometry = as_compiled(kernel.lib, kernel.geometry)
        self.env = kernel.environment  # counters have the names of the model's
        self._chunks: dict[int, KernelChunk] = {}
        self.read()

    def read(self) -> None:
        """Read the state anew. Raises KernelStopped where a list is corrupt."""
        kernel = self.kernel
        count = kernel.check(kernel.lib.percpu_read())
        (
            self.nr_populated, self.nr_empty_pop_pages, marked, is_async, self.nr_slots,
            self.sidelined_slot, self.free_slot, self.to_depopulate_slot,
        ) = kernel.ffi.unpack(kernel.lib.percpu_globals, _GLOBALS)  # fmt: skip
        self.atomic_alloc_failed, self.async_enabled = bool(marked), bool(is_async)
        self.chunk_lists = [KernelList(slot) for slot in range(self.nr_slots)]
        self.order: list[tuple[int, int]] = []
        chunks: dict[int, KernelChunk] = {}
        places = iter(kernel.ffi.unpack(kernel.lib.percpu_places, 3 * count))
        for index, (number, slot, changes) in enumerate(zip(places, places, places, strict=True)):
            chunk = self._chunks.get(number)
            if chunk is None:
                chunk = KernelChunk(kernel, kernel.lib.percpu_records[index])
            chunk.refresh(changes)
            chunks[number] = chunk
            if slot >= 0:
                self.chunk_lists[slot].append(chunk)
                self.order.append((slot, number))
        self._chunks = chunks

    @property
    def first_chunk(self) -> KernelChunk:
        """The chunk that serves the dynamic part of the first unit."""
        return self._chunks[0]

    @property
    def reserved_chunk(self) -> KernelChunk | None:
        """The chunk that serves the reserved part, if there is one."""
        return self._chunks.get(-1)

    @property
    def work_pending(self) -> bool:
        """Whether balance work has been asked for and not begun."""
        return bool(self.kernel.environment.work_pending)

    def chunks(self) -> Collection[KernelChunk]:
        """Return all live chunks, the reserved one too."""
        return self._chunks.values()

    def chunk(self, number: int) -> KernelChunk:
        """Return a live chunk by its number."""
        return self._chunks[number]

    def find(self, number: int) -> KernelChunk | None:
        """Return a chunk by its number, None for one that is no more."""
        return self._chunks.get(number)

    def listed(self) -> list[KernelChunk]:
        """Return the chunks that are on lists."""
        return [chunk for chunk in self._chunks.values() if chunk.on_list >= 0]

    def slot_chunks(self, slot: int, /) -> list[KernelChunk]:
        """Return the chunks of one list, head to tail."""
        return self.chunk_lists[slot]

    def owned_chunks(self) -> list[KernelChunk]:
        """Return the live chunks on no list that are not the reserved one."""
        return [chunk for chunk in self._chunks.values() if chunk.on_list == OWNED]
