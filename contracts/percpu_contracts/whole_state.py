"""Every clause about a state, evaluated over a whole allocator.

Verdicts about a chunk, or a block, depend on its maps, hints and counters alone. They are kept and
computed anew only where these differ from those they were computed for, so nothing is taken on
trust.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from percpu_contracts.clauses.hints import contig_is_close
from percpu_contracts.registry import Scope, When, asked
from percpu_contracts.violations import Breach
from percpu_spec.definitions import (
    Listing,
    left_free,
    live_chunks,
    longest_across,
    longest_free_run,
    right_free,
)
from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS, AllocatorView, ChunkView

Facts = tuple[int, tuple[int, int, int]]
"""Of a block: free bits, and the left, the longest and the right free run."""

_hints_of: Callable[[object], tuple[int, ...]] = attrgetter(*HINTS)
_counters_of: Callable[[object], tuple[object, ...]] = attrgetter(
    *("free_bytes", "nr_populated", "nr_empty_pop_pages", "immutable"),
    *("nr_pages", "start_offset", "end_offset"),
)

_BY_FACTS = frozenset({"MAP-2", "HINT-5"})
"""Chunk clauses that are judged by facts about blocks, which are kept from state to state."""


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """A chunk's state that was judged, and the verdicts."""

    hints: tuple[object, ...]  # of the blocks, of the chunk, and its counters
    alloc_map: bytes
    bound_map: bytes
    block_broken: list[list[Breach]]
    facts: list[Facts]  # of each block
    broken: list[Breach]


def _changed(
    seen: _Verdicts, blocks: Sequence[tuple[int, ...]], now: bytes, bounds: bytes, size: int
) -> list[int]:
    """Return the blocks whose hints or bits differ from those last seen.

    Bits count with one neighbour at either end, where an area may cross. Changed bits mostly show
    in the hints: around those the maps are compared block by block, elsewhere at one stroke.
    """
    was, bounds_were = seen.alloc_map, seen.bound_map
    blocks_were: Any = seen.hints[0]
    by_hints = [i for i, hints in enumerate(blocks) if hints != blocks_were[i]]
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
            blocks[index] != blocks_were[index]
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
_MOST_CHUNKS = 500  # whose verdicts are kept


class WholeState:
    """Judges states of one geometry, one after the other; of clauses in `without` none."""

    def __init__(self, without: Collection[str] = KERNELS) -> None:
        self._seen: dict[ChunkView, _Verdicts] = {}  # as each chunk was when it was last judged
        self._met: dict[object, _Verdicts] = {}  # chunks in states met, by hints and counters
        self.keeps = True  # verdicts by counters; not where these are symbols, which have no hash
        self._asked = _questions(frozenset(without))
        self.evaluations = 0
        self.quiescent_evaluations = 0
        self.live = 0  # chunks listed or owned in the last state judged

    def __deepcopy__(self, memo: dict[int, object]) -> WholeState:
        """Return one that remembers nothing: CrossHair copies an allocator on every path."""
        new = copy(self)
        new._seen, new._met = {}, {}
        return new

    def broken(
        self,
        allocator: AllocatorView,
        *,
        quiescent: bool = False,
        unsettled: Iterable[ChunkView] = (),
    ) -> Iterator[Breach]:
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
    ) -> Iterable[Breach]:
        """Return the clauses that a chunk breaks; settled: none of its areas awaits its pages."""
        blocks = tuple(map(_hints_of, chunk.md_blocks))
        rest = (_counters_of(chunk), bytes(chunk.populated), settled)
        hints = blocks, _hints_of(chunk.chunk_md), rest
        last = self._seen.get(chunk)
        if last is not None and _is(last, hints, chunk):
            return last.broken
        met = self._met.get(hints) if self.keeps else None
        if met is None or not _is(met, hints, chunk):
            met = self._judged(chunk, geometry, hints, last)
            if len(self._met) == _MOST_CHUNKS:
                self._met.clear()
            if self.keeps:
                self._met[hints] = met
        self._seen[chunk] = met
        return met.broken

    def _judged(
        self, chunk: ChunkView, geometry: Geometry, hints: tuple[Any, ...], last: _Verdicts | None
    ) -> _Verdicts:
        """Judge a chunk; last: the same one earlier, for the blocks that are still the same."""
        blocks, _, (_, _, settled) = hints
        now, bounds = bytes(chunk.alloc_map), bytes(chunk.bound_map)
        size = geometry.block_bits
        if last is None or len(last.facts) != len(blocks):
            changed: Iterable[int] = range(len(blocks))
            facts, block_broken = [_NO_FACTS] * len(blocks), [_NOTHING] * len(blocks)
        else:
            changed = _changed(last, blocks, now, bounds, size)
            facts, block_broken = last.facts.copy(), last.block_broken.copy()
        for index in changed:
            base = index * size
            end = base + size
            key = (
                not base,
                end == len(now),
                blocks[index],
                now[max(base - 1, 0) : end + 1],
                bounds[base : end + 1],
            )
            facts[index], block_broken[index] = self._block(chunk, geometry, index, key)
        broken = [entry for entries in block_broken for entry in entries]
        free = sum(bits for bits, _ in facts) * geometry.granule
        if chunk.free_bytes != free:
            broken.append(("MAP-2", f"free_bytes {chunk.free_bytes}, {free} bytes free"))
        longest_run, inside = longest_across((runs for _, runs in facts), size)
        wrong = contig_is_close(chunk, longest_run, inside, geometry)
        if wrong is not None:
            broken.append(("HINT-5", wrong))
        for clause, state in self._asked.settled if settled else self._asked.of_chunk:
            wrong = state(chunk, geometry)
            if wrong is not None:
                broken.append((clause, wrong))
        return _Verdicts(hints, now, bounds, block_broken, facts, broken)

    def _block(
        self, chunk: ChunkView, geometry: Geometry, index: int, key: object
    ) -> tuple[Facts, list[Breach]]:
        """Return the facts about a block, and what it breaks; key: all that decides these."""
        holding = self._asked.holding
        facts = holding.get(key)
        if facts is not None:
            return facts, _NOTHING
        bits, base = chunk.alloc_map, index * geometry.block_bits
        end = base + geometry.block_bits
        runs = left_free(bits, base, end), longest_free_run(bits, base, end)[1]
        facts = bits.count(0, base, end), (*runs, right_free(bits, base, end))
        broken = []
        for clause, state in self._asked.of_block:
            wrong = state(chunk, index, geometry)
            if wrong is not None:
                broken.append((clause, wrong))
        if not broken and len(holding) < _MOST_BLOCKS:
            holding[key] = facts
        return facts, broken


_NO_FACTS: Facts = (0, (0, 0, 0))
_NOTHING: list[Breach] = []


def _is(seen: _Verdicts, hints: tuple[object, ...], chunk: ChunkView) -> bool:
    """Return whether a chunk is in a state that was judged."""
    return (
        seen.hints == hints
        and seen.alloc_map == chunk.alloc_map
        and seen.bound_map == chunk.bound_map
    )
