"""Every clause about a state, evaluated over a whole allocator.

Verdicts about a block depend on its bits and hints alone. They are kept and computed anew only
where bits or hints differ from those they were computed for, so nothing is taken on trust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from percpu_contracts import balance, floats, hints, isolation, lists, maps, population, reclaim
from percpu_spec.definitions import (
    Listing,
    left_free,
    live_chunks,
    longest_across,
    longest_free_run,
    right_free,
)
from percpu_spec.geometry import Geometry
from percpu_spec.views import AllocatorView, ChunkView

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
    ("MAP-3", maps.block_bounds_delimit_areas),
)
CHUNK = (
    ("MAP-5", maps.shape_fits),
    ("HINT-1", lambda chunk, geometry: hints.chunk_hint_is_sound(chunk)),
    ("HINT-4", lambda chunk, geometry: hints.hint_is_ordered(chunk.chunk_md)),
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
    {"MAP-2", "HINT-4", "HINT-5", "HINT-6"}.union(
        clause for table in (BLOCK, CHUNK, SETTLED, ALLOCATOR) for clause, _ in table
    )
)
QUIESCENT_CLAUSES = [clause for clause, _ in QUIESCENT]


class _Seen:
    """A chunk's state when it was last judged, and the verdicts."""

    __slots__ = (
        "alloc_map",
        "block_broken",
        "blocks",
        "bound_map",
        "broken",
        "facts",
        "md",
        "rest",
    )

    def __init__(self) -> None:
        self.alloc_map = b""
        self.bound_map = b""
        self.blocks: list[tuple[int, ...]] = []
        self.md: tuple[int, ...] = ()
        self.rest: tuple[object, ...] = ()
        self.block_broken: list[list[Broken]] = []
        # of each block: free bits, and left, longest and right free run
        self.facts: list[tuple[int, tuple[int, int, int]]] = []
        self.broken: list[Broken] = []


def _changed(
    seen: _Seen, blocks: list[tuple[int, ...]], now: bytes, bounds: bytes, size: int
) -> list[int]:
    """Return the blocks whose hints or bits differ from those last seen.

    Bits count with one neighbour at either end, where an area may cross. Changed bits mostly show
    in the hints: around those the maps are compared block by block, elsewhere at one stroke.
    """
    was, bounds_were = seen.alloc_map, seen.bound_map
    by_hints = [i for i, hints in enumerate(blocks) if hints != seen.blocks[i]]
    first, behind = 0, len(blocks)
    if by_hints:
        first, behind = max(by_hints[0] - 1, 0), min(by_hints[-1] + 2, len(blocks))
        if not (
            now[: first * size + 1] == was[: first * size + 1]
            and now[behind * size - 1 :] == was[behind * size - 1 :]
            and bounds[: first * size + 1] == bounds_were[: first * size + 1]
            and bounds[behind * size - 1 :] == bounds_were[behind * size - 1 :]
        ):
            first, behind = 0, len(blocks)
    changed = []
    for index in range(first, behind):
        base = index * size
        at, end = (base - 1 if base else 0), base + size + 1
        if (
            blocks[index] != seen.blocks[index]
            or now[at:end] != was[at:end]
            or bounds[base:end] != bounds_were[base:end]
        ):
            changed.append(index)
    return changed


class WholeState:
    """Judges states of one allocator, one after the other."""

    def __init__(self) -> None:
        self._seen: dict[ChunkView, _Seen] = {}
        self.evaluations = 0
        self.quiescent_evaluations = 0
        self.live = 0  # chunks listed or owned in the last state judged

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
        listing = allocator if isinstance(allocator, Listing) else Listing(allocator)
        chunks = list(live_chunks(listing))
        self.live = len(chunks)
        if allocator.reserved_chunk is not None:
            chunks.append(allocator.reserved_chunk)
        for chunk in chunks:
            yield from self._chunk(chunk, geometry, chunk not in waiting, longest)
        if len(self._seen) > 2 * len(chunks) + 8:  # forget chunks long destroyed
            self._seen = {chunk: self._seen[chunk] for chunk in chunks}
        for clause, state in ALLOCATOR:
            wrong = state(listing)
            if wrong is not None:
                yield clause, wrong
        if quiescent:
            self.quiescent_evaluations += 1
            for clause, state in QUIESCENT:
                wrong = state(listing)
                if wrong is not None:
                    yield clause, wrong

    def _chunk(
        self, chunk: ChunkView, geometry: Geometry, settled: bool, longest: bool
    ) -> Iterable[Broken]:
        seen = self._seen.get(chunk)
        if seen is None:
            seen = self._seen[chunk] = _Seen()
        blocks = list(map(_hints_of, chunk.md_blocks))
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
        bounds = bytes(chunk.bound_map)
        self._blocks(chunk, geometry, seen, blocks, now, bounds, longest)
        broken = [entry for entries in seen.block_broken for entry in entries]
        free = sum(bits for bits, _ in seen.facts) * geometry.granule
        if chunk.free_bytes != free:
            broken.append(("MAP-2", f"free_bytes {chunk.free_bytes}, {free} bytes free"))
        longest_run, inside = longest_across((runs for _, runs in seen.facts), geometry.block_bits)
        wrong = hints.contig_is_close(chunk.chunk_md.contig_hint, longest_run, inside, geometry)
        if wrong is not None:
            broken.append(("HINT-5", wrong))
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
        seen.alloc_map, seen.bound_map = now, bounds
        seen.blocks, seen.md, seen.rest, seen.broken = blocks, md, rest, broken
        return broken

    def _blocks(
        self,
        chunk: ChunkView,
        geometry: Geometry,
        seen: _Seen,
        blocks: list[tuple[int, ...]],
        now: bytes,
        bounds: bytes,
        longest: bool,
    ) -> None:
        if len(seen.blocks) != len(blocks):
            seen.block_broken = [[] for _ in blocks]
            seen.blocks = [()] * len(blocks)
            seen.facts = [(0, (0, 0, 0))] * len(blocks)
        size = geometry.block_bits
        for index in _changed(seen, blocks, now, bounds, size):
            base = index * size
            end = base + size
            runs = left_free(now, base, end), longest_free_run(now, base, end)[1]
            seen.facts[index] = now.count(0, base, end), (*runs, right_free(now, base, end))
            broken: list[Broken] = []
            for clause, state in BLOCK + EQUAL_HINTS if longest else BLOCK:
                wrong = state(chunk, index, geometry)
                if wrong is not None:
                    broken.append((clause, wrong))
            wrong = hints.hint_is_ordered(chunk.md_blocks[index])
            if wrong is not None:
                broken.append(("HINT-4", f"block {index}: {wrong}"))
            seen.block_broken[index] = broken
