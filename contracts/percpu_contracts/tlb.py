"""Stale translations. Kernel: pcpu_post_unmap_tlb_flush, the vmalloc area's lazy purge."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from percpu_contracts.binding import states


@states("TLB-1")
def no_stale_translation(pages: Iterable[int], stale: Collection[int]) -> str | None:
    """No page address handed out is one that a CPU may still translate to a page given back."""
    for page in pages:
        if page in stale:
            return f"page address {page:#x} handed out before its old translation was flushed"
    return None
