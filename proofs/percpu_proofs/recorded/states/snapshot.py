"""A kernel's percpu structures, read out of its memory, as views, and how a model's differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS, AllocatorView, ChunkView

COUNTS = (
    "free_bytes", "immutable", "isolated", "start_offset", "end_offset", "nr_pages",
    "nr_populated", "nr_empty_pop_pages",
)  # fmt: skip
"""What a chunk's struct holds beside maps and hints, in the order of a state's text."""


@dataclass(frozen=True, slots=True)
class BlockSnapshot:
    """Hints of a block or chunk, in bits, as they stood (BlockView)."""

    scan_hint: int
    scan_hint_start: int
    contig_hint: int
    contig_hint_start: int
    left_free: int
    right_free: int
    first_free: int
    nr_bits: int


@dataclass(frozen=True, slots=True, eq=False)
class ChunkSnapshot:
    """One chunk as it stood (ChunkView); also its address, and its place on the lists.

    Unless `has_bounds`, the boundary bits were not recorded: `bound_map` holds those of the areas.
    `owners` names who holds the area at a byte offset, the hidden parts excepted; None: not told.
    """

    base_addr: int
    slot: int  # -1: on no list
    pos: int  # from the head of its list
    free_bytes: int
    immutable: bool
    isolated: bool
    start_offset: int
    end_offset: int
    nr_pages: int
    nr_populated: int
    nr_empty_pop_pages: int
    chunk_md: BlockSnapshot
    md_blocks: tuple[BlockSnapshot, ...]
    areas: Mapping[int, int]  # byte offset -> bytes
    alloc_map: bytearray
    bound_map: bytearray
    populated: bytearray
    has_bounds: bool = False
    owners: Mapping[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole allocator as it stood (AllocatorView).

    A kernel before partial depopulation has neither a sidelined nor a to_depopulate list (both
    -1) and two chunk types: `chunk_types` is 2, and the lists of the second follow the first's.
    """

    phase: str
    geometry: Geometry
    globals: Mapping[str, str]
    chunk_types: int
    free_slot: int
    sidelined_slot: int
    to_depopulate_slot: int
    nr_slots: int
    nr_empty_pop_pages: int
    nr_populated: int
    async_enabled: bool
    atomic_alloc_failed: bool
    first_chunk: ChunkSnapshot
    reserved_chunk: ChunkSnapshot | None
    lists: tuple[tuple[ChunkSnapshot, ...], ...]
    floats: tuple[int, ...] = ()  # of each type, where all were recorded

    def chunk_type(self, chunk: ChunkView, /) -> int:
        """Return the type of a recorded chunk, told by its list; 0 for the reserved one."""
        number = next((c.slot for c in self.chunks() if c is chunk), 0)
        return max(number, 0) // (self.nr_slots // self.chunk_types)

    def float_of(self, chunk_type: int, /) -> int:
        """Return the float of a type.

        Where only the first type's was recorded the other's is taken for the sum of its chunks'
        counters.
        """
        if self.floats:
            return self.floats[chunk_type]
        return self.counted_float(chunk_type) if chunk_type else self.nr_empty_pop_pages

    def counted_float(self, chunk_type: int) -> int:
        """Return the sum of the counters of a type's chunks."""
        slots = self.nr_slots // self.chunk_types
        own = self.lists[chunk_type * slots : (chunk_type + 1) * slots]
        return sum(chunk.nr_empty_pop_pages for chunks in own for chunk in chunks)

    def slot_chunks(self, slot: int, /) -> Sequence[ChunkSnapshot]:
        """Return the chunks of one list, head to tail."""
        return self.lists[slot]

    def owned_chunks(self) -> Sequence[ChunkSnapshot]:
        """Return no chunk: whatever a running step held was not recorded."""
        return ()

    def chunks(self) -> Iterator[ChunkSnapshot]:
        """Yield every recorded chunk: the reserved one, then the lists."""
        if self.reserved_chunk is not None:
            yield self.reserved_chunk
        for chunks in self.lists:
            yield from chunks

    def with_chunks(self, changed: Callable[[ChunkSnapshot], ChunkSnapshot]) -> Snapshot:
        """Return the state with what becomes of each chunk in its place."""
        chunks = {chunk: changed(chunk) for chunk in self.chunks()}
        return replace(
            self,
            first_chunk=chunks[self.first_chunk],
            reserved_chunk=None if self.reserved_chunk is None else chunks[self.reserved_chunk],
            lists=tuple(tuple(map(chunks.__getitem__, listed)) for listed in self.lists),
        )


_BYTES = [bytes(byte >> bit & 1 for bit in range(8)) for byte in range(256)]


def bitmap(raw: bytes, size: int) -> bytearray:
    """Return the first `size` bits of little-endian memory, a byte each."""
    return bytearray(b"".join(map(_BYTES.__getitem__, raw)))[:size]


def bits_of(number: int, size: int) -> bytearray:
    """Return a map of `size` bits from a number whose bit i is map bit i."""
    return bitmap(number.to_bytes(-(-size // 8), "little"), size)


def runs_of(bits: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Yield each run of set elements as (first, behind)."""
    at = bits.find(1)
    while at >= 0:
        behind = bits.find(0, at)
        behind = len(bits) if behind < 0 else behind
        yield at, behind
        at = bits.find(1, behind)


def pages_of(off: int, size: int, page: int) -> Iterator[tuple[int, int]]:
    """Yield the pages that an area lies in, each with how many of its bytes."""
    end = off + size
    for number in range(off // page, -(-end // page)):
        yield number, min(end, (number + 1) * page) - max(off, number * page)


_GLOBALS = ("nr_empty_pop_pages", "nr_populated", "atomic_alloc_failed")
_COUNTERS = ("free_bytes", "nr_populated", "nr_empty_pop_pages", "isolated", "immutable")

WHAT = ("lists", "areas", "populated", "hints", "counters", "globals")
"""What is compared. `lists` is the slot of every chunk and the order in it."""


class StateDifference(NamedTuple):
    """One thing that differs: one of WHAT, the chunk's address (empty: global), and both values."""

    what: str
    chunk: str
    detail: str


def state_differences(model: AllocatorView, kernel: Snapshot) -> Iterator[StateDifference]:
    """Yield everything in which the model differs from the recorded state.

    Hints are compared all seven, stale ones included. Boundary bits are not: the recording has
    none.
    """
    yield from _values("globals", "", _GLOBALS, model, kernel)
    mine: dict[int, ChunkView] = {}
    for slot in range(max(model.nr_slots, kernel.nr_slots)):
        ours = [_address(c) for c in model.slot_chunks(slot)] if slot < model.nr_slots else []
        theirs = [c.base_addr for c in kernel.slot_chunks(slot)] if slot < kernel.nr_slots else []
        if ours != theirs:
            yield StateDifference("lists", "", f"slot {slot}: {_hex(ours)}, kernel {_hex(theirs)}")
        if slot < model.nr_slots:
            mine.update((_address(c), c) for c in model.slot_chunks(slot))
    if model.reserved_chunk is not None:
        mine[_address(model.reserved_chunk)] = model.reserved_chunk
    for chunk in kernel.chunks():
        ours_chunk = mine.pop(chunk.base_addr, None)
        if ours_chunk is None:
            yield StateDifference("lists", f"{chunk.base_addr:x}", "no such chunk in the model")
        else:
            yield from _chunk(ours_chunk, chunk, f"{chunk.base_addr:x}")
    for base in mine:
        yield StateDifference("lists", f"{base:x}", "no such chunk in the kernel")


def _address(chunk: Any) -> int:
    address: int = chunk.base_addr  # which no clause speaks of, and no view has
    return address


def _hex(addresses: list[int]) -> str:
    return "[" + " ".join(f"{a:x}" for a in addresses) + "]"


def _chunk(ours: ChunkView, theirs: ChunkView, base: str) -> Iterator[StateDifference]:
    yield from _values("counters", base, _COUNTERS, ours, theirs)
    for what, name, where in (
        ("areas", "alloc_map", "at bit "), ("populated", "populated", "")
    ):  # fmt: skip
        a, b = getattr(ours, name), getattr(theirs, name)
        if a != b:
            first = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), -1)
            yield StateDifference(what, base, f"first {where}{first}")
    yield from _values("hints", base, HINTS, ours.chunk_md, theirs.chunk_md, "chunk ")
    for index, blocks in enumerate(zip(ours.md_blocks, theirs.md_blocks, strict=False)):
        yield from _values("hints", base, HINTS, *blocks, f"block {index} ")


def _values(
    what: str, base: str, names: Sequence[str], ours: object, theirs: object, of: str = ""
) -> Iterator[StateDifference]:
    for name in names:
        a, b = getattr(ours, name), getattr(theirs, name)
        if a != b:
            yield StateDifference(what, base, f"{of}{name} {a}, kernel {b}")
