"""R3: a free brings a relegated chunk back."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.areas import Areas
from percpu_reference.chunk import Chunk


class BackFromRelegation(Areas):
    """pcpu_free_area: from a low slot a chunk is relocated whether or not its slot has changed.

    A small request that misses in a chunk of a low slot moves it to slot 0, out of the way of later
    ones; a free is to bring it back. But relocation compares the slots computed before and after
    the free, which says nothing of the list that the chunk is really on: while the free leaves the
    computed slot as it was, the chunk stays on slot 0. Only chunks below the relegation threshold
    can be there, so for those the relocation is made without the comparison, to the head of the
    list as for a chunk that rises.
    """

    __slots__ = ()

    NAME: ClassVar[str] = "R3"

    def free_area(self, chunk: Chunk, off: int) -> int:
        """Free the area that starts at byte off and return its size in bytes."""
        low = self.chunk_slot(chunk) < self.relegation_slot
        freed = super().free_area(chunk, off)
        if low:
            self.chunk_relocate(chunk, -1)
        return freed
