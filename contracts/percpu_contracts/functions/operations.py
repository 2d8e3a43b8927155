"""Contracts of allocation and free, from outside and at their ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from percpu_contracts.clauses import accounting, api, balance, cost
from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.functions.chunks import holds_pages
from percpu_contracts.functions.model_view import LinkedChunk, ModelView
from percpu_spec.counts import counted
from percpu_spec.definitions import area_size, dynamic_chunks, first_chunk_pages, is_legal
from percpu_spec.gfp import ACCOUNT, NOFAIL, may_block

Area = tuple[LinkedChunk, int]


def state_before(self: ModelView) -> tuple[object, ...]:
    """Return what an illegal request must leave alone, and counters at entry."""
    return (
        self.nr_empty_pop_pages,
        self.nr_populated,
        self.work_pending,
        self.atomic_alloc_failed,
        self.env.charged,
        self.env.live_pages,
        self.env.creates,
    )


def refuses_illegal(
    self: ModelView, size: int, align: int, result: Area | None, OLD: Any
) -> str | None:
    """An illegal size or alignment is refused without a change of state (API-1)."""
    if is_legal(self.geometry, size, align):
        return NOT_ASKED
    concurrent = self.monitor.history.concurrent
    changed = not concurrent and state_before(self) != OLD.state
    return api.illegal_is_refused(self.geometry, size, align, result is not None, changed)


def classifies(self: ModelView, gfp: int) -> str | None:
    """A request was searched for as atomic exactly if its flags forbid blocking (API-3)."""
    history = self.monitor.history
    if history.concurrent or history.pop_only is None:
        return NOT_ASKED
    return api.flags_decide_blocking(may_block(gfp, self.BLOCKING), not history.pop_only)


def only_takes(self: ModelView, gfp: int, OLD: Any) -> str | None:
    """An atomic allocation populates no page and creates no chunk (API-5)."""
    if self.monitor.history.concurrent or may_block(gfp, self.BLOCKING):
        return NOT_ASKED
    pages, chunks = self.env.live_pages - OLD.state[5], self.env.creates - OLD.state[6]
    return api.atomic_only_takes(may_block(gfp, self.BLOCKING), pages, chunks)


def fits_request(self: ModelView, size: int, align: int, result: Area | None) -> str | None:
    """The area has the rounded size and the alignment asked for (API-4)."""
    if result is None:
        return NOT_ASKED
    chunk, off = result
    return api.area_fits_request(chunk, off, size, align, self.geometry)


def note_cleared(self: ModelView, chunk: LinkedChunk, off: int, size: int, result: int) -> None:
    """These bytes were zeroed in the first `result` units (API-6)."""
    cpus = range(result)
    self.monitor.history.cleared[chunk, off] = [(cpu, off, size) for cpu in cpus]


def is_cleared(self: ModelView, size: int, result: Area | None) -> str | None:
    """The area was zeroed on every CPU before it was handed out (API-6)."""
    if result is None:
        return NOT_ASKED
    cleared = self.monitor.history.cleared.pop(result, [])
    return api.area_is_cleared(cleared, result[1], size, self.geometry)


def asks_when_failed(
    self: ModelView, size: int, align: int, gfp: int, result: Area | None, OLD: Any
) -> str | None:
    """A failed atomic request left its mark and asked for work (BAL-5); a failed charge not."""
    if result is not None or not self.is_atomic(gfp) or self.monitor.history.concurrent:
        return NOT_ASKED
    if not is_legal(self.geometry, size, align) or not OLD.may_charge:
        return NOT_ASKED
    asked = self.work_pending or not self.async_enabled
    return balance.atomic_failure_asks(self.atomic_alloc_failed, asked)


def refusable(self: Any) -> bool:
    """Return whether memory, a charge or a wait may be refused from now on."""
    env, geometry = self.env, self.geometry
    faults = (env.page_fault, env.map_fault, env.vm_fault, env.metadata_fault, env.charge_fault)
    short = env.memory - env.live_pages < 4 * geometry.cpus * geometry.unit_pages
    return bool(short or env.killed_waits or any(fault.armed for fault in faults))


def killed_waits_before(self: Any) -> int:
    """Return how many of the coming waits for pcpu_alloc_mutex are killed."""
    killed: int = self.env.killed_waits
    return killed


def goes_on_waiting(self: Any, gfp: int, OLD: Any) -> str | None:
    """A request that must not fail is not given up for a wait that is killed (API-8)."""
    asked = gfp & NOFAIL and OLD.killed_waits and not self.is_atomic(gfp)
    if not asked or not self.monitor.alone:
        return NOT_ASKED
    return api.wait_is_not_given_up(self.env.killed_waits < OLD.killed_waits)


def keeps_reserve(self: ModelView, reserved: bool, result: Area | None) -> str | None:
    """Reserved requests, and no others, are served from the reserved chunk (API-7)."""
    if result is None or self.reserved_chunk is None:
        return NOT_ASKED
    return api.reserved_is_kept(reserved, result[0] is self.reserved_chunk)


def fails_for_a_cause(
    self: ModelView, size: int, align: int, reserved: bool, gfp: int, result: Area | None, OLD: Any
) -> str | None:
    """A blocking request that fails was refused something (API-9); reserved memory may run out."""
    if self.is_atomic(gfp) or not self.monitor.alone:
        return NOT_ASKED
    if not is_legal(self.geometry, size, align) or (reserved and self.reserved_chunk is not None):
        return NOT_ASKED
    return None if result is not None else api.failure_has_a_cause(size, OLD.refusable)


def is_charged(self: Any, gfp: int, result: Area | None) -> str | None:
    """An accounted area in a chunk with an object vector has its entry there (ACC-2)."""
    accounted = gfp & ACCOUNT and self.geometry.memcg and self.env.has_objcg
    if result is None or not accounted or result[0].obj_exts is None:
        return NOT_ASKED
    return accounting.success_is_charged(result[1] // self.geometry.granule in result[0].obj_exts)


def may_charge(self: Any) -> bool:
    """Return whether a charge would succeed now."""
    return not self.env.charge_fault.armed


def is_ordered(self: ModelView, pop_only: bool) -> str | None:
    """An atomic search met depopulated chunks late and fully free ones last (COST-1)."""
    examined = self.monitor.history.examined
    if not pop_only or not any(e.depopulated or e.fully_free for e in examined):
        return NOT_ASKED
    return cost.depopulated_come_late(examined)


def end_search(self: ModelView, result: tuple[LinkedChunk | None, int]) -> None:
    """A search is over; the chunk found counts as ordinary again (COST-1)."""
    self.monitor.history.examined.clear()
    if result[0] is not None:
        self.monitor.history.back_in_use(result[0])


def begin_area(self: ModelView, chunk: LinkedChunk) -> None:
    """An area was taken and is about to be populated (POP-1)."""
    self.monitor.history.begin_area(chunk)


def end_area(self: ModelView, chunk: LinkedChunk) -> None:
    """Population of the area has ended (POP-1)."""
    self.monitor.history.end_area(chunk)


def charges_are_owed(self: ModelView) -> str | None:
    """Bytes charged are those of the live areas that hold an object cgroup (ACC-1)."""
    if self.monitor.history.concurrent or not self.geometry.memcg:
        return NOT_ASKED
    granule = self.geometry.granule
    sizes = [
        area_size(chunk, bit * granule, self.geometry) or 0
        for chunk in self.chunks()
        for bit in chunk.obj_exts or ()
    ]
    if self.env.objcg_refs != len(sizes):
        return (
            f"{self.env.objcg_refs} references to object cgroups for "
            f"{counted(len(sizes), 'live area')}"
        )
    return accounting.charge_is_owed(
        self.env.charged, sizes, self.geometry, vector=self.CHARGES_VECTOR
    )


def counts_pages(self: Any) -> str | None:
    """Backing pages held are those counted as populated, on every CPU (POP-4, by way of POP-3).

    A km chunk holds one allocation, of a power of two of pages.
    """
    if self.monitor.history.concurrent:
        return NOT_ASKED
    geometry = self.geometry
    if geometry.backing == "vm":
        wanted = geometry.cpus * (self.nr_populated - first_chunk_pages(self))
    else:
        pages = 1 << (geometry.units * geometry.unit_pages - 1).bit_length()
        wanted = pages * sum(1 for _ in dynamic_chunks(self))
    return holds_pages(self, wanted)


def counts_areas(self: Any, result: Area | None) -> str | None:
    """The statistics agree with what lives, and with the area just taken (STAT-1)."""
    if self.stats is None or self.monitor.history.concurrent:
        return NOT_ASKED
    wrong = accounting.counts_are_true(self, self.stats)
    if wrong is not None or result is None:
        return wrong
    size = area_size(result[0], result[1], self.geometry)
    return None if size is None else accounting.sizes_bracket(self.stats, size)


def note_other(self: ModelView) -> None:
    """Something other than the balance work ran (BAL-3); its search is over (API-3)."""
    self.monitor.history.runs = 0
    self.monitor.history.pop_only = None


def state_holds(self: ModelView) -> Iterator[tuple[str, str]]:
    """Every clause about states, and those about quiescence if nothing is pending.

    Alone, an operation that has ended does not hold pcpu_alloc_mutex (LOCK-2).
    """
    concurrent = self.monitor.history.concurrent
    if self.alloc_mutex and not concurrent:
        yield "LOCK-2", "pcpu_alloc_mutex is still held at the end of an operation"
    yield from self.monitor.broken_state(self, quiescent=self.quiescent and not concurrent)
    live, made = self.monitor.whole_state.live, self.env.creates - self.env.destroys
    if live != made:
        yield "LIST-1", f"{counted(live, 'chunk')} listed or owned, of {made} that live"


def names_area(self: ModelView, area: Area | None) -> str | None:
    """The caller frees nothing, or the start of a live area (API-2), or it is refused that."""
    if area is None or self.CHECKS_FREES:
        return NOT_ASKED
    return api.free_names_area(area[0], area[1], self.geometry)
