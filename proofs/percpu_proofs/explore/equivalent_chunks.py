"""Chunks of one allocator that stand for those of other states of it, and areas moved to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from percpu_reference.chunk import Area, Chunk
from percpu_reference.variants import Allocator

Handles = dict[int, Area | None]
"""What callers hold; None: the allocation failed."""


class Twins:
    """The chunks that an allocator is given whenever it comes to a state, by id.

    They are the same each time, so who watches them has learnt them already. Chunks of one id have
    one shape and one address.
    """

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = {chunk.id: chunk for chunk in chunks}

    def of(self, origin: Allocator) -> dict[Chunk, Chunk]:
        """Return the chunks of a state, each with its twin."""
        known = self._chunks
        return {
            chunk: known.get(chunk.id) or known.setdefault(chunk.id, chunk.clone())
            for chunk in origin.chunks()
        }


def moved(handles: Handles, copies: Mapping[Chunk, Chunk]) -> Handles:
    """Return the areas of these handles, in the copies of their chunks."""
    return {
        handle: None if area is None else (copies[area[0]], area[1])
        for handle, area in handles.items()
    }
