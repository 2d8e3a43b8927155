"""The allocator's two public operations: allocate and free an area."""

from __future__ import annotations

from percpu_contracts.contract import ensure, old, record, require
from percpu_contracts.functions import fast
from percpu_contracts.functions import operations as must
from percpu_reference.chunk import Area, Chunk
from percpu_reference.environment import Task
from percpu_reference.events import AllocPercpu, AllocPercpuFail, FreePercpu
from percpu_reference.gaps import ASK, CREATE, DONE, FAILED, FREE_LIST, MUTEX, Gap, Kind, Steps, run
from percpu_reference.memcg import Memcg
from percpu_spec.gfp import (
    ACCOUNT,
    KERNEL,
    NOFAIL,
    NOWARN,
    current_gfp_context,
    forbidden,
    may_block,
)


class Operations(Memcg):
    """Allocation (pcpu_alloc) and free (free_percpu)."""

    __slots__ = ()

    @ensure(fast.ALLOC, fast.alloc_holds, "fast")
    def alloc(
        self, size: int, align: int, *, reserved: bool = False, gfp: int = KERNEL
    ) -> Area | None:
        """Allocate with nothing else running; see alloc_percpu."""
        return run(self.alloc_percpu(size, align, reserved, gfp))

    @ensure(fast.FREE, fast.free_holds, "fast")
    @ensure("LIST-2", fast.freed_chunk_is_listed, "fast")
    def free(self, area: Area | None) -> None:
        """Free with nothing else running; see free_percpu."""
        run(self.free_percpu(area))

    def is_atomic(self, gfp: int) -> bool:
        """Return whether a request with these flags must not sleep (API-3)."""
        return not may_block(gfp, self.BLOCKING)

    def task_of(self, gfp: int) -> Task:
        """Return how a caller with these flags asks for memory.

        Pages and a chunk's metadata are asked for with its own flags (pcpu_gfp). Areas of
        addresses, page tables and the array of pages are with GFP_KERNEL, which only a scope limits
        (GFP-1).
        """
        return Task(current_gfp_context(gfp) & self.HANDED_ON, forbidden(gfp))

    @old("state", must.state_before)
    @old("may_charge", must.may_charge)
    @old("killed_waits", must.killed_waits_before)
    @old("refusable", must.refusable)
    @ensure("API-1", must.refuses_illegal)
    @ensure("API-3", must.classifies)
    @ensure("API-4", must.fits_request)
    @ensure("API-5", must.only_takes)
    @ensure("API-6", must.is_cleared)
    @ensure("API-7", must.keeps_reserve)
    @ensure("API-8", must.goes_on_waiting)
    @ensure("API-9", must.fails_for_a_cause)
    @ensure("ACC-2", must.is_charged)
    @ensure("BAL-5", must.asks_when_failed)
    @ensure("POP-4", must.counts_pages)
    @ensure("ACC-1", must.charges_are_owed)
    @ensure("STAT-1", must.counts_areas)
    @record(must.note_other)
    @ensure("", must.state_holds)
    def alloc_percpu(self, size: int, align: int, reserved: bool, gfp: int) -> Steps[Area | None]:
        """Allocate size bytes aligned to align bytes in every unit; None if that fails.

        An atomic request takes only populated memory and leaves it to balance work to provide
        more. A blocking one holds pcpu_alloc_mutex, creates a chunk where no list has room and
        populates what it was given.
        """
        granule = self.granule
        callers = gfp
        gfp = current_gfp_context(gfp)
        is_atomic = self.is_atomic(gfp)
        if align < granule:
            align = granule
        bits = -(-size // granule)
        size = bits * granule

        if not 0 < size <= self.largest or align > self.page or align & (align - 1):
            if not gfp & NOWARN:
                self.env.warnings += 1
            return None

        objcg = None
        chunk_type = 0
        if gfp & ACCOUNT:
            chunk_type = self.request_type(gfp)
            charged, objcg = self.memcg_pre_alloc_hook(size, gfp)
            if not charged:
                return None

        if not is_atomic:
            while self.alloc_mutex:
                yield MUTEX
            if self.env.killed_waits and not gfp & NOFAIL:
                self.env.killed_waits -= 1
                self.memcg_post_alloc_hook(objcg, None, 0, size)
                return None
            self.alloc_mutex = True
            self.env.caller = self.task_of(callers)

        self.spin_lock()
        chunk: Chunk | None
        if reserved and self.reserved_chunk is not None:
            chunk = self.reserved_chunk
            off = self.find_block_fit(chunk, bits, align // granule, is_atomic)
            if off >= 0:
                off = self.alloc_area(chunk, bits, align // granule, off)
            if off < 0:
                self.spin_unlock()
                chunk = None
        else:
            chunk, off = self.search_lists_for(
                size, bits, align // granule, is_atomic, chunk_type
            )
            while chunk is None:
                self.spin_unlock()
                if is_atomic:
                    break
                # no room: create a chunk, unless a free one came up since
                yield FREE_LIST
                head = self.free_list(chunk_type)
                if head.next is head:
                    if not (yield from self.add_chunk(chunk_type)):
                        break
                else:
                    self.spin_lock()
                chunk, off = self.search_lists_for(
                    size, bits, align // granule, is_atomic, chunk_type
                )

        if chunk is not None:
            if self.stats is not None:
                self.stats.area_alloc(chunk, size)
            if self.TESTS_FLOAT_LOCKED:
                self.ask_when_low(chunk_type)
            self.spin_unlock()

            if not is_atomic:
                rs = off // self.page
                page_end = -(-(off + size) // self.page)
                if chunk.populated.find(0, rs, page_end) < 0 or (
                    yield from self.populate_area(chunk, off, rs, page_end)
                ):
                    self.alloc_mutex = False
                else:
                    chunk = None

        if not is_atomic:
            self.env.caller = None
        if chunk is None:
            yield FAILED
            self.alloc_failed(reserved, is_atomic, size, align, gfp)
            self.memcg_post_alloc_hook(objcg, None, 0, size)
            return None

        yield DONE
        if not self.TESTS_FLOAT_LOCKED:
            self.ask_when_low(chunk_type)
        self.clear_area(chunk, off, size)
        if self.trace is not None:
            base = chunk.base_addr
            ptr = base + off
            self.trace(
                AllocPercpu(
                    reserved, is_atomic, size, align, base, off, ptr, self.obj_full_size(size), gfp
                )
            )
        if objcg is not None:
            self.memcg_post_alloc_hook(objcg, chunk, off, size)
        return chunk, off

    def ask_when_low(self, chunk_type: int) -> None:
        """Ask for balance work if a type's float is low (BAL-4); from 6.13 on under pcpu_lock."""
        if self.float_of(chunk_type) < self.empty_low:
            self.schedule_balance_work()

    def add_chunk(self, chunk_type: int) -> Steps[bool]:
        """Create a chunk and list it; return True with pcpu_lock held, False if memory runs out."""
        yield CREATE
        new = self.create_chunk(chunk_type)
        if new is None:
            return False
        self.spin_lock()
        self.owned.remove(new)
        self.chunk_relocate(new, -1)
        return True

    @ensure("COST-1", must.is_ordered)
    @record(must.end_search)
    def search_lists_for(
        self, size: int, bits: int, align: int, pop_only: bool, chunk_type: int
    ) -> tuple[Chunk | None, int]:
        """Allocate from the first chunk with room, in slots from the request's size upwards.

        Sidelined chunks come after all active ones, fully free ones last (COST-1). A chunk in a
        low slot that has no fit is relegated to slot 0. Align in bits; the offset is in bytes.
        """
        number = self.slot_of_bits[bits]
        threshold = self.relegation_slot
        if chunk_type:
            first = chunk_type * (self.nr_slots // self.chunk_types)
            number += first
            threshold += first
        for head in self.search_lists[number]:
            chunk = head.next
            while chunk is not head:
                following = chunk.next
                off = self.find_block_fit(chunk, bits, align, pop_only)
                if off < 0:
                    if head.slot < threshold:
                        self.chunk_move(chunk, 0)
                else:
                    off = self.alloc_area(chunk, bits, align, off)
                    if off >= 0:
                        if chunk.isolated:
                            self.reintegrate_chunk(chunk)
                        return chunk, off
                chunk = following
        return None, -1

    @old("began", must.begin_area)
    @record(must.end_area)
    def populate_area(self, chunk: Chunk, off: int, rs: int, page_end: int) -> Steps[bool]:
        """Populate pages [rs, page_end) under a new area; on failure free it and return False.

        Ranges populated before a failure stay (POP-4). The populated map is read under
        pcpu_alloc_mutex alone.
        """
        rs = chunk.populated.find(0, rs, page_end)
        while rs >= 0:
            re = chunk.populated.find(1, rs + 1, page_end)
            if re < 0:
                re = page_end
            yield Gap("alloc: populate", chunk, rs, re, Kind.FILL)
            done = self.populate_chunk(chunk, rs, re)
            self.spin_lock()
            if not done:
                yield from self.undo_area(chunk, off)
                return False
            self.chunk_populated(chunk, rs, re)
            self.spin_unlock()
            rs = chunk.populated.find(0, re + 1, page_end)
        return True

    def undo_area(self, chunk: Chunk, off: int) -> Steps[None]:
        """Free an area that could not be populated, and release pcpu_lock."""
        self.free_area(chunk, off)
        self.spin_unlock()
        yield from ()

    @record(must.note_cleared)
    def clear_area(self, chunk: Chunk, off: int, size: int) -> int:
        """Zero the area in every CPU's unit and return how many (API-6).

        The model keeps no contents.
        """
        return self.geometry.cpus

    def alloc_failed(
        self, reserved: bool, is_atomic: bool, size: int, align: int, gfp: int
    ) -> None:
        """Report a failed legal request; an atomic one asks balance work for more pages."""
        if self.trace is not None:
            self.trace(AllocPercpuFail(reserved, is_atomic, size, align))
        if not gfp & NOWARN and self.warn_limit:
            self.env.printed += 1
            if not is_atomic:
                self.env.stack_dumps += 1
            self.warn_limit -= 1
        if is_atomic:
            self.atomic_alloc_failed = True
            self.schedule_balance_work()
        else:
            self.alloc_mutex = False

    @require("API-2", must.names_area)
    @ensure("ACC-1", must.charges_are_owed)
    @ensure("STAT-1", must.counts_areas)
    @record(must.note_other)
    @ensure("", must.state_holds)
    def free_percpu(self, area: Area | None) -> Steps[None]:
        """Free an area; None is fine (API-2)."""
        if area is None:
            return
        chunk, off = area

        self.spin_lock()
        size = self.free_area(chunk, off)
        if not size:
            self.refuse_free()
            return
        if chunk.obj_exts is not None:
            self.memcg_free_hook(chunk, off, size)

        need_balance = self.check_freed_chunk(chunk)

        if self.trace is not None:
            self.trace(FreePercpu(chunk.base_addr, off, chunk.base_addr + off))
        self.spin_unlock()

        if need_balance:
            yield ASK
            self.schedule_balance_work()

    def refuse_free(self) -> None:
        """End a free that names no live area, with a warning (API-2; from 7.0)."""
        self.spin_unlock()
        self.env.warnings += 1

    def check_freed_chunk(self, chunk: Chunk) -> bool:
        """Return whether a chunk just freed into calls for balance work.

        It does when it is a second fully free one, or when its empty pages are to be released; then
        it is isolated at once.
        """
        if not chunk.isolated and chunk.free_bytes == self.unit_size:
            others = self.free_list(self.chunk_type(chunk))
            return any(pos is not chunk for pos in others)
        if self.should_reclaim_chunk(chunk):
            self.isolate_chunk(chunk)
            return True
        return False
