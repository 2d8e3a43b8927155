"""Small states for obligations: an allocator with a first chunk and chunks that a case chooses.

The geometry keeps units of at least 16 bytes and a reclaim threshold of at least one page; below
that the kernel's arithmetic means something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from percpu_contracts.functions.operations import counts_pages
from percpu_contracts.history import History
from percpu_contracts.monitor import Monitor
from percpu_proofs.prove.small.case import Size, ask, claim
from percpu_proofs.prove.small.history import memo, with_history
from percpu_proofs.prove.small.state_clauses import judge_state
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.backing import KmBacking
from percpu_reference.chunk import Block, Chunk
from percpu_reference.variants import Allocator, with_backing
from percpu_spec.definitions import (
    empty_populated_pages,
    first_free,
    left_free,
    longest_free_run,
    right_free,
)
from percpu_spec.geometry import Geometry

PAGES = "a chunk of {pages} pages, each unpopulated, empty or used"
"""The bound of an obligation on `chunk_of_pages`."""
ANYWHERE = PAGES + ", wherever it may be"
"""The same with `put_somewhere`."""
BITS = "a chunk of {pages} pages with {bits} map bits each, any bits used"
"""On `chunk_of_bits`."""
BLOCK = "a block of {bits} map bits, any bits used"
OTHERS = "; {pages} blocks in all, the others free, full or used at one end"
"""BLOCK, what is said of its hints, and OTHERS: on `chunk_with_block`."""

T = TypeVar("T")

FIRST_PAGES = 2
"""Pages of the first chunk."""


@memo
def small_geometry(size: Size, changes: tuple[tuple[str, Any], ...]) -> Geometry:
    """Return the geometry of a case; LOW and HIGH are one page unless changed."""
    page = size.bits * 4
    unit = size.pages * page
    assume(unit >= 16)
    fields: dict[str, Any] = {"empty_low": 1, "empty_high": 1, "cpus": 2, "least_unit": unit}
    fields |= dict(changes)
    dyn = min(FIRST_PAGES, size.pages) * page
    divisor = min(4, max(size.pages - 1, 1))
    return Geometry(
        page=page, unit=unit, static=0, reserved=0, dyn=dyn, reclaim_divisor=divisor, **fields
    )


def exact_hints(block: Block, bits: Any, start: int, end: int) -> None:
    """Give a block, or a whole chunk, the exact hints of the bits [start, end), no scan_hint."""
    at, length = longest_free_run(bits, start, end)
    block.contig_hint, block.contig_hint_start = length, at - start
    block.scan_hint = block.scan_hint_start = 0
    block.left_free = left_free(bits, start, end)
    block.right_free = right_free(bits, start, end)
    block.first_free = first_free(bits, start, end)


def _new_chunk(geometry: Geometry, bits: Sequence[Any], populated: Sequence[Any]) -> Chunk:
    """Return a chunk with these maps, exact hints and counters."""
    size = geometry.block_bits
    made: Any = Chunk(geometry, 0, len(populated), 0)
    made.alloc_map = bitmap = bytearray(bits)
    bounds = [
        (bit and (i % size == 0 or not bits[i - 1])) or (i > 0 and not bit and bits[i - 1])
        for i, bit in enumerate(bits)
    ]
    made.bound_map = bytearray([*bounds, bits[-1]])
    made.populated = bytearray(populated)
    exact_hints(made.chunk_md, bitmap, 0, len(bits))
    for index, block in enumerate(made.md_blocks):
        exact_hints(block, bitmap, index * size, (index + 1) * size)
    made.free_bytes = bitmap.count(0) * geometry.granule
    made.nr_populated = made.populated.count(1)
    made.nr_empty_pop_pages = empty_populated_pages(made, geometry)
    chunk: Chunk = made
    return chunk


_CHUNKS: dict[Any, Chunk] = {}
"""Chunks that were made, to be copied: cases that follow one another have the same."""
_MOST_CHUNKS = 64

_ALLOCATORS: dict[Any, Any] = {}
"""Allocators with their first chunk, to be copied: most of a case's time would go into booting."""


class Scene:
    """An allocator before the call in question, and the inputs of the case.

    The first chunk has two pages, of which first_empty are free; the rest is one area a page.
    guarded: misuse of the locks and of what they protect is seen, as what a callee is owed.
    shape: the allocator's size, where it is not that of the case.
    """

    afresh = False  # whether each gets an allocator of its own, not that of the one before

    def __init__(
        self,
        cls: type[Allocator],
        choose: Choices,
        size: Size,
        *,
        first_empty: int = 0,
        lock: bool = True,
        mutex: bool = False,
        stats: bool = False,
        guarded: bool = False,
        shape: Size | None = None,
        **changes: Any,
    ) -> None:
        self.choose = choose
        self.case = size
        self.size = size = shape or size
        self.guarded = guarded
        self.chunks: list[Chunk] = []
        with choose.plain():
            key = cls, size, first_empty, stats, guarded, tuple(sorted(changes.items()))
            if key not in _ALLOCATORS:
                self._boot(cls, first_empty, stats, changes)
                monitor = Monitor(cls.EXPECTED, cls.NOT_APPLICABLE, strict=False)
                _ALLOCATORS[key] = self.allocator, *self.allocator.clone(), monitor
            booted, allocator, copies, monitor = _ALLOCATORS[key]
            if self.afresh or guarded:
                allocator, _ = booted.clone()
                monitor = Monitor(cls.EXPECTED, cls.NOT_APPLICABLE, strict=False)
                monitor.whole_state.keeps = not self.afresh
            else:
                allocator.restore(booted, copies)
                monitor.begin(History())
            self.allocator: Any = allocator
            self.geometry: Geometry = allocator.geometry
            allocator.monitor = monitor
            self.allocator.lock, self.allocator.alloc_mutex = lock, mutex

    def _boot(
        self, cls: type[Allocator], first_empty: int, stats: bool, changes: dict[str, Any]
    ) -> None:
        size = self.size
        self.geometry = small_geometry(size, tuple(sorted(changes.items())))
        if not issubclass(cls, KmBacking):
            cls = with_backing(cls, self.geometry.backing)
        self.allocator = with_history(cls, self.guarded)(self.geometry, stats=stats)
        self.allocator.monitor = Monitor(cls.EXPECTED, cls.NOT_APPLICABLE, strict=False)
        self.allocator.setup_slots()
        self.allocator.reserved_chunk = None
        pages = min(FIRST_PAGES, size.pages)
        used = pages - first_empty
        bits = [n // size.bits < used for n in range(pages * size.bits)]
        first = self._count(_new_chunk(self.geometry, bits, [1] * pages), live=False)
        first.immutable = True
        self.allocator.first_chunk = first
        self.put(first)

    def chunk(self, bits: Sequence[Any], populated: Sequence[Any]) -> Chunk:
        """Return a chunk with these maps, exact hints and counters, on no list.

        A used bit starts an area of its own where a page begins or the bit before it is free.
        """
        memcg = bool(self.geometry.memcg)
        with self.choose.plain(reading_symbols=False):
            key = self.size.bits, tuple(bits), tuple(populated)
            if key not in _CHUNKS:
                if len(_CHUNKS) == _MOST_CHUNKS:
                    _CHUNKS.clear()
                _CHUNKS[key] = _new_chunk(self.geometry, *key[1:])
            chunk = _CHUNKS[key].clone()
            chunk.id = len(self.chunks) + 1
            chunk.base_addr = chunk.id << 20
            chunk.obj_exts = {} if memcg else None
        self._count(chunk, live=True)
        self.chunks.append(chunk)
        return chunk

    def free_chunk(self, populated: Sequence[Any] | None = None) -> Chunk:
        """Return a fully free chunk, populated unless told which pages are."""
        pages = [1] * self.size.pages if populated is None else populated
        return self.chunk([0] * self.size.pages * self.size.bits, pages)

    def full_chunk(self) -> Chunk:
        """Return a populated chunk all of whose bits are used."""
        return self.chunk([1] * self.size.pages * self.size.bits, [1] * self.size.pages)

    def some_pages(self) -> list[int]:
        """Choose which pages of a chunk are populated."""
        return [self.choose.number(2) for _ in range(self.size.pages)]

    def chunk_of_bits(self) -> Chunk:
        """Return a populated chunk whose map bits the case chooses."""
        bits = [self.choose.number(2) for _ in range(self.size.pages * self.size.bits)]
        return self.chunk(bits, [1] * self.size.pages)

    def chunk_with_block(self, index: int = 0) -> Chunk:
        """Return a populated chunk with any block of this number; the others are alike.

        They are free, full, or used at one end.
        """
        bits = self.size.bits
        block = [self.choose.number(2) for _ in range(bits)]
        other = [[0] * bits, [1] * bits, [1] + [0] * (bits - 1), [0] * (bits - 1) + [1]]
        rest = other[self.choose.number(4)] if self.size.pages > 1 else []
        behind = self.size.pages - 1 - index
        return self.chunk(rest * index + block + rest * behind, [1] * self.size.pages)

    def chunk_of_pages(self, *, first_used: bool = False) -> Chunk:
        """Return a chunk each of whose pages is unpopulated, empty, or populated and used.

        first_used: its first page is used.
        """
        states = [2] if first_used else []
        states += [self.choose.number(3) for _ in range(self.size.pages - len(states))]
        bits = [state == 2 for state in states for _ in range(self.size.bits)]
        return self.chunk(bits, [state > 0 for state in states])

    def chunk_of_used_bits(self) -> Chunk:
        """Return a chunk whose bits the case chooses; an empty page is populated or not."""
        bits: list[int] = []
        populated: list[int] = []
        for _ in range(self.size.pages):
            page = [self.choose.number(2) for _ in range(self.size.bits)]
            bits += page
            populated.append(1 if any(page) else self.choose.number(2))
        return self.chunk(bits, populated)

    def put(self, chunk: Chunk, number: int = -1, *, isolated: bool = False) -> Chunk:
        """Put a chunk to the tail of a list, of its computed one unless told, and count it."""
        allocator = self.allocator
        chunk.isolated = isolated
        slot = allocator.chunk_slot(chunk) if number < 0 else number
        head = allocator.chunk_lists[slot]
        chunk.prev, chunk.next = head.prev, head
        head.prev.next = chunk
        head.prev = chunk
        if not isolated:
            allocator.nr_empty_pop_pages += chunk.nr_empty_pop_pages
        return chunk

    def isolate(self, chunk: Chunk) -> Chunk:
        """Put a chunk on to_depopulate, where nothing is hidden from reclaim, and count it."""
        return self.put(chunk, self.allocator.to_depopulate_slot, isolated=True)

    def own(self, chunk: Chunk) -> Chunk:
        """Put a chunk into the hands of the step under way."""
        self.allocator.owned.append(chunk)
        self.allocator.nr_empty_pop_pages += chunk.nr_empty_pop_pages
        return chunk

    def put_somewhere(self, chunk: Chunk) -> Chunk:
        """Put a chunk where it may be: its list, slot 0, sidelined or to_depopulate."""
        allocator = self.allocator
        where = self.choose.number(4)
        if where == 0:
            return self.put(chunk)
        if where == 1:  # relegated
            assume(0 < allocator.chunk_slot(chunk) < allocator.relegation_slot)
            assume(chunk.free_bytes < self.geometry.unit)
            return self.put(chunk, 0)
        if where == 2:  # never fully free, and without empty pages where reclaim is fixed
            assume(chunk.free_bytes < self.geometry.unit)
            assume("RCL-3" in allocator.EXPECTED or not chunk.nr_empty_pop_pages)
        slots = (allocator.sidelined_slot, allocator.to_depopulate_slot)
        return self.put(chunk, slots[where - 2], isolated=True)

    def _count(self, chunk: Chunk, *, live: bool) -> Chunk:
        """Count a chunk that was made, and its pages among those held if they live."""
        allocator = self.allocator
        allocator.nr_populated += chunk.nr_populated
        allocator.env.creates += 1
        if live:
            allocator.env.live_pages += self.geometry.cpus * chunk.nr_populated
        return chunk

    def refill(self, chunk: Chunk) -> None:
        """Give the blocks of a chunk, and its first_free, what its changed map says."""
        bits = self.size.bits
        for index, block in enumerate(chunk.md_blocks):
            exact_hints(block, chunk.alloc_map, index * bits, (index + 1) * bits)
        chunk.chunk_md.first_free = first_free(chunk.alloc_map, 0, chunk.map_bits)

    def pick(self, among: Iterable[T]) -> T:
        """Choose one of these; where there is none the case says nothing."""
        members = list(among)
        assume(members)
        return self.choose.pick(members)

    def range_in(self, count: int) -> tuple[int, int]:
        """Choose a range [start, end) of so many bits or pages that is not empty."""
        start = self.choose.number(count)
        return start, start + 1 + self.choose.number(count - start)

    def area_in(self, chunk: Chunk) -> tuple[int, int]:
        """Choose any area of a chunk: offset and size in bytes."""
        start, end = self.range_in(chunk.map_bits)
        return self.geometry.granule * start, self.geometry.granule * (end - start)

    def request(self) -> int:
        """Choose a size in bytes: every number of granules up to a unit."""
        return self.geometry.granule * (1 + self.choose.number(self.geometry.unit_bits))

    def judge(
        self,
        *,
        unsettled: Iterable[Chunk] = (),
        hints_too: bool = False,
        pages_too: bool = False,
    ) -> None:
        """Ask every clause about states now. Raises BrokenError.

        Those the variant is known to break are left out; unsettled chunks have an area that is
        not populated yet. pages_too: how many backing pages are held, were the step alone (POP-4).
        """
        judge_state(self.allocator, list(unsettled), hints_too=hints_too)
        if pages_too:
            self.judge_pages()

    def ask(self, clause: str, wrong: str | None) -> None:
        """Take a predicate's answer if the variant is held to the clause. Raises BrokenError."""
        if clause not in self.allocator.EXPECTED:
            ask(clause, wrong)

    def judge_pages(self) -> None:
        """Ask how many backing pages are held, were the step alone (POP-4). Raises BrokenError."""
        history = self.allocator.monitor.history
        concurrent, history.concurrent = history.concurrent, False
        wrong = counts_pages(self.allocator)
        history.concurrent = concurrent
        ask("POP-4", wrong)

    def judge_locks(self) -> None:
        """Claim that no lock is held. Raises BrokenError."""
        held = self.allocator.lock or self.allocator.alloc_mutex
        claim("LOCK-2", not held, "a lock is held after the operation")
