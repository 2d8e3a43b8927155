"""A schedule of a compiled kernel run again, step by step, in words for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from percpu_proofs.explore.overlap import OperationSpan, OperationStep, spans
from percpu_proofs.kernel import instance as points
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.library import Library, SourceLocation, places_of
from percpu_proofs.kernel.search.compiled import BEGIN, FAULTS, WORK, CompiledSearch
from percpu_proofs.kernel.search.records import Record, present_state
from percpu_proofs.run.operations import HANDLES, Operation, text_of
from percpu_proofs.show.rows import StateRows, state_of

_STANDS: Final = {
    points.DONE: "ends",
    points.UNLOCKED: "pcpu_lock released",
    points.MEMORY: "asks for memory",
    points.RELEASED: "pcpu_alloc_mutex released",
    points.FAILED: "reports a failure",
    points.RESCHED: "may be preempted",
    points.WAITING: "waits for pcpu_alloc_mutex",
    points.ACCESS: "accesses shared memory",
}
_OWN = 0xFF  # of a label: whose step, or what begins


@dataclass(frozen=True, slots=True)
class TreeStep:
    """One step: who took it, where the actor stands then, and the state it left."""

    actor: int
    operation: str  # in the operation language
    begins: bool
    ends: bool
    refused: str  # what was asked for in vain
    stands: str
    function: str  # of the tree, where it stands; empty at its end
    line: str
    mutex: int | None  # who holds pcpu_alloc_mutex
    state: StateRows | None  # None where the kernel stops, or its lists are corrupt

    def as_json(self) -> dict[str, Any]:
        """Return the step with plain values only."""
        plain = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "state"}
        chunks = () if self.state is None else self.state.chunks
        counters = {} if self.state is None else dict(self.state.counters)
        return plain | {
            "float": counters.get("pcpu_nr_empty_pop_pages", 0),
            "memory": [f"{chunk.place:13} {chunk.name}: {chunk.pages}" for chunk in chunks],
            "counters": counters,
        }


@dataclass(frozen=True, slots=True)
class Retrace:
    """A schedule in words, and the operations as they began."""

    operations: tuple[str, ...]
    steps: tuple[TreeStep, ...]
    stopped: str = ""  # why the kernel went no further than this
    before: StateRows | None = None  # the state behind the setup

    @property
    def spans(self) -> Iterator[OperationSpan[str]]:
        """Which of its operations run alone, and which beside one another."""
        return spans(
            OperationStep(s.actor, s.operation, s.operation[0] in "bB", s.ends) for s in self.steps
        )


def retrace(
    search: CompiledSearch, library: Library, labels: Sequence[int], *, rest: bool = False
) -> Retrace:
    """Run a schedule again. Handles are numbered as they are allocated into.

    rest: what is wrong is how the work goes on from there, alone.
    """
    numbers = dict(search.handles)
    operations: list[str] = []
    under_way: dict[int, str] = {}
    rows: list[tuple[Any, ...]] = []
    stopped = ""
    before = _state(search) if search.replay(()) else None
    for count, label in enumerate(labels, 1):
        seen = _state(search) if search.replay(labels[:count]) else None
        stopped = search.reason if seen is None else ""
        actor = search.lib.percpu_mover
        begins = actor not in under_way
        if begins:
            under_way[actor] = _began(search, actor, numbers)
            operations.append(under_way[actor])
        point, addresses = search.trace(actor) if seen else (points.DONE, search.stop_trace())
        rows.append((actor, under_way[actor], begins, label, point, addresses, seen))
        if seen is None:
            break
        if point == points.DONE and search.plan.longest:
            del under_way[actor]
    if rest and not stopped and search.comes_to_rest(labels):
        begins = bool(search.plan.longest) or 0 not in under_way
        rows.append((0, "b", begins, WORK, points.DONE, search.stop_trace(), None))
    places = places_of(library.path, [address for row in rows for address in row[5]])
    steps = tuple(_step(row, places) for row in rows)
    return Retrace(tuple(operations), steps, stopped, before and before[1])


def _began(search: CompiledSearch, actor: int, numbers: dict[int, int]) -> str:
    """Return the operation that an actor began with, its handle as people count."""
    kind, handle, size, align, reserved, gfp = search.operation(actor)
    if kind == "a" and (search.plan.longest or handle not in numbers):
        numbers[handle] = max(numbers.values(), default=0) + 1
    arg = numbers.get(handle, handle) if kind in HANDLES else size
    operation: Operation = (kind, arg, size, align, reserved, gfp)
    return text_of(operation)


def _step(row: tuple[Any, ...], places: dict[int, tuple[SourceLocation, ...]]) -> TreeStep:
    actor, operation, begins, label, point, addresses, seen = row
    here = next((place for address in addresses for place in places[address]), None)
    holder, state = seen if seen is not None else (None, None)
    refused = [name for bit, name in enumerate(FAULTS) if label >> 8 + bit & 1]
    return TreeStep(
        actor, operation, begins, seen is not None and point == points.DONE,
        ", ".join(refused), _STANDS[point] if seen is not None else "the kernel stops",
        here.function if here else "", f"{here.file}:{here.line}" if here else "",
        holder, state,
    )  # fmt: skip


def _state(search: CompiledSearch) -> tuple[int | None, StateRows] | None:
    """Return the mutex's holder and the present state; None if lists are corrupt."""
    try:
        view = present_state(search)
    except KernelStopped:
        return None
    ids = [search.lib.percpu_chunk_id(number) for number in range(len(view.chunks))]

    def losing(chunk: Record, page: int) -> bool:
        return bool(chunk.populated[page] and not chunk.mapped[page])

    state = state_of(view, "", losing, lambda chunk: str(ids[chunk.number]))
    holder = search.lib.percpu_search_holder()
    return None if holder < 0 else holder, state


def operations_of(search: CompiledSearch, labels: Sequence[int]) -> int:
    """Return how many operations of callers a schedule begins, the setup's included."""
    if search.plan.longest:
        return sum((label & _OWN) >= BEGIN for label in labels)
    return len(search.plan.setup) + len(search.plan.operations)
