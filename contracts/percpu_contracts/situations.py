"""Where a clause about states could be broken at all: its situation.

A state clause can be asked of any state, also of one in which it has nothing to say. No clause is
called holding before its situation has occurred in a run that asked it ("sometimes" properties).
Contracts of functions need no entry here: they say NOT_ASKED themselves. Of one state alone that is
judged a clause holds also out of its situation, unless the state has nothing that it speaks of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from percpu_contracts.history import History
from percpu_contracts.registry import When, state_clauses
from percpu_spec.definitions import (
    Listing,
    dynamic_chunks,
    is_fully_free,
    listed_chunks,
    lists_of_slot,
    live_chunks,
)
from percpu_spec.views import AllocatorView, ChunkView

Situation = Callable[[AllocatorView, History], bool]


def _live(is_so: Callable[[ChunkView], object]) -> Situation:
    """Return the situation that some live chunk is so."""
    return lambda allocator, _: any(map(is_so, live_chunks(allocator)))


def _dynamic(is_so: Callable[[ChunkView], object]) -> Situation:
    """Return the situation that some chunk created since boot is so."""
    return lambda allocator, _: any(map(is_so, dynamic_chunks(allocator)))


_area_lives = _dynamic(lambda c: c.alloc_map.find(1) >= 0)
_partly_used_block = _live(
    lambda c: any(b.contig_hint and b.contig_hint < b.nr_bits for b in c.md_blocks)
)
_scan_hint = _live(lambda c: c.chunk_md.scan_hint > 0 or any(b.scan_hint for b in c.md_blocks))
_two_free_runs = _live(
    lambda c: 0 <= c.alloc_map.find(0) < c.alloc_map.find(1) < c.alloc_map.rfind(0)
)
_empty_page = _dynamic(lambda c: c.nr_empty_pop_pages > 0)
_hole_beside_use = _dynamic(
    lambda c: c.alloc_map.find(1) >= 0 and c.populated.find(0, 0, c.nr_pages) >= 0
)
_populated = _dynamic(lambda c: c.nr_populated > 0)
_isolated = _live(lambda c: c.isolated)


def _pages_went(allocator: AllocatorView, history: History) -> bool:
    return bool(history.given_back)


def _sidelined(allocator: AllocatorView, history: History) -> bool:
    numbers = lists_of_slot(allocator, allocator.sidelined_slot)
    return any(True for number in numbers for _ in allocator.slot_chunks(number))


def _free_chunk(allocator: AllocatorView, history: History) -> bool:
    return any(is_fully_free(chunk, allocator.geometry) for chunk in dynamic_chunks(allocator))


def _each_type(allocator: AllocatorView, history: History) -> bool:
    """Every type of chunks has an empty populated page that counts."""
    types = {
        allocator.chunk_type(chunk)
        for chunk in live_chunks(allocator)
        if chunk.nr_empty_pop_pages > 0 and not chunk.isolated
    }
    return len(types) == allocator.chunk_types


def _two_places(allocator: AllocatorView, history: History) -> bool:
    return len({number for number, _ in listed_chunks(allocator)}) > 1


def _km_chunk(allocator: AllocatorView, history: History) -> bool:
    return allocator.geometry.backing == "km" and any(True for _ in dynamic_chunks(allocator))


SITUATIONS: dict[str, Situation] = {
    "BAL-2": _free_chunk,
    "FLT-1": _each_type,
    "HINT-1": _partly_used_block,
    "HINT-2": _partly_used_block,
    "HINT-3": _partly_used_block,
    "HINT-4": _scan_hint,
    "HINT-5": _two_free_runs,
    "HINT-6": _two_free_runs,
    "HINT-7": _partly_used_block,
    "HINT-8": _empty_page,
    "ISO-2": _isolated,
    "LIST-1": _two_places,
    "LIST-3": _free_chunk,
    "LIST-4": _two_places,
    "MAP-2": _area_lives,
    "MAP-3": _area_lives,
    "MAP-5": _area_lives,
    "POP-1": _empty_page,
    "POP-2": _hole_beside_use,
    "POP-3": _populated,
    "POP-5": _km_chunk,
    "RCL-2": _pages_went,
    "RCL-3": _sidelined,
    "RCL-5": _isolated,
    "SLOT-2": _two_places,
}
"""By clause. What is asked of quiescent states only has its situation there, too."""

QUIESCENT = frozenset(state_clauses(When.QUIESCENT))


def subjectless(allocator: AllocatorView) -> dict[str, str]:
    """Return the clauses that speak of nothing that is there in a state, each with what is missing.

    The others are answered by their predicates, trivially too: a chunk without holes advertises its
    longest run.
    """
    reasons = {}
    if not any(map(_has_two_hints, live_chunks(allocator))):
        reasons["HINT-4"] = "no block or chunk has both a contig_hint and a scan_hint"
    if allocator.geometry.backing != "km":
        reasons["POP-5"] = "chunks are of percpu-vm"
    if allocator.sidelined_slot < 0 and allocator.to_depopulate_slot < 0:
        reasons["RCL-3"] = "neither a sidelined nor a to_depopulate list"
    return reasons


def _has_two_hints(chunk: ChunkView) -> bool:
    return any(md.contig_hint and md.scan_hint for md in (chunk.chunk_md, *chunk.md_blocks))


class SituationCoverage:
    """The clauses whose situation has occurred in a run; cheap once most have."""

    def __init__(self, never: Iterable[str] = ()) -> None:
        """Await every situation but those that cannot occur in the run."""
        self.awaited = SITUATIONS.keys() - set(never)
        self.never = frozenset(never)
        self.seen: set[str] = set()

    def look(self, allocator: AllocatorView, history: History, *, quiescent: bool) -> None:
        """Enter the awaited clauses whose situation is there now."""
        if not self.awaited:
            return
        listing = Listing(allocator)
        for clause in sorted(self.awaited):
            if clause in QUIESCENT and not quiescent:
                continue
            if SITUATIONS[clause](listing, history):
                self.awaited.discard(clause)
                self.seen.add(clause)

    def of(self, asked: Mapping[str, int]) -> Counter[str]:
        """Return how often each clause was asked, less those whose situation did not occur."""
        missing = self.awaited | self.never
        return Counter({c: n for c, n in asked.items() if n > 0 and c not in missing})
