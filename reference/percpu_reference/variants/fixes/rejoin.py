"""R2: a chunk that balance work populates is in circulation."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.balance import Balance
from percpu_reference.chunk import Chunk


class RejoinBeforeCounting(Balance):
    """pcpu_balance_populated: an isolated chunk is reintegrated when its new pages are counted.

    The work looks for unpopulated pages in every list from that of one page upwards, the sidelined
    one included, and a free can isolate the chosen chunk while pcpu_lock is dropped. Pages of an
    isolated chunk do not count in the float. So the work takes its pages for done, the float stays
    low, and the pages lie where reclaim has already been. Here the chunk rejoins the lists and the
    float under the same hold of the lock that counts the pages. Sidelined chunks, whose metadata
    and areas exist anyway, stay the ones to be populated before a new chunk is made.
    """

    __slots__ = ()

    NAME: ClassVar[str] = "R2"

    def enter_populated(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Book-keep pages that the balance work populated."""
        self.reintegrate_chunk(chunk)
        super().enter_populated(chunk, page_start, page_end)
