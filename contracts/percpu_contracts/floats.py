"""The float: empty populated pages counted as available. Kernel: pcpu_update_empty_pages."""

from __future__ import annotations

from percpu_contracts.binding import states
from percpu_spec.definitions import empty_page_float, live_chunks
from percpu_spec.views import AllocatorView


@states("FLT-1")
def float_is_the_sum(allocator: AllocatorView) -> str | None:
    """The float is the sum over live chunks neither reserved nor isolated."""
    found, wanted = allocator.nr_empty_pop_pages, empty_page_float(allocator)
    return None if found == wanted else f"float {found}, expected {wanted} pages"


@states("FLT-1")
def float_is_counted(allocator: AllocatorView) -> str | None:
    """The float is the sum of the chunks' own counters, whether or not those are settled."""
    wanted = sum(
        chunk.nr_empty_pop_pages
        for chunk in live_chunks(allocator)
        if not chunk.isolated and chunk is not allocator.reserved_chunk
    )
    found = allocator.nr_empty_pop_pages
    return None if found == wanted else f"float {found}, chunks' counters sum to {wanted} pages"
