"""R4: whoever leaves a second fully free chunk behind asks for balance work.

A free does so in the kernel. Three others can add a fully free chunk to the list and do not: the
balance work itself, the creation of a chunk, and a population that failed. Each is a patch of its
own. Requests are made with pcpu_lock released, as everywhere in the kernel.
"""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.balance import Balance
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import ASK, Gap, Kind, Steps
from percpu_reference.operations import Operations

AGAIN = Gap("balance: ask for the work again", kind=Kind.FLAGS)
ASK_CREATED = Gap("alloc: ask for balance work")


class AskForSecond(Balance):
    """pcpu_balance_workfn: with more than one fully free chunk left, the work asks for itself.

    The work destroys free chunks first and again at the end, but the second time only those without
    pages. Between the two, reclaim reintegrates chunks that became fully free, population may bring
    one back from isolation (R2) or create one, and each goes to the head of the free list, where it
    is the one spared; a populated chunk behind it then outlives the work. To destroy it at the end
    would take away pages just counted on, so the next run does it, before it populates. That run
    finds nothing to reclaim. So that it leaves no second free chunk either, none is created beside
    one that is fully free and populated: whatever was wanted finds room there. Without new frees
    the second run is the last.
    """

    __slots__ = ()

    NAME: ClassVar[str] = "R4 work"

    def end_work(self) -> Steps[None]:
        """Release both locks, and ask for the work again if a second free chunk is left."""
        head = self.chunk_lists[self.free_slot]
        again = head.next is not head.prev
        yield from super().end_work()
        if again:
            yield AGAIN
            self.schedule_balance_work()

    def may_create(self) -> bool:
        """Return whether no fully free chunk is left."""
        head = self.chunk_lists[self.free_slot]
        return head.next is head


class AskAfterCreation(Operations):
    """pcpu_alloc: a chunk created beside another fully free one asks for balance work.

    An allocation that found no room and an empty free list creates a chunk with pcpu_lock released.
    A free meanwhile can make another chunk fully free; it sees an empty list and asks for nothing,
    and the new chunk joins it. The allocation may then be served elsewhere, and both stay. Here the
    creator looks at the list when it adds its chunk.
    """

    __slots__ = ()

    NAME: ClassVar[str] = "R4 creation"

    def add_chunk(self, chunk_type: int) -> Steps[bool]:
        """Create a chunk and list it; return True with pcpu_lock held, False if memory runs out."""
        if not (yield from super().add_chunk(chunk_type)):
            return False
        head = self.chunk_lists[self.free_slot]
        if head.next is not head.prev:
            self.spin_unlock()
            yield ASK_CREATED
            self.schedule_balance_work()
            self.spin_lock()
        return True


class AskAfterFailure(Operations):
    """pcpu_alloc: an area freed because its population failed gets the checks of any other free.

    The failing allocation frees its area and leaves. Nobody tests whether that made a second chunk
    fully free, or left enough empty pages, of the ranges populated before the failure, to reclaim.
    Here the checks of free_percpu, made a function of their own, follow under the same hold of
    pcpu_lock.
    """

    __slots__ = ()

    NAME: ClassVar[str] = "R4 failure"

    def undo_area(self, chunk: Chunk, off: int) -> Steps[None]:
        """Free an area that could not be populated, look at its chunk, and release pcpu_lock."""
        self.free_area(chunk, off)
        need_balance = self.check_freed_chunk(chunk)
        self.spin_unlock()
        if need_balance:
            yield ASK
            self.schedule_balance_work()
