"""R1: only a drained chunk is sidelined."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.balance import Balance
from percpu_reference.chunk import Chunk


class SidelineDrained(Balance):
    """pcpu_reclaim_populated: a chunk with an empty populated page left is scanned once more.

    Reclaim walks a chunk's pages downwards and releases pcpu_lock for every range and for the flush
    of the TLB. A free meanwhile can empty a page above the cursor, or any page during the flush. It
    moves the chunk to the head of to_depopulate and asks for work, but reclaim then sidelines the
    chunk whatever it holds, and the work asked for finds nothing to do. Here a chunk with empty
    pages stays on to_depopulate, whose loop takes it again. Every further scan is owed to a free,
    and ends by the float's test like the first, so the loop ends when the frees do.
    """

    __slots__ = ()

    NAME: ClassVar[str] = "R1"

    def sideline_chunk(self, chunk: Chunk) -> None:
        """Put a reclaimed chunk without empty pages to the tail of the sidelined list."""
        if not chunk.nr_empty_pop_pages:
            super().sideline_chunk(chunk)
