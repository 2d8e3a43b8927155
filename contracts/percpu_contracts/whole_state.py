"""Every clause about a state, evaluated over a whole allocator.

Verdicts about a block depend on its bits and hints alone. They are kept and computed anew only
where bits or hints differ from those they were computed for, so nothing is taken on trust.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from operator import attrgetter

from percpu_contracts import hints
from percpu_contracts.registry import Scope, When, asked
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

Facts = tuple[int, tuple[int, int, int]]
"""Of a block: free bits, and the left, the longest and the right free run."""

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

_BY_FACTS = frozenset({"MAP-2", "HINT-5"})
"""Chunk clauses that are judged by facts about blocks, which are kept from state to state."""


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
        self.facts: list[Facts] = []  # of each block
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


KERNELS = frozenset({"HINT-6"})
"""What is not asked of the kernel's own algorithms."""


class _Questions:
    """What is asked of states, but for some clauses, and the blocks of which all of it holds.

    Of these, by all that the clauses can see of a block: free bits, and left, longest and right
    free run.
    """

    def __init__(self, without: frozenset[str]) -> None:
        self.of_block = asked(Scope.BLOCK, When.ALWAYS, without=without)
        self.of_chunk = asked(Scope.CHUNK, When.ALWAYS, without=_BY_FACTS | without)
        self.settled = self.of_chunk + asked(Scope.CHUNK, When.SETTLED, without=without)
        self.of_all = asked(Scope.ALLOCATOR, When.ALWAYS, When.ISOLATED, without=without)
        self.at_rest = self.of_all + asked(Scope.ALLOCATOR, When.QUIESCENT, without=without)
        self.holding: dict[object, Facts] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> _Questions:
        """Return itself: it is nobody's state, and CrossHair copies an allocator on every path."""
        return self


_questions = cache(_Questions)
_MOST_BLOCKS = 20_000  # that are kept


class WholeState:
    """Judges states of one allocator, one after the other; of clauses in `without` none."""

    def __init__(self, without: Collection[str] = KERNELS) -> None:
        self._seen: dict[ChunkView, _Seen] = {}
        self._asked = _questions(frozenset(without))
        self.evaluations = 0
        self.quiescent_evaluations = 0
        self.live = 0  # chunks listed or owned in the last state judged

    def broken(
        self,
        allocator: AllocatorView,
        *,
        quiescent: bool = False,
        unsettled: Iterable[ChunkView] = (),
    ) -> Iterator[Broken]:
        """Yield every broken clause of the state with what is wrong.

        unsettled: chunks with an area not populated yet, for which POP-1 and POP-2 wait.
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
            yield from self.broken_by(chunk, geometry, chunk not in waiting)
        if len(self._seen) > 2 * len(chunks) + 8:  # forget chunks long destroyed
            self._seen = {chunk: self._seen[chunk] for chunk in chunks}
        of_all = self._asked.of_all
        if quiescent:
            self.quiescent_evaluations += 1
            of_all = self._asked.at_rest
        for clause, state in of_all:
            wrong = state(listing)
            if wrong is not None:
                yield clause, wrong

    def broken_by(
        self, chunk: ChunkView, geometry: Geometry, settled: bool
    ) -> Iterable[Broken]:
        """Return the clauses that a chunk breaks; settled: none of its areas awaits its pages."""
        seen = self._seen.get(chunk)
        if seen is None:
            seen = self._seen[chunk] = _Seen()
        blocks = list(map(_hints_of, chunk.md_blocks))
        md = _hints_of(chunk.chunk_md)
        rest = (_counters_of(chunk), bytes(chunk.populated), settled)
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
        self._blocks(chunk, geometry, seen, blocks, now, bounds)
        broken = [entry for entries in seen.block_broken for entry in entries]
        free = sum(bits for bits, _ in seen.facts) * geometry.granule
        if chunk.free_bytes != free:
            broken.append(("MAP-2", f"free_bytes {chunk.free_bytes}, {free} bytes free"))
        longest_run, inside = longest_across((runs for _, runs in seen.facts), geometry.block_bits)
        wrong = hints.contig_is_close(chunk.chunk_md.contig_hint, longest_run, inside, geometry)
        if wrong is not None:
            broken.append(("HINT-5", wrong))
        for clause, state in self._asked.settled if settled else self._asked.of_chunk:
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
    ) -> None:
        if len(seen.blocks) != len(blocks):
            seen.block_broken = [[] for _ in blocks]
            seen.blocks = [()] * len(blocks)
            seen.facts = [(0, (0, 0, 0))] * len(blocks)
        size, holding = geometry.block_bits, self._asked.holding
        for index in _changed(seen, blocks, now, bounds, size):
            base = index * size
            end = base + size
            key = (
                not base,
                end == len(now),
                blocks[index],
                now[max(base - 1, 0) : end + 1],
                bounds[base : end + 1],
            )
            facts = holding.get(key)
            if facts is not None:
                seen.facts[index], seen.block_broken[index] = facts, []
                continue
            runs = left_free(now, base, end), longest_free_run(now, base, end)[1]
            seen.facts[index] = now.count(0, base, end), (*runs, right_free(now, base, end))
            broken: list[Broken] = []
            for clause, state in self._asked.of_block:
                wrong = state(chunk, index, geometry)
                if wrong is not None:
                    broken.append((clause, wrong))
            seen.block_broken[index] = broken
            if not broken and len(holding) < _MOST_BLOCKS:
                holding[key] = seen.facts[index]
