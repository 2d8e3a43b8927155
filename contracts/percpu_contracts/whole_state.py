"""Every clause about a state, evaluated over a whole allocator.

Verdicts about a block depend on its bits and hints alone. They are kept and computed anew only
where bits or hints differ from those they were computed for, so nothing is taken on trust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from percpu_spec.definitions import live_chunks
from percpu_spec.geometry import Geometry
from percpu_spec.views import AllocatorView, ChunkView

from percpu_contracts import balance, floats, hints, isolation, lists, maps, population, reclaim

Broken = tuple[str, str]
"""A clause id and what is wrong."""

_hints_of: Callable[[object], tuple[int, ...]] = attrgetter(
    "scan_hint",
    "scan_hint_start",
    "contig_hint",
    "contig_hint_start",
    "left_free",
    "right_free",
    "first_free",
)
_counters_of: Callable[[object], tuple[object, ...]] = attrgetter(
    "free_bytes", "nr_populated", "nr_empty_pop_pages", "immutable"
)

BLOCK = (
    ("HINT-1", hints.block_hints_are_sound),
    ("HINT-2", hints.block_left_is_exact),
    ("HINT-3", hints.block_right_is_exact),
    ("HINT-8", hints.block_emptiness_shows),
)
CHUNK = (
    ("MAP-5", maps.shape_fits),
    ("MAP-2", maps.free_bytes_are_counted),
    ("MAP-3", lambda chunk, geometry: maps.bounds_delimit_areas(chunk)),
    ("HINT-1", lambda chunk, geometry: hints.chunk_hint_is_sound(chunk)),
    ("HINT-4", lambda chunk, geometry: hints.hint_is_ordered(chunk.chunk_md)),
    ("HINT-5", hints.chunk_hint_is_close),
    ("HINT-7", lambda chunk, geometry: hints.chunk_first_free_is_exact(chunk)),
    ("POP-3", lambda chunk, geometry: population.populated_pages_are_counted(chunk)),
    ("RCL-2", lambda chunk, geometry: reclaim.immutable_is_whole(chunk)),
)
SETTLED = (
    ("POP-1", population.empty_pages_are_counted),
    ("POP-2", population.used_pages_are_populated),
)
ALLOCATOR = (
    ("LIST-1", lists.chunks_have_one_place),
    ("LIST-3", lists.free_list_is_exact),
    ("LIST-4", lists.placement_is_explained),
    ("SLOT-2", lists.layout_is),
    ("FLT-1", floats.float_is_counted),
    ("ISO-2", isolation.isolated_are_apart),
    ("RCL-5", reclaim.special_stay_active),
    ("POP-5", population.km_chunks_are_whole),
    ("POP-3", population.all_populated_pages_are_counted),
)
QUIESCENT = (
    ("RCL-3", reclaim.reclaim_is_done),
    ("BAL-2", balance.one_free_chunk),
)
EQUAL_HINTS = (("HINT-6", hints.block_hint_is_longest),)

STATE_CLAUSES = sorted(
    {clause for table in (BLOCK, CHUNK, SETTLED, ALLOCATOR) for clause, _ in table}
)
QUIESCENT_CLAUSES = [clause for clause, _ in QUIESCENT]


class _Seen:
    """A chunk's state when it was last judged, and the verdicts."""

    __slots__ = ("alloc_map", "block_broken", "blocks", "bound_map", "broken", "md", "rest")

    def __init__(self) -> None:
        self.alloc_map = b""
        self.bound_map = b""
        self.blocks: list[tuple[int, ...]] = []
        self.md: tuple[int, ...] = ()
        self.rest: tuple[object, ...] = ()
        self.block_broken: list[list[Broken]] = []
        self.broken: list[Broken] = []


class WholeState:
    """Judges states of one allocator, one after the other."""

    def __init__(self) -> None:
        self._seen: dict[ChunkView, _Seen] = {}
        self.evaluations = 0
        self.quiescent_evaluations = 0

    def broken(
        self,
        allocator: AllocatorView,
        *,
        quiescent: bool = False,
        unsettled: Iterable[ChunkView] = (),
        longest: bool = False,
    ) -> Iterator[Broken]:
        """Yield every broken clause of the state with what is wrong.

        unsettled: chunks with an area not populated yet, for which POP-1 and POP-2 wait. longest
        asks for HINT-6 too.
        """
        self.evaluations += 1
        geometry = allocator.geometry
        waiting = set(unsettled)
        chunks = list(live_chunks(allocator))
        if allocator.reserved_chunk is not None:
            chunks.append(allocator.reserved_chunk)
        for chunk in chunks:
            yield from self._chunk(chunk, geometry, chunk not in waiting, longest)
        if len(self._seen) > 2 * len(chunks) + 8:  # forget chunks long destroyed
            self._seen = {chunk: self._seen[chunk] for chunk in chunks}
        for clause, state in ALLOCATOR:
            wrong = state(allocator)
            if wrong is not None:
                yield clause, wrong
        if quiescent:
            self.quiescent_evaluations += 1
            for clause, state in QUIESCENT:
                wrong = state(allocator)
                if wrong is not None:
                    yield clause, wrong

    def _chunk(
        self, chunk: ChunkView, geometry: Geometry, settled: bool, longest: bool
    ) -> Iterable[Broken]:
        seen = self._seen.get(chunk)
        if seen is None:
            seen = self._seen[chunk] = _Seen()
        blocks = [_hints_of(block) for block in chunk.md_blocks]
        md = _hints_of(chunk.chunk_md)
        rest = (_counters_of(chunk), bytes(chunk.populated), settled, longest)
        same_map = seen.alloc_map == chunk.alloc_map
        if (
            same_map
            and seen.blocks == blocks
            and seen.md == md
            and seen.rest == rest
            and seen.bound_map == chunk.bound_map
        ):
            return seen.broken

        now = seen.alloc_map if same_map else bytes(chunk.alloc_map)
        self._blocks(chunk, geometry, seen, blocks, now, longest)
        broken = [entry for entries in seen.block_broken for entry in entries]
        for clause, state in CHUNK:
            wrong = state(chunk, geometry)
            if wrong is not None:
                broken.append((clause, wrong))
        if longest:
            wrong = hints.chunk_hint_is_longest(chunk)
            if wrong is not None:
                broken.append(("HINT-6", wrong))
        if settled:
            for clause, state in SETTLED:
                wrong = state(chunk, geometry)
                if wrong is not None:
                    broken.append((clause, wrong))
        seen.alloc_map, seen.bound_map = now, bytes(chunk.bound_map)
        seen.blocks, seen.md, seen.rest, seen.broken = blocks, md, rest, broken
        return broken

    def _blocks(
        self,
        chunk: ChunkView,
        geometry: Geometry,
        seen: _Seen,
        blocks: list[tuple[int, ...]],
        now: bytes,
        longest: bool,
    ) -> None:
        if len(seen.blocks) != len(blocks):
            seen.block_broken = [[] for _ in blocks]
            seen.blocks = [()] * len(blocks)
        before = seen.alloc_map
        size = geometry.block_bits
        for index, found in enumerate(blocks):
            base = index * size
            if found == seen.blocks[index] and (
                now is before or now[base : base + size] == before[base : base + size]
            ):
                continue
            broken: list[Broken] = []
            for clause, state in BLOCK + EQUAL_HINTS if longest else BLOCK:
                wrong = state(chunk, index, geometry)
                if wrong is not None:
                    broken.append((clause, wrong))
            wrong = hints.hint_is_ordered(chunk.md_blocks[index])
            if wrong is not None:
                broken.append(("HINT-4", f"block {index}: {wrong}"))
            seen.block_broken[index] = broken
