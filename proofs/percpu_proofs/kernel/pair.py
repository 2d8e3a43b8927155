"""The model and a compiled kernel side by side: the same operations, every field compared."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, pairwise
from operator import attrgetter
from typing import Any, Final

from percpu_contracts.whole_state import WholeState
from percpu_proofs.conformance.difference import Difference, first_difference
from percpu_proofs.conformance.state import Record, Recorder, StateRecord, counter_record
from percpu_proofs.kernel.build import Library
from percpu_proofs.kernel.instance import Kernel, KernelStopped, Result
from percpu_proofs.kernel.model import Model
from percpu_proofs.kernel.views import KernelState
from percpu_proofs.machine import HandleError, Machine, Outcome
from percpu_proofs.oplist import WRONG, Operation
from percpu_reference import build
from percpu_reference.chunk import Chunk
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import shown
from percpu_spec.steps import Request
from percpu_spec.views import HINTS

WHOLE: Final = 16
"""Every so many comparisons all is read, whether the kernel has changed it or not."""

_COMPARED: Final = (
    "live_pages", "page_allocs", "creates", "destroys", "tlb_flushes", "warnings", "charged",
    "objcg_refs", "balance_requests",
)  # fmt: skip
_counters = attrgetter(*_COMPARED)
_scalars = attrgetter(
    "isolated", "immutable", "free_bytes", "nr_pages", "nr_populated", "nr_empty_pop_pages",
    "start_offset", "end_offset",
)  # fmt: skip
_hints = attrgetter(*HINTS)
_ORDER = ("stopped", "op", "ok", "ran", "chunk", "off", "warn", "g", "slots", "chunks", "x")


class Pair:
    """One case: a model and a kernel that have done the same operations so far."""

    def __init__(
        self, library: Library, geometry: Geometry, model: Model, *, judge: bool = False
    ) -> None:
        """Boot both. Raises KernelStopped if the kernel does not boot.

        With judge the clauses are asked of the kernel's state after every operation.
        """
        variant = model.variant()
        self.kernel = Kernel(library, geometry, refuses=variant.CHECKS_FREES)
        self.machine = Machine(build(variant, geometry))
        self.skip = model.skip
        self.judged: KernelState | None = None
        self.broken: Counter[str] = Counter()  # clauses that states of the kernel break
        self._whole = WholeState(model.variant().NOT_APPLICABLE)
        self._compared = 0
        self._requests = 0  # that were equal when they were compared last
        self._pieces: int | None = None  # blocks of memory of one chunk, once there is one
        self._fields: dict[int, _Fields] = {}
        ffi, lib = self.kernel.ffi, self.kernel.lib
        self._order = ffi.buffer(ffi.addressof(lib, "percpu_order"), 4 << 16)
        self._globals = ffi.buffer(ffi.addressof(lib, "percpu_globals"), 16)
        environment = ffi.addressof(lib, "percpu_environment")
        at = ffi.offsetof("struct percpu_environment", _COMPARED[0])
        self._counters = ffi.buffer(environment, at + 8 * (len(_COMPARED) + 1))
        self._counters_at = at
        if judge:
            self.judged = KernelState(self.kernel)

    def close(self) -> None:
        """Give the kernel's memory back."""
        self.kernel.close()

    def step(self, number: int, operation: Operation, *, states: bool = True) -> Difference | None:
        """Let both do an operation; return the first difference. Raises HandleError.

        Without states only the operation's result is compared.
        """
        warnings = self.machine.allocator.env.warnings
        outcome = self.machine.apply(number, operation)
        try:
            result = self.kernel.apply(operation)
            warned = self.machine.allocator.env.warnings - warnings
            if outcome_record(operation, result) != model_record(operation, outcome, warned):
                return first_difference(
                    outcome_record(operation, result),
                    model_record(operation, outcome, warned),
                    _ORDER,
                )
            if not states:
                return None
            return self.judge() if self.same() else self.difference()
        except KernelStopped as stopped:
            return Difference("stopped", str(stopped), "goes on")

    def judge(self) -> Difference | None:
        """Ask the clauses of the kernel's own state; return one that the variant must not break."""
        if self.judged is None:
            return None
        self.judged.read()
        model = self.machine.allocator
        expected = model.EXPECTED
        for clause, wrong in self._whole.broken(
            self.judged, quiescent=model.quiescent
        ):
            self.broken[clause] += 1
            if clause not in expected:
                return Difference(f"clause {clause}", wrong, "holds")
        return None

    def go_on_alone(self, operations: Sequence[Operation]) -> int:
        """Let the kernel do operations by itself, its states judged; return how many it did.

        What it breaks is counted in `broken`; it ends where the kernel stops.
        """
        if self.judged is None:
            return 0
        for number, operation in enumerate(operations):
            try:
                self.kernel.apply(operation)
                self.judged.read()
            except (KernelStopped, HandleError):  # a handle that the model alone holds
                return number
            at_rest = not self.judged.work_pending
            for clause, _ in self._whole.broken(self.judged, quiescent=at_rest):
                self.broken[clause] += 1
        return len(operations)

    def boot_difference(self) -> Difference | None:
        """Return the first difference of the states at boot."""
        try:
            return None if self.same() else self.difference()
        except KernelStopped as stopped:
            return Difference("stopped", str(stopped), "goes on")

    def same(self) -> bool:
        """Return whether every field of both states is equal. Raises KernelStopped.

        The blocks' hints of a chunk that the kernel has not changed since are read at every
        WHOLE-th comparison only: they cost the most by far.
        """
        self._compared += 1
        whole = self._compared % WHOLE == 0
        kernel, model = self.kernel, self.machine.allocator
        kernel.check(kernel.lib.percpu_read())
        order: list[int] = []
        chunks: list[Chunk] = []
        for head in model.chunk_lists:
            chunk = head.next
            while chunk is not head:
                order += (head.slot, chunk.id)
                chunks.append(chunk)
                chunk = chunk.next
        order.append(-1)
        env = model.env
        counters = array("q", (*_counters(env), model.work_pending)).tobytes()
        counts = (
            model.nr_populated, model.nr_empty_pop_pages, model.atomic_alloc_failed,
            model.async_enabled,
        )  # fmt: skip
        if (
            self._order[: 4 * len(order)] != array("i", order).tobytes()
            or self._counters[self._counters_at :] != counters
            or self._globals[:] != array("i", counts).tobytes()
            or kernel.environment.stray
            or kernel.environment.misuse
            or self._left_behind()
            or not self._printed_alike()
            or not self._asked_alike()
        ):
            return False
        chunk_slot = model.chunk_slot
        for head_slot, chunk in zip(order[::2], chunks, strict=False):
            if not self._fields_of(chunk).same(chunk, head_slot, chunk_slot(chunk), whole):
                return False
        reserved = model.reserved_chunk
        return reserved is None or self._fields_of(reserved).same(
            reserved, -1, chunk_slot(reserved), whole
        )

    def _left_behind(self) -> int:
        """Return how many blocks of memory the kernel holds beyond those of its chunks.

        Each chunk but those of boot has equally many; one more is the array that populating keeps.
        """
        environment, model = self.kernel.environment, self.machine.allocator
        chunks = environment.creates - environment.destroys - 1  # the first chunk counts as created
        held = int(environment.blocks) - model.pages_array
        if self._pieces is None and chunks and held % chunks == 0:
            self._pieces = held // chunks
        return int(held - chunks * (self._pieces or 0))

    def _printed_alike(self) -> bool:
        environment, env = self.kernel.environment, self.machine.allocator.env
        return bool(self.skip) or (
            environment.printed == env.printed and environment.stack_dumps == env.stack_dumps
        )

    def _asked_alike(self) -> bool:
        """Return whether both have asked for the same, with the same flags."""
        count = self.kernel.lib.percpu_asked
        if count != self._requests:
            if self.kernel.requests != self.machine.allocator.env.requests:
                return False
            self._requests = count
        return True

    def _fields_of(self, chunk: Chunk) -> _Fields:
        fields = self._fields.get(chunk.id)
        if fields is None:
            records = self.kernel.lib.percpu_records
            index = 0
            while records[index].id != chunk.id:
                index += 1
            fields = self._fields[chunk.id] = _Fields(self.kernel, records[index])
        return fields

    def difference(self) -> Difference | None:
        """Return the first field in which the states differ, from whole records of both."""
        theirs, ours = self.records()
        return first_difference(theirs, ours, _ORDER, self.skip)

    def records(self) -> tuple[Record, Record]:
        """Return the whole states of kernel and model, chunks by id."""
        state = KernelState(self.kernel)
        theirs = Recorder(state).read()
        model = self.machine.allocator
        kernel = _whole(theirs, counter_record(state))
        environment = self.kernel.environment
        kernel["memory touched or freed wrongly"] = environment.stray
        kernel["blocks of memory left behind"] = self._left_behind()
        kernel["locks taken wrongly"] = environment.misuse
        kernel["asked for"] = _said(self.kernel.requests)
        kernel["async"] = state.async_enabled
        ours = _whole(Recorder(model).read(), counter_record(model))
        ours |= {
            "memory touched or freed wrongly": 0,
            "blocks of memory left behind": 0,
            "locks taken wrongly": 0,
            "asked for": _said(model.env.requests),
        }
        ours["async"] = model.async_enabled
        return kernel, ours


def _whole(state: StateRecord, counters: Record) -> Record:
    return {"g": state.g, "slots": state.slots, "chunks": state.chunks, "x": counters}


def _said(requests: Mapping[Request, int]) -> Record:
    """Return requests in words, each with how often it was made."""
    return {f"{r.kind} with {shown(r.gfp)}": count for r, count in sorted(requests.items())}


class _Fields:
    """One chunk of the kernel, laid out so that it compares quickly with the model's."""

    __slots__ = ("alloc_map", "bound_map", "charged", "populated", "record", "seen", "words")

    def __init__(self, kernel: Kernel, record: Any) -> None:
        self.record = record
        self.seen = -1  # the kernel's count of changes when the blocks' hints were last equal
        self.words = kernel.ffi.buffer(record.words, 4 * record.nr_words)
        maps = memoryview(kernel.ffi.buffer(record.maps, record.nr_maps))
        pages = record.words[6]
        bits = pages * kernel.geometry.block_bits
        ends = [0, pages, pages + bits, pages + 2 * bits + 1, record.nr_maps]
        self.populated, self.alloc_map, self.bound_map, self.charged = (
            maps[start:end] for start, end in pairwise(ends)
        )

    def same(self, chunk: Chunk, slot: int, computed: int, whole: bool) -> bool:
        """Return whether the model's chunk is equal, field by field."""
        words = array("i", (chunk.id, slot, computed, *_scalars(chunk), *_hints(chunk.chunk_md)))
        changes = self.record.changes
        if whole or changes != self.seen:
            words.extend(chain.from_iterable(map(_hints, chunk.md_blocks)))
            self.seen = changes
        head = words.tobytes()
        if (
            self.words[: len(head)] != head
            or chunk.alloc_map != self.alloc_map
            or chunk.bound_map != self.bound_map
            or chunk.populated != self.populated
        ):
            return False
        charges = chunk.obj_exts
        if charges is None:
            return not len(self.charged)
        charged = bytes(self.charged)
        return charged.count(1) == len(charges) and all(charged[bit] for bit in charges)


def outcome_record(operation: Operation, result: Result) -> Record:
    """Return the result fields of an operation as the vectors write them, from the kernel."""
    kind, arg = operation[:2]
    if kind == "a":
        if not result.ok:
            return {"h": arg, "ok": 0, "warn": result.warned}
        return {"h": arg, "ok": 1, "chunk": result.chunk, "off": result.off}
    if kind == "f":
        return {"h": arg, "ok": int(result.ok)}
    if kind in WRONG:
        return {"arg": arg, "ok": int(result.ok), "warn": result.warned}
    if kind in "bB":
        return {"ran": int(result.ok)}
    return {"arg": arg}


def model_record(operation: Operation, outcome: Outcome, warned: int) -> Record:
    """Return the same fields from the model."""
    chunk, off = (outcome.area[0].id, outcome.area[1]) if outcome.area else (0, 0)
    return outcome_record(operation, Result(outcome.ok, chunk, off, warned))
