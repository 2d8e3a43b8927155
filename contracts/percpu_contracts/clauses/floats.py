"""The float: empty populated pages counted as available. Kernel: pcpu_update_empty_pages."""

from __future__ import annotations

from percpu_contracts.registry import Scope, When, states
from percpu_spec.counts import counted
from percpu_spec.definitions import chunks_of_type
from percpu_spec.views import AllocatorView


@states("FLT-1", Scope.ALLOCATOR, When.ALWAYS)
def float_is_counted(allocator: AllocatorView) -> str | None:
    """The float is the sum of the chunks' own counters, whether or not those are settled."""
    reserved = allocator.reserved_chunk
    for kind in range(allocator.chunk_types):
        wanted = sum(
            chunk.nr_empty_pop_pages
            for chunk in chunks_of_type(allocator, kind)
            if not chunk.isolated and chunk is not reserved
        )
        found = allocator.float_of(kind)
        if found != wanted:
            of = _of(allocator, kind)
            return f"float {found}{of}, chunks' counters sum to {counted(wanted, 'page')}"
    return None


def _of(allocator: AllocatorView, kind: int) -> str:
    return f" of chunk type {kind}" if allocator.chunk_types > 1 else ""
