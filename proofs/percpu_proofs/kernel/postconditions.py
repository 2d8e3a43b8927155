"""Clauses about what an operation of compiled code did, and about the books behind it.

Its functions have no contracts, so what they promise is asked of the operation as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from typing import Any, Final

from percpu_contracts.clauses import accounting, api, balance, maps
from percpu_contracts.clauses.lists import computed_slot_is
from percpu_contracts.operation_steps import Judged
from percpu_contracts.violations import Breach
from percpu_contracts.whole_state import KERNELS, WholeState
from percpu_proofs.kernel.instance import Kernel, OperationResult
from percpu_proofs.kernel.views import CompiledState, KernelChunk
from percpu_proofs.run.operations import Operation
from percpu_spec import gfp
from percpu_spec.definitions import area_size, is_legal
from percpu_spec.geometry import Geometry
from percpu_spec.views import AllocatorView, ChunkView

OPERATION_CLAUSES: Final = (
    "ACC-1", "ACC-2", "API-1", "API-4", "API-5", "API-7", "API-9", "BAL-5", "BAL-7", "MAP-4",
    "POP-4", "SLOT-1",
)  # fmt: skip
"""The clauses asked here."""
_MOST_VERDICTS: Final = 100_000  # of chunks, that are at hand


def judged_allocation(
    state: AllocatorView,
    request: tuple[int, int, bool, int],
    area: tuple[Any, int] | None,
    *,
    atomic: bool,
    changed: bool,
    refused: bool,
    marked: bool,
    asked: bool,
    charges: bool,
) -> Iterator[Judged]:
    """Yield the verdicts on an allocation that has ended; state: behind it.

    request: size and alignment in bytes, whether reserved, flags. area: the chunk and the offset in
    bytes; None for a failure. atomic: it may not sleep. changed: the state. refused: something that
    it asked for. marked: the state has the mark of a failed atomic allocation. asked: for balance
    work, or need not. charges: its task has a cgroup.
    """
    geometry = state.geometry
    size, align, reserved, flags = request
    if not is_legal(geometry, size, align):
        yield "API-1", api.illegal_is_refused(geometry, size, align, area is not None, changed)
    elif area is not None:
        chunk, off = area
        yield "API-4", api.area_fits_request(chunk, off, size, align, geometry)
        if state.reserved_chunk is not None:
            yield "API-7", api.reserved_is_kept(reserved, chunk is state.reserved_chunk)
        if charges and flags & gfp.ACCOUNT and chunk.charges is not None:
            charged = off // geometry.granule in chunk.charges
            yield "ACC-2", accounting.success_is_charged(charged)
    elif refused:
        yield "API-9", None
    elif atomic:
        yield "BAL-5", balance.atomic_failure_asks(marked, asked)
    elif not reserved:
        yield "API-9", api.failure_has_a_cause(size, False)


def judged_work(state: AllocatorView, chunks: Iterable[ChunkView]) -> Iterator[Judged]:
    """Yield the verdict on a run of the work that was refused nothing and found no failure's mark.

    Such a mark lets it populate otherwise.
    """
    if state.geometry.backing == "vm":
        apart = sum(chunk.nr_empty_pop_pages for chunk in chunks if chunk.isolated)
        floating = state.nr_empty_pop_pages + apart
        yield "BAL-7", balance.float_is_topped_up(floating, state.geometry)


def judged_pages(live: int, populated: int, geometry: Geometry) -> Iterator[Judged]:
    """Yield whether the pages allocated, of all units, are those populated in created chunks."""
    if geometry.backing == "vm":
        held = populated * geometry.cpus
        wrong = None if live == held else f"{live} pages are allocated, chunks hold {held}"
        yield "POP-4", wrong


def wrong_charges(charged: int, chunks: Iterable[Any], geometry: Geometry) -> str | None:
    """Return what is wrong with the bytes charged for areas (ACC-1).

    A tree charges for the share of the object vector, or it does not, as trees before 6.1.
    """
    sizes = [
        area_size(chunk, bit * geometry.granule, geometry) or 0
        for chunk in chunks
        for bit in chunk.charges or ()
    ]
    wrong = accounting.charge_is_owed(charged, sizes, geometry)
    if wrong and accounting.charge_is_owed(charged, sizes, geometry, vector=False):
        return wrong
    return None


class CompiledWholeState(WholeState):
    """Judges states of one compiled kernel, each state of a chunk once.

    Compiled code tells the slot that it computes itself (SLOT-1).
    """

    def __init__(self, free_slot: int, without: Collection[str] = KERNELS) -> None:
        super().__init__(without)
        self._free_slot = free_slot
        self._verdicts: dict[tuple[Hashable, bool], list[Breach]] = {}
        self.chunk_evaluations = 0

    def broken_by(self, chunk: ChunkView, geometry: Geometry, settled: bool) -> Iterable[Breach]:
        """Return the clauses that a chunk breaks."""
        compiled: Any = chunk
        key = compiled.contents, settled
        known = self._verdicts.get(key)
        if known is None:
            if len(self._verdicts) == _MOST_VERDICTS:
                self._verdicts.clear()
            self.chunk_evaluations += 1
            known = self._verdicts[key] = list(super().broken_by(chunk, geometry, settled))
            wrong = None if compiled.is_reserved else computed_slot_is(
                chunk, compiled.computed_slot, geometry, self._free_slot
            )  # fmt: skip
            if wrong is not None:
                known.append(("SLOT-1", wrong))
        return known


class Postconditions:
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
        elif kind in "bB" and result.ok and not refused and not self._before[-1]:
            yield from judged_work(self.state, self.state.chunks())
        yield from self._books()

    def _allocation(
        self, operation: Operation, result: OperationResult, refused: bool
    ) -> Iterator[Judged]:
        _, _, size, align, reserved, flags = operation
        state, environment = self.state, self._environment
        _, pages, creates, requests, _ = self._before
        atomic = self._is_atomic(flags)
        if atomic and self._stamp is None:
            added = environment.page_allocs - pages, environment.creates - creates
            yield "API-5", api.atomic_only_takes(False, *added)
        chunk = state.find(result.chunk) if result.ok else None
        if result.ok and chunk is None and self._stamp is None:
            yield "API-4", f"the area lies in chunk {result.chunk}, which there is not"
            return
        yield from judged_allocation(
            state,
            (size, align, reserved, flags),
            (chunk, result.off) if result.ok else None,
            atomic=atomic,
            changed=self._stamp is not None and self._stamp != self._stamp_now(),
            refused=refused,
            marked=state.atomic_alloc_failed,
            asked=not state.async_enabled or environment.balance_requests > requests,
            charges=bool(environment.has_objcg),
        )

    def _books(self) -> Iterator[Judged]:
        """Yield whether pages and charges are those that chunks and areas account for."""
        state, geometry = self.state, self.geometry
        populated = sum(chunk.nr_populated for chunk in state.chunks() if chunk.id > 0)
        yield from judged_pages(state.env.live_pages, populated, geometry)
        if geometry.memcg:
            now = state.env.charged, [chunk.charges for chunk in state.chunks()]
            if now != self._charges:
                self._charges = now
                yield "ACC-1", wrong_charges(now[0], state.chunks(), geometry)
