"""The clauses about states, as far as every variant is held to them, in plain predicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from percpu_contracts import floats, hints, isolation, lists, maps, population, reclaim
from percpu_reference.chunk import Chunk


def linked_both_ways(allocator: Any) -> str | None:
    """Every list reads the same backwards (LIST-1)."""
    for head in allocator.chunk_lists:
        link = head
        while True:
            if link.next.prev is not link:
                return f"list {head.slot} is not linked backwards"
            link = link.next
            if link is head:
                break
    return None


ALLOCATOR = (
    ("LIST-1", linked_both_ways),
    ("LIST-1", lists.chunks_have_one_place),
    ("LIST-3", lists.free_list_is_exact),
    ("LIST-4", lists.placement_is_explained),
    ("FLT-1", floats.float_is_counted),
    ("ISO-2", isolation.isolated_are_apart),
    ("RCL-5", reclaim.special_stay_active),
    ("POP-3", population.all_populated_pages_are_counted),
)
CHUNK = (
    ("POP-3", population.populated_pages_are_counted),
    ("RCL-2", reclaim.immutable_is_whole),
    ("MAP-2", maps.free_bytes_are_counted),
)
SETTLED = (
    ("POP-1", population.empty_pages_are_counted),
    ("POP-2", population.used_pages_are_populated),
)
HINTS = (
    ("HINT-1", hints.hints_are_sound),
    ("HINT-2", hints.left_is_exact),
    ("HINT-3", hints.right_is_exact),
    ("HINT-4", hints.hints_are_ordered),
    ("HINT-8", hints.emptiness_shows),
)


def broken_clauses(
    allocator: Any, unsettled: Sequence[Chunk], hints_too: bool
) -> Iterator[str]:
    """Yield what is wrong with a state; clauses that the variant breaks anyway are not asked.

    unsettled chunks have an area that is not populated yet.
    """
    clause, owed = allocator.monitor.last
    if clause:
        yield f"{clause}: {owed}"
    for clause, of_all in ALLOCATOR:
        wrong = of_all(allocator)
        if wrong is not None:
            yield f"{clause}: {wrong}"
    alive = list(allocator.chunks())
    if len(alive) != allocator.env.creates - allocator.env.destroys:
        yield f"LIST-1: {len(alive)} chunks on lists or owned, another number lives"
    for chunk in alive:
        settled = all(chunk is not other for other in unsettled)
        asked = CHUNK + (SETTLED if settled else ()) + (HINTS if hints_too else ())
        for clause, of_one in asked:
            wrong = of_one(chunk, allocator.geometry)
            if wrong is not None and clause not in allocator.EXPECTED:
                yield f"{clause}: {wrong}"
