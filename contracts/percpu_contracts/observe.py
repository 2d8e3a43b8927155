"""Telling what steps do: an allocator class that enters its deeds in the history.

The class has no contracts; what it adds costs nothing but where something is done to a chunk.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

from percpu_contracts.history import History
from percpu_spec.steps import Deed

C = TypeVar("C")

_MADE: dict[type, type] = {}


def observed(cls: type[C]) -> type[C]:
    """Return a subclass, of the same layout, that tells the history of its monitor what it does."""
    if cls not in _MADE:
        _MADE[cls] = _observed(cls)
    return cast("type[C]", _MADE[cls])


def _observed(base: Any) -> type:
    class Observed(base):  # type: ignore[misc]
        """An allocator whose steps are told."""

        __slots__ = ()

        def alloc_area(self, chunk: Any, alloc_bits: int, align: int, start: int) -> Any:
            off = base.alloc_area(self, chunk, alloc_bits, align, start)
            if off >= 0:
                at = off // self.granule
                _past(self).tell(Deed.PLACED, chunk, at, at + alloc_bits)
            return off

        def chunk_populated(self, chunk: Any, page_start: int, page_end: int) -> None:
            base.chunk_populated(self, chunk, page_start, page_end)
            _past(self).tell(Deed.POPULATED, chunk, page_start, page_end)

        def depopulate_chunk(self, chunk: Any, page_start: int, page_end: int) -> None:
            base.depopulate_chunk(self, chunk, page_start, page_end)
            mapped = self.geometry.backing == "vm"  # those of km stay as long as their chunk
            _past(self).released(chunk, range(page_start, page_end) if mapped else ())
            _past(self).tell(Deed.RELEASED, chunk, page_start, page_end)

        def post_unmap_tlb_flush(self, chunk: Any, page_start: int, page_end: int) -> None:
            base.post_unmap_tlb_flush(self, chunk, page_start, page_end)
            _past(self).flushed(chunk, range(page_start, page_end))
            _past(self).tell(Deed.FLUSHED, chunk, page_start, page_end)

        def destroy_chunk(self, chunk: Any) -> None:
            base.destroy_chunk(self, chunk)
            _past(self).destroyed(chunk)
            _past(self).tell(Deed.DESTROYED, chunk)

    Observed.__name__ = Observed.__qualname__ = base.__name__
    Observed.__module__ = base.__module__
    return Observed


def _past(allocator: Any) -> History:
    past: History = allocator.monitor.history
    return past
