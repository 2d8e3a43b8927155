"""Stale translations. Kernel: pcpu_post_unmap_tlb_flush, the vmalloc area's lazy purge."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from percpu_contracts.clauses.population import area_pages
from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, states
from percpu_spec.steps import Step
from percpu_spec.views import AllocatorView


@states("TLB-1")
def no_stale_translation(pages: Iterable[int], stale: Collection[int]) -> str | None:
    """No page address handed out is one that a CPU may still translate to a page given back."""
    for page in pages:
        if page in stale:
            return f"page address {page:#x} handed out before its old translation was flushed"
    return None


@states("TLB-1", Scope.STEP, When.STEP)
def area_is_flushed(step: Step, allocator: AllocatorView, history: History) -> str | None:
    """No CPU can hold an old translation of the pages of an area that is handed out."""
    if step.area is None or not history.given_back:
        return NOT_ASKED
    chunk = step.area.chunk
    pages = range(*area_pages(step.area, allocator.geometry))
    if not any((chunk, page) in history.given_back for page in pages):
        return NOT_ASKED
    return no_stale_translation(pages, {page for held, page in history.stale if held is chunk})


@states("TLB-2")
def failed_map_is_flushed(flushed: bool) -> str | None:
    """Pages that could not be mapped in all units were flushed before they went back."""
    return None if flushed else "pages mapped in some units went back without a flush"
