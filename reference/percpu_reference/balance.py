"""Balance work: free chunks are destroyed, empty pages released, the float topped up."""

from __future__ import annotations

from percpu_contracts.contract import ensure, old, require
from percpu_contracts.functions import balance as must
from percpu_contracts.functions import fast
from percpu_contracts.functions.operations import counts_pages, refusable, state_holds
from percpu_contracts.functions.slots import float_before
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import BALANCE_CREATE, MUTEX, Gap, Kind, Steps, run
from percpu_reference.operations import Operations


class Balance(Operations):
    """The balance work: one pcpu_lock section with drops, under pcpu_alloc_mutex throughout."""

    __slots__ = ()

    @ensure(fast.BALANCE, fast.balance_holds, "fast")
    def balance(self) -> None:
        """Run the balance work with nothing else running; see balance_workfn."""
        run(self.balance_workfn())

    @old("refusable", refusable)
    @ensure("LIST-1", must.owns_nothing)
    @ensure("POP-4", counts_pages)
    @ensure("BAL-3", must.drains)
    @ensure("BAL-7", must.tops_up)
    @ensure("", state_holds)
    def balance_workfn(self) -> Steps[None]:
        """Destroy free chunks, reclaim, populate, and destroy chunks without pages again."""
        self.work_pending = False
        self.work_owed = not self.async_enabled
        while self.alloc_mutex:
            yield MUTEX
        self.alloc_mutex = True
        self.spin_lock()

        yield from self.balance_free(False)
        yield from self.reclaim_populated()
        yield from self.balance_populated()
        yield from self.balance_free(True)

        yield from self.end_work()

    def end_work(self) -> Steps[None]:
        """Release both locks; nothing is left to do."""
        self.spin_unlock()
        self.alloc_mutex = False
        yield from ()

    @require("LOCK-1", must.holds_locks)
    @ensure("BAL-2", must.leaves_one_free)
    def balance_free(self, empty_only: bool, chunk_type: int = 0) -> Steps[None]:
        """Destroy all fully free chunks of a type but the first on the list (BAL-2).

        With empty_only only those without empty populated pages.
        """
        free_head = self.free_list(chunk_type)
        to_free: list[Chunk] = []
        chunk = free_head.next
        while chunk is not free_head:
            following = chunk.next
            if chunk.immutable:  # the first one, where no static part lies in its unit
                self.env.warnings += 1
            if chunk is not free_head.next and (not empty_only or chunk.nr_empty_pop_pages == 0):
                self.condemn_chunk(chunk)
                to_free.append(chunk)
            chunk = following
        if not to_free:
            return

        self.spin_unlock()
        # each goes to the head of the kernel's private list, so the last one goes first
        for chunk in reversed(to_free):
            rs = chunk.populated.find(1)
            while rs >= 0:
                re = chunk.populated.find(0, rs + 1)
                if re < 0:
                    re = chunk.nr_pages
                yield Gap("balance: release a free chunk", chunk, rs, re, Kind.DRAIN)
                self.depopulate_chunk(chunk, rs, re)
                self.spin_lock()
                self.chunk_depopulated(chunk, rs, re)
                self.spin_unlock()
                rs = chunk.populated.find(1, re + 1)
            yield Gap("balance: destroy a chunk", chunk, kind=Kind.DESTROY)
            self.destroy_chunk(chunk)
        self.spin_lock()

    def condemn_chunk(self, chunk: Chunk) -> None:
        """Take a fully free chunk off its list, to be destroyed."""
        self.list_del(chunk)
        self.owned.append(chunk)

    @require("LOCK-1", must.holds_locks)
    @old("wanted", must.wanted_before)
    @ensure("BAL-5", must.answers_mark)
    @ensure("BAL-7", must.rises_as_wanted)
    def balance_populated(self, chunk_type: int = 0) -> Steps[None]:
        """Populate pages until the float is HIGH, or HIGH more after a failed atomic request.

        Takes one chunk per slot from the slot of one page upwards, sidelined chunks included (R2);
        creates a chunk where they run out. A failed population ends it.
        """
        while True:
            nr_to_pop = self.pages_to_populate(chunk_type)
            for slot in range(self.size_to_slot(self.geometry.page), self.free_slot + 1):
                if not nr_to_pop:
                    break
                chunk = self.first_unpopulated(slot)
                if chunk is not None:
                    nr_to_pop = yield from self.populate_holes(chunk, nr_to_pop)

            if not nr_to_pop or not self.may_create():
                return
            # ran out of chunks: create one and count anew
            self.spin_unlock()
            yield BALANCE_CREATE
            if not self.balance_create(chunk_type):
                return

    def may_create(self) -> bool:
        """Return whether the work creates a chunk when those it has are all populated: True."""
        return True

    @ensure("BAL-3", must.creates_few)
    def balance_create(self, chunk_type: int) -> bool:
        """Create a chunk to populate and list it; take pcpu_lock. False if memory runs out."""
        new = self.create_chunk(chunk_type)
        self.spin_lock()
        if new is None:
            return False
        self.owned.remove(new)
        self.chunk_relocate(new, -1)
        return True

    def pages_to_populate(self, chunk_type: int) -> int:
        """Return how many pages are wanted, and take back the mark of a failed atomic request."""
        high = self.geometry.empty_high
        if self.atomic_alloc_failed:
            self.atomic_alloc_failed = False
            return high
        return min(max(high - self.float_of(chunk_type), 0), high)

    def first_unpopulated(self, number: int) -> Chunk | None:
        """Return the first chunk of a list that has unpopulated pages."""
        for chunk in self.chunk_lists[number]:
            if chunk.nr_pages - chunk.nr_populated:
                return chunk
        return None

    def populate_holes(self, chunk: Chunk, nr_to_pop: int) -> Steps[int]:
        """Populate up to nr_to_pop pages of a chunk; return how many are still wanted.

        0 after a failure too.
        """
        rs = chunk.populated.find(0)
        while rs >= 0:
            re = chunk.populated.find(1, rs + 1)
            if re < 0:
                re = chunk.nr_pages
            nr = min(re - rs, nr_to_pop)
            self.spin_unlock()
            yield Gap("balance: populate", chunk, rs, rs + nr, Kind.POPULATE)
            done = self.populate_chunk(chunk, rs, rs + nr)
            self.spin_lock()
            if done:
                nr_to_pop -= nr
                self.enter_populated(chunk, rs, rs + nr)
            else:
                nr_to_pop = 0
            if not nr_to_pop:
                break
            rs = chunk.populated.find(0, re + 1)
        return nr_to_pop

    @old("floating", must.float_and_pages)
    @ensure("BAL-1", must.raises_float)
    def enter_populated(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Book-keep pages that the balance work populated.

        Those of an isolated chunk do not raise the float (R2).
        """
        self.chunk_populated(chunk, page_start, page_end)

    @old("floating", float_before)
    @ensure("RCL-1", must.release_keeps_float)
    def enter_released(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        """Book-keep empty pages that reclaim released."""
        self.chunk_depopulated(chunk, page_start, page_end)

    @require("LOCK-1", must.holds_locks)
    @ensure("RCL-3", must.drains_list)
    def reclaim_populated(self) -> Steps[None]:
        """Release the empty pages of every chunk on to_depopulate.

        Each is scanned from its last page down and then sidelined. It is reintegrated instead if
        it is fully free, or as soon as the float is below HIGH (RCL-1).
        """
        head = self.chunk_lists[self.to_depopulate_slot]
        while head.next is not head:
            chunk: Chunk = head.next
            freed_start, freed_end, reintegrate = yield from self.depopulate_empty(chunk)

            # one flush for all the ranges of a chunk
            if freed_start < freed_end:
                self.spin_unlock()
                yield Gap(
                    "reclaim: flush the TLB", chunk, freed_start, freed_end, Kind.FLUSH
                )
                self.post_unmap_tlb_flush(chunk, freed_start, freed_end)
                self.spin_lock()

            if reintegrate or chunk.free_bytes == self.unit_size:
                self.reintegrate_chunk(chunk)
            else:
                self.sideline_chunk(chunk)

    def sideline_chunk(self, chunk: Chunk) -> None:
        """Put a reclaimed chunk to the tail of the sidelined list.

        Pages emptied above the cursor, or during the flush, stay populated (R1).
        """
        self._chunk_move(chunk, self.sidelined_slot, False)

    @ensure("RCL-4", must.drains_chunk)
    def depopulate_empty(self, chunk: Chunk) -> Steps[tuple[int, int, bool]]:
        """Release a chunk's empty populated pages from its end down, range by range.

        Returns the span of pages released, (nr_pages, 0) if none, and whether the float fell below
        HIGH and ended it; a range not yet released then stays populated.
        """
        block_bits = self.block_bits
        freed_start, freed_end = chunk.nr_pages, 0
        end = -1
        i = chunk.nr_pages - 1
        while i >= 0:
            if chunk.nr_empty_pop_pages == 0:
                break
            if self.nr_empty_pop_pages < self.geometry.empty_high:
                return freed_start, freed_end, True

            if chunk.md_blocks[i].contig_hint == block_bits and chunk.populated[i]:
                if end == -1:
                    end = i
                if i > 0:
                    i -= 1
                    continue
                i -= 1  # the range reaches page 0: release it now

            if end != -1:
                self.spin_unlock()
                yield Gap("reclaim: release pages", chunk, i + 1, end + 1, Kind.RELEASE)
                self.depopulate_chunk(chunk, i + 1, end + 1)
                self.spin_lock()
                self.enter_released(chunk, i + 1, end + 1)
                freed_start = min(freed_start, i + 1)
                freed_end = max(freed_end, end + 1)
                end = -1
            i -= 1
        return freed_start, freed_end, False
