"""Two types of chunks and no partial depopulation: Linux 5.9 to 5.12-rc6.

What `linux_5_12` and the rfc variants have in common. Areas of accounted requests lie in chunks of
their own, which alone have an object vector; each type has its own lists, the float is one.
"""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.balance import Balance
from percpu_reference.chunk import Chunk
from percpu_reference.environment import Task
from percpu_reference.gaps import BALANCE_CREATE, MUTEX, Gap, Kind, Steps
from percpu_reference.state import UNLIMITED_WORK
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.gfp import ACCOUNT, KERNEL, NOWARN

PLAIN, MEMCG = 0, 1

COUNT = Gap("balance: count the pages to populate", kind=Kind.WORK)
NEXT_LIST = Gap("balance: look at a list", kind=Kind.WORK)
NEXT_TYPE = Gap("balance: go on with the next chunk type", kind=Kind.WORK)

ENDURING: dict[str, str] = {
    **{clause: Linux612.EXPECTED[clause] for clause in ("HINT-3", "HINT-4", "HINT-5", "LIST-2")},
    "BAL-2": "the mark of a failed atomic request is one for all chunks: the work may answer it by "
    "creating a chunk beside a fully free one; and a failed population frees a chunk unseen (R4)",
}
"""Clauses that all of these kernels break: the hints and R3 as since 5.2."""

REFERENCE_ONLY = Linux612.NOT_APPLICABLE


class TwoTypes(Balance):
    """Plain and memcg chunks, apart from one another; pages leave only with their chunk."""

    __slots__ = ()

    chunk_types: ClassVar[int] = 2
    BLOCKING: ClassVar[int] = KERNEL
    CHARGES_VECTOR: ClassVar[bool] = False
    WORK: ClassVar[Task] = UNLIMITED_WORK

    def setup_slots(self) -> None:
        """Lay out the lists, type by type: active slots and behind them the free slot."""
        self.sidelined_slot = self.to_depopulate_slot = -1
        self.free_slot = self._size_to_slot(self.unit_size) + 1
        self.nr_slots = (self.free_slot + 1) * self.chunk_types
        self.setup_lists(self.free_slot)

    def chunk_type(self, chunk: Chunk, /) -> int:
        """Return a chunk's type: what has an object vector is a memcg chunk (pcpu_chunk_type)."""
        return PLAIN if chunk.obj_exts is None else MEMCG

    def request_type(self, gfp: int) -> int:
        """Return the type that serves a request: memcg if there is a group to charge."""
        charged = gfp & ACCOUNT and self.geometry.memcg and self.env.has_objcg
        return MEMCG if charged else PLAIN

    def has_vector(self, chunk_type: int) -> bool:
        """Return whether chunks of a type have an object vector, charging switched off or not."""
        return chunk_type == MEMCG

    def _chunk_move(self, chunk: Chunk, slot: int, move_front: bool) -> None:
        lists = self.nr_slots // self.chunk_types  # pcpu_chunk_list
        super()._chunk_move(chunk, slot + self.chunk_type(chunk) * lists, move_front)

    def alloc_failed(
        self, reserved: bool, is_atomic: bool, size: int, align: int, gfp: int
    ) -> None:
        """Report a failed legal request; an atomic one is not printed."""
        super().alloc_failed(reserved, is_atomic, size, align, gfp | NOWARN if is_atomic else gfp)

    def check_freed_chunk(self, chunk: Chunk) -> bool:
        """Return whether a chunk just freed into is a second fully free one of its type."""
        if chunk.free_bytes != self.unit_size:
            return False
        return any(pos is not chunk for pos in self.free_list(self.chunk_type(chunk)))

    def balance_workfn(self) -> Steps[None]:
        """Balance one type after the other, releasing pcpu_alloc_mutex in between."""
        self.work_pending = False
        self.work_owed = not self.async_enabled
        for chunk_type in range(self.chunk_types):
            if chunk_type:
                yield NEXT_TYPE
            while self.alloc_mutex:
                yield MUTEX
            self.alloc_mutex = True
            self.spin_lock()
            yield from self.balance_type(chunk_type)
            self.alloc_mutex = False

    def balance_type(self, chunk_type: int) -> Steps[None]:
        """Destroy free chunks of a type and populate (__pcpu_balance_workfn).

        Entered under both locks, left without pcpu_lock.
        """
        yield from self.balance_free(False, chunk_type)
        yield from self.balance_populated(chunk_type)

    def balance_populated(self, chunk_type: int = PLAIN) -> Steps[None]:
        """Populate pages until the float is HIGH, or HIGH more after a failed atomic request.

        pcpu_lock is taken anew for each list and each range; float and mark are read without it.
        The mark is one for both types, so the first type takes it. Left without pcpu_lock.
        """
        self.spin_unlock()
        yield COUNT
        yield from self.grow_populated(chunk_type, self.pages_to_populate(chunk_type))

    def grow_populated(self, chunk_type: int, nr_to_pop: int) -> Steps[None]:
        """Populate pages of a type; create a chunk where they run out, and go on.

        Entered and left with pcpu_lock released.
        """
        while True:
            nr_to_pop = yield from self.populate_lists(chunk_type, nr_to_pop)
            if not nr_to_pop:
                return
            yield BALANCE_CREATE
            created = self.balance_create(chunk_type)
            self.spin_unlock()
            if not created:
                return
            nr_to_pop = yield from self.count_again(chunk_type, nr_to_pop)

    def count_again(self, chunk_type: int, nr_to_pop: int) -> Steps[int]:
        """Return how many pages are wanted after a chunk was created; nr_to_pop were before."""
        yield COUNT
        return self.pages_to_populate(chunk_type)

    def populate_lists(self, chunk_type: int, nr_to_pop: int) -> Steps[int]:
        """Populate one chunk of each list that has any; return how many pages are still wanted.

        From the slot of one page upwards.
        """
        first = chunk_type * (self.nr_slots // self.chunk_types)
        for slot in range(self.size_to_slot(self.geometry.page), self.free_slot + 1):
            if not nr_to_pop:
                break
            yield NEXT_LIST
            self.spin_lock()
            chunk = self.first_unpopulated(first + slot)
            if chunk is not None:
                nr_to_pop = yield from self.populate_holes(chunk, nr_to_pop)
            self.spin_unlock()
        return nr_to_pop
