"""States of an allocator, of the model or compiled, as counterexamples show them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from percpu_contracts.steps import floats
from percpu_proofs.counterexample.record import ChunkRow, State
from percpu_proofs.show.picture import Label, by_id, page_row, picture_of_chunk, placed_chunks
from percpu_reference.variants import Allocator
from percpu_spec.views import AllocatorView


def state_of(
    allocator: Any,
    mutex: str = "",
    losing: Callable[[Any, int], bool] = lambda _chunk, _page: False,
    label: Label = by_id,
) -> State:
    """Return the present state. mutex: who holds it. losing: whether a chunk's page is going."""
    bits = allocator.geometry.block_bits
    rows = []
    for place, chunk in placed_chunks(allocator):
        gone = [page for page in range(chunk.nr_pages) if losing(chunk, page)]
        picture = picture_of_chunk(allocator, chunk, label(chunk), place)
        rows.append(ChunkRow(picture.name, place, page_row(chunk, bits, gone), picture))
    return State(tuple(_counters(allocator)), tuple(rows), mutex)


def _counters(allocator: AllocatorView) -> Iterator[tuple[str, int]]:
    """Yield the counters that clauses speak of, under the kernel's names."""
    counted = floats(allocator)
    per_type = getattr(type(allocator), "float_of", None) is not Allocator.float_of
    if allocator.chunk_types > 1 and per_type:
        for number, pages in enumerate(counted):
            yield f"pcpu_nr_empty_pop_pages[{number}]", pages
    else:
        yield "pcpu_nr_empty_pop_pages", counted[0]
    yield "pcpu_nr_populated", allocator.nr_populated
    yield "pcpu_atomic_alloc_failed", int(allocator.atomic_alloc_failed)
    yield "balance work pending", int(allocator.work_pending)
