"""Clauses about one operation of a compiled kernel that runs by itself: before, and what it did.

Its functions have no contracts, so what they promise is asked of the operation as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from percpu_contracts.clauses import accounting, api, balance, maps
from percpu_proofs.kernel.instance import Kernel, OperationResult
from percpu_proofs.kernel.views import CompiledState, KernelChunk
from percpu_proofs.run.operations import Operation
from percpu_spec import gfp
from percpu_spec.definitions import area_size, is_legal

ASKED: Final = (
    "ACC-1", "ACC-2", "API-1", "API-4", "API-5", "API-7", "API-9", "BAL-5", "BAL-7", "MAP-4",
    "POP-4", "SLOT-1",
)  # fmt: skip
"""The clauses asked here, and by who judges chunks (SLOT-1)."""

Judged = tuple[str, str | None]
"""A clause, and what is wrong."""


class Answers:
    """Asks the clauses of operations; the state is as read last, before and after each."""

    def __init__(
        self, kernel: Kernel, state: CompiledState, is_atomic: Callable[[int], bool]
    ) -> None:
        """is_atomic: whether a request with such flags may not sleep, by the kernel's own rule."""
        self.state, self.geometry = state, state.geometry
        self._environment = kernel.environment
        self._is_atomic = is_atomic
        ffi = kernel.ffi
        at = ffi.addressof(kernel.lib, "percpu_environment")
        self._faults = ffi.buffer(at, ffi.offsetof("struct percpu_environment", "has_objcg"))
        self._charges: tuple[int, list[set[int] | None]] | None = None
        self._before: tuple[Any, ...] = ()
        self._freed: tuple[KernelChunk, int, int] | None = None

    def begin(self, operation: Operation, area: tuple[int, int] | None) -> None:
        """Note what is to be known before an operation; area: that of a free, chunk and offset."""
        state, environment = self.state, self._environment
        self._before = (
            self._faults[:], environment.page_allocs, environment.creates,
            environment.balance_requests, state.atomic_alloc_failed,
        )  # fmt: skip
        self._freed = None
        self._stamp = None
        if operation[0] == "a" and not is_legal(self.geometry, *operation[2:4]):
            self._stamp = self._stamp_now()
        if area is not None:
            chunk = state.chunk(area[0])
            size = area_size(chunk, area[1], self.geometry)
            if size is not None:
                self._freed = chunk, chunk.free_bytes, size

    def _stamp_now(self) -> tuple[object, ...]:
        state = self.state
        chunks = [(chunk.id, chunk.changes) for chunk in state.chunks()]
        return state.order, chunks, state.nr_populated, state.nr_empty_pop_pages

    def after(self, operation: Operation, result: OperationResult) -> Iterator[Judged]:
        """Yield the verdicts on an operation that has ended."""
        kind = operation[0]
        refused = self._faults[:] != self._before[0]
        if kind == "a":
            yield from self._allocation(operation, result, refused)
        elif kind == "f" and self._freed is not None:
            chunk, free, size = self._freed
            yield "MAP-4", maps.free_returns_area(chunk.free_bytes - free, size)
        elif kind in "bB" and result.ok and not refused:
            yield from self._work()
        yield from self._books()

    def _work(self) -> Iterator[Judged]:
        """Yield the verdict on a run of the work; one with a failure's mark populates otherwise."""
        marked = self._before[-1]
        if self.geometry.backing == "vm" and not marked:
            apart = sum(c.nr_empty_pop_pages for c in self.state.chunks() if c.isolated)
            floating = self.state.nr_empty_pop_pages + apart
            yield "BAL-7", balance.float_is_topped_up(floating, self.geometry)

    def _allocation(
        self, operation: Operation, result: OperationResult, refused: bool
    ) -> Iterator[Judged]:
        _, _, size, align, reserved, flags = operation
        state, geometry, environment = self.state, self.geometry, self._environment
        _, pages, creates, requests, _ = self._before
        if self._stamp is not None:
            changed = self._stamp != self._stamp_now()
            yield "API-1", api.illegal_is_refused(geometry, size, align, result.ok, changed)
            return
        atomic = self._is_atomic(flags)
        if atomic:
            added = environment.page_allocs - pages, environment.creates - creates
            yield "API-5", api.atomic_only_takes(False, *added)
        if result.ok:
            chunk = state.find(result.chunk)
            if chunk is None:
                yield "API-4", f"the area lies in chunk {result.chunk}, which there is not"
                return
            yield "API-4", api.area_fits_request(chunk, result.off, size, align, geometry)
            if state.reserved_chunk is not None:
                inside = chunk is state.reserved_chunk
                yield "API-7", api.reserved_is_kept(bool(reserved), inside)
            if flags & gfp.ACCOUNT and environment.has_objcg and chunk.charges is not None:
                charged = result.off // geometry.granule in chunk.charges
                yield "ACC-2", accounting.success_is_charged(charged)
        elif refused:
            yield "API-9", None
        elif atomic:
            asked = not state.async_enabled or environment.balance_requests > requests
            yield "BAL-5", balance.atomic_failure_asks(state.atomic_alloc_failed, asked)
        elif not reserved:
            yield "API-9", api.failure_has_a_cause(size, False)

    def _books(self) -> Iterator[Judged]:
        """Yield whether pages and charges are those that chunks and areas account for."""
        state, geometry = self.state, self.geometry
        if geometry.backing == "vm":
            populated = sum(chunk.nr_populated for chunk in state.chunks() if chunk.id > 0)
            held, live = populated * geometry.cpus, state.env.live_pages
            wrong = None if live == held else f"{live} pages are allocated, chunks hold {held}"
            yield "POP-4", wrong
        if geometry.memcg:
            now = state.env.charged, [chunk.charges for chunk in state.chunks()]
            if now != self._charges:
                self._charges = now
                yield "ACC-1", self._owed(now[0])

    def _owed(self, charged: int) -> str | None:
        """Return what is wrong with the bytes charged; trees before 6.1 charge no vector."""
        geometry = self.geometry
        sizes = [
            area_size(chunk, bit * geometry.granule, geometry) or 0
            for chunk in self.state.chunks()
            for bit in chunk.charges or ()
        ]
        wrong = accounting.charge_is_owed(charged, sizes, geometry)
        if wrong and accounting.charge_is_owed(charged, sizes, geometry, vector=False):
            return wrong
        return None
