"""What the stubs know of a state beside the allocator's own books: page tables, charges, pages."""

from __future__ import annotations

from collections.abc import Iterator

from percpu_contracts.clauses.isolation import released_is_hidden
from percpu_proofs.kernel.postconditions import judged_pages, wrong_charges
from percpu_proofs.kernel.search.records import SearchState

Found = tuple[str, str]
"""A clause, and what is wrong."""


def broken_below(state: SearchState, settled: bool) -> Iterator[Found]:
    """Yield what the page tables contradict in any state.

    A page that is counted but not mapped, or whose old translation may be seen, belongs to a chunk
    that no request can find (ISO-1); none has areas (POP-2).
    """
    size = state.geometry.block_bits
    for chunk in state.chunks:
        if chunk.kind or (chunk.mapped == chunk.populated and 1 not in chunk.stale):
            continue
        for page in range(chunk.nr_pages):
            counted = chunk.populated[page] and not chunk.mapped[page]
            if counted or chunk.stale[page]:
                wrong = released_is_hidden(state, chunk)
                if wrong is not None:
                    what = "is counted and not mapped" if counted else "is not flushed yet"
                    yield "ISO-1", f"page {page} {what}: {wrong}"
            used = 1 in chunk.alloc_map[page * size : (page + 1) * size]
            if used and settled and not chunk.mapped[page]:
                yield "POP-2", f"page {page} holds an area and is not mapped"


def broken_at_rest(state: SearchState) -> Iterator[Found]:
    """Yield what page tables, pages and charges contradict where nothing is under way.

    A mark of a failed atomic allocation is there with the work that it asked for, or not at all.
    """
    if state.atomic_alloc_failed and state.async_enabled:
        yield "BAL-5", "the mark of a failed atomic allocation is set, and no work is pending"
    populated = 0
    for chunk in state.chunks:
        if chunk.kind:
            continue
        populated += chunk.nr_populated
        if chunk.mapped != chunk.populated:
            page = next(p for p in range(chunk.nr_pages) if chunk.mapped[p] != chunk.populated[p])
            what = "mapped, not counted" if chunk.mapped[page] else "counted, not mapped"
            yield "POP-3", f"page {page} is {what} at rest"
    for clause, wrong in judged_pages(state.live_pages, populated, state.geometry):
        if wrong is not None:
            yield clause, wrong
    if state.geometry.memcg:
        owed = wrong_charges(state.charged, state.chunks, state.geometry)
        if owed is not None:
            yield "ACC-1", owed
