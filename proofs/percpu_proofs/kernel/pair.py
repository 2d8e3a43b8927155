"""The model and a compiled kernel side by side: the same operations, every field compared."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Final

from percpu_proofs.kernel.instance import Kernel, KernelStopped, Library, OperationResult
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.postconditions import CompiledWholeState, Postconditions
from percpu_proofs.kernel.views import CompiledState, KernelChunk
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.operations import Operation
from percpu_proofs.run.state_record import (
    Difference,
    Record,
    Recorder,
    counter_record,
    differences,
    hints_of,
    model_record,
    outcome_record,
    placed,
    scalars_of,
)
from percpu_reference import build
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import flag_words
from percpu_spec.steps import MemoryRequest

WHOLE: Final = 16
"""Every so many comparisons all is read, whether the kernel has changed it or not."""

_COMPARED: Final = (
    "live_pages", "page_allocs", "creates", "destroys", "tlb_flushes", "warnings", "charged",
    "objcg_refs", "balance_requests",
)  # fmt: skip
_counters = attrgetter(*_COMPARED)
_totals = attrgetter("nr_populated", "nr_empty_pop_pages", "atomic_alloc_failed", "async_enabled")
_ORDER = ("stopped", "op", "ok", "ran", "chunk", "off", "warn", "g", "slots", "chunks", "x")


class Pair:
    """One case: a model and a kernel that have done the same operations so far."""

    def __init__(
        self,
        library: Library,
        geometry: Geometry,
        model: ModelVariant,
        *,
        judge: bool = False,
        hasty: bool = False,
    ) -> None:
        """Boot both. Raises KernelStopped if the kernel does not boot.

        With judge the clauses are asked of the kernel's state after every operation. hasty: as of
        a Kernel.
        """
        variant = model.variant()
        self.kernel = Kernel(library, geometry, refuses=variant.CHECKS_FREES, hasty=hasty)
        self.driver = Driver(build(variant, geometry))
        self.skip = model.skip
        self.state = CompiledState(self.kernel)
        self.broken: Counter[str] = Counter()  # clauses that states of the kernel break
        self.new: dict[str, str] = {}  # of these, which the variant does not, and what was wrong
        self.areas: dict[int, tuple[int, int] | None] = {}  # the kernel's: chunk number, offset
        allocator = self.driver.allocator
        self._whole: CompiledWholeState | None = None
        self._postconditions: Postconditions | None = None
        if judge:
            self._whole = CompiledWholeState(self.state.free_slot, allocator.NOT_APPLICABLE)
            self._postconditions = Postconditions(self.kernel, self.state, allocator.is_atomic)
        self._last: tuple[Operation, OperationResult]  # what was done last, and how it ended
        self.declared = 0  # operations that print otherwise
        self._more_printed = 0, 0  # by the model
        self._compared = 0
        self._requests = 0  # that were equal when they were compared last
        self._pieces: int | None = None  # blocks of memory of one chunk, once there is one
        self._equal: dict[int, int] = {}  # changes of a chunk when the blocks' hints were equal
        ffi, lib = self.kernel.ffi, self.kernel.lib
        environment = ffi.addressof(lib, "percpu_environment")
        at = ffi.offsetof("struct percpu_environment", _COMPARED[0])
        self._counters = ffi.buffer(environment, at + 8 * (len(_COMPARED) + 1))
        self._counters_at = at

    def close(self) -> None:
        """Give the kernel's memory back."""
        self.kernel.close()

    def do(self, number: int, operation: Operation) -> tuple[Record, Record]:
        """Let both do an operation; return what it did, by the kernel and by the model.

        Raises HandleError, KernelStopped.
        """
        env = self.driver.allocator.env
        warnings = env.warnings
        kind, handle = operation[:2]
        if self._postconditions is not None:
            self._postconditions.begin(operation, self.areas.get(handle) if kind == "f" else None)
        outcome = self.driver.apply(number, operation)
        result = self.kernel.apply(operation)
        self._last = operation, result
        if kind == "a":
            self.areas[handle] = (result.chunk, result.off) if result.ok else None
        elif kind == "f":
            self.areas.pop(handle, None)
        ours = model_record(operation, outcome, env.warnings - warnings)
        return outcome_record(operation, *result), ours

    def step(self, number: int, operation: Operation, *, states: bool = True) -> Difference | None:
        """Let both do an operation; return the first difference. Raises HandleError.

        Without states only the operation's result is compared.
        """
        try:
            theirs, ours = self.do(number, operation)
            if theirs != ours:
                return next(differences(theirs, ours, _ORDER), None)
            if not states:
                return None
            return self.judge() if self.same() else self.difference()
        except KernelStopped as stopped:
            return Difference("stopped", str(stopped), "goes on")

    def judge(self) -> Difference | None:
        """Ask the clauses of the state read last; return one that the variant must not break."""
        clause = self._judge(self.driver.allocator.quiescent)
        return None if clause is None else Difference(f"clause {clause}", self.new[clause], "holds")

    def judge_alone(self) -> None:
        """Ask the clauses of the state read last, whatever the model is in."""
        state = self.state
        begun = self.kernel.geometry.async_enabled  # else requests for work may have been lost
        self._judge(begun and state.async_enabled and not state.work_pending)

    def _judge(self, quiescent: bool) -> str | None:
        """Ask the clauses of the operation done last and of the state behind it.

        Return the first broken one that the variant must not break.
        """
        if self._whole is None or self._postconditions is None:
            return None
        first = None
        expected = self.driver.allocator.EXPECTED
        without = self.driver.allocator.NOT_APPLICABLE
        answers = [
            (clause, wrong)
            for clause, wrong in self._postconditions.after(*self._last)
            if wrong is not None and clause not in without
        ]
        states = self._whole.broken(self.state, quiescent=quiescent)
        for clause, wrong in chain(states, answers):
            self.broken[clause] += 1
            if clause not in expected:
                self.new.setdefault(clause, wrong)
                first = first or clause
        return first

    def run(
        self, operations: Sequence[Operation], *, every: bool = True
    ) -> tuple[int, Difference | None]:
        """Let both do operations up to the first difference; return how many, and that.

        The states at boot are compared first. Without `every` the next ones are those behind the
        last operation, which is much faster. Raises HandleError.
        """
        try:
            found = None if self.same() else self.difference()
        except KernelStopped as stopped:
            found = Difference("stopped", str(stopped), "goes on")
        number = 0
        while found is None and number < len(operations):
            number += 1
            states = every or number == len(operations)
            found = self.step(number, operations[number - 1], states=states)
        return number, found

    def same(self) -> bool:
        """Return whether every field of both states is equal. Raises KernelStopped.

        The blocks' hints of a chunk that the kernel has not changed since are read at every
        WHOLE-th comparison only: they cost the most by far.
        """
        self._compared += 1
        whole = self._compared % WHOLE == 0
        kernel, model, state = self.kernel, self.driver.allocator, self.state
        state.read()
        ours = list(placed(model))
        env = model.env
        counters = array("q", (*_counters(env), model.work_pending)).tobytes()
        listed = [(slot, chunk.id) for slot, chunk in ours if slot >= 0]
        if (
            state.order != listed
            or self._counters[self._counters_at :] != counters
            or not self.same_totals()
            or kernel.environment.stray
            or kernel.environment.misuse
            or self._left_behind()
            or not self._printed_alike()
            or not self._asked_alike()
        ):
            return False
        for slot, chunk in ours:
            theirs = state.chunk(chunk.id)
            known = not whole and theirs.changes == self._equal.get(chunk.id)
            if theirs.on_list != slot or not self.same_chunk(theirs, chunk, blocks=not known):
                return False
            self._equal[chunk.id] = theirs.changes
        return True

    def same_totals(self) -> bool:
        """Return whether the counters of both allocators are equal."""
        return _totals(self.state) == _totals(self.driver.allocator)

    def same_chunk(self, theirs: KernelChunk, ours: Chunk, *, blocks: bool = True) -> bool:
        """Return whether two chunks are equal but for their numbers; blocks: and their blocks."""
        charges = ours.obj_exts
        return (
            theirs.computed_slot == self.driver.allocator.chunk_slot(ours)
            and theirs.scalars == scalars_of(ours)
            and theirs.hints == hints_of(ours.chunk_md)
            and theirs.alloc_map == ours.alloc_map
            and theirs.bound_map == ours.bound_map
            and theirs.populated == ours.populated
            and theirs.charges == (None if charges is None else charges.keys())
            and (not blocks or theirs.block_hints == list(map(hints_of, ours.md_blocks)))
        )

    def _left_behind(self) -> int:
        """Return how many blocks of memory the kernel holds beyond those of its chunks.

        Each chunk but those of boot has equally many; one more is the array that populating keeps.
        """
        environment, model = self.kernel.environment, self.driver.allocator
        chunks = environment.creates - environment.destroys - 1  # the first chunk counts as created
        held = int(environment.blocks) - model.pages_array
        if self._pieces is None and chunks and held % chunks == 0:
            self._pieces = held // chunks
        return int(held - chunks * (self._pieces or 0))

    def _printed_alike(self) -> bool:
        """Return whether as much was printed; where that differs as declared, note how often."""
        environment, env = self.kernel.environment, self.driver.allocator.env
        more = env.printed - environment.printed, env.stack_dumps - environment.stack_dumps
        self.declared += bool(self.skip) and more != self._more_printed
        self._more_printed = more
        return bool(self.skip) or more == (0, 0)

    def _asked_alike(self) -> bool:
        """Return whether both have asked for the same, with the same flags."""
        count = self.kernel.lib.percpu_asked
        if count != self._requests:
            if self.kernel.requests != self.driver.allocator.env.requests:
                return False
            self._requests = count
        return True

    def difference(self) -> Difference | None:
        """Return the first field in which the states differ, from whole records of both."""
        return next(self.differences(), None)

    def differences(self) -> Iterator[Difference]:
        """Yield all fields in which the states differ. Raises KernelStopped."""
        theirs, ours = self.records()
        yield from differences(theirs, ours, _ORDER, self.skip)

    def records(self) -> tuple[Record, Record]:
        """Return the whole states of kernel and model, chunks by id."""
        self.state.read()
        environment, model = self.kernel.environment, self.driver.allocator
        theirs = _whole(
            self.state, self.kernel.requests, environment.stray, self._left_behind(),
            environment.misuse,
        )  # fmt: skip
        return theirs, _whole(model, model.env.requests)


def _whole(
    allocator: CompiledState | Allocator,
    requests: Mapping[MemoryRequest, int],
    stray: int = 0,
    left_behind: int = 0,
    misuse: int = 0,
) -> Record:
    """Return all that is compared of an allocator; the last three are as the stubs count them."""
    state = Recorder(allocator).read()
    return {
        "g": state.g,
        "slots": {entry[0]: entry[1] for entry in state.slots},
        "chunks": state.chunks,
        "x": counter_record(allocator),
        "memory touched or freed wrongly": stray,
        "blocks of memory left behind": left_behind,
        "locks taken wrongly": misuse,
        "asked for": {
            f"{request.kind} with {flag_words(request.gfp)}": count
            for request, count in sorted(requests.items())
        },
        "async": allocator.async_enabled,
    }
