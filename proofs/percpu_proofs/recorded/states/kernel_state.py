"""A state with its kernel: how far that was at rest, and so what may be asked of the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from percpu_contracts.registry import When, state_clauses
from percpu_proofs.recorded.states.snapshot import ChunkSnapshot, Snapshot
from percpu_reference.variants import of_release


class Stability(Enum):
    """How far a state is at rest. Where nothing was told, the state may still show that it is not.
    """

    AT_REST = "at rest"
    BUSY = "busy"
    TORN = "torn"
    NOT_TOLD = "not told"


@dataclass(frozen=True, slots=True)
class Quiescence:
    """Who held the locks and what was under way as a state was read; None: not told.

    lock: the raw value of pcpu_lock, 0 where it is free. owner: of pcpu_alloc_mutex, name[pid],
    empty where it is free. waiters: somebody waits for that mutex. pending, running: the balance
    work. stacks: where CPUs and the mutex owner stand, innermost function first.
    """

    lock: int | None = None
    owner: str | None = None
    waiters: bool | None = None
    pending: bool | None = None
    running: bool | None = None
    stacks: Mapping[str, str] = field(default_factory=dict)

    @property
    def stability(self) -> Stability:
        """How far at rest the state is, by what was told alone."""
        if self.lock:
            return Stability.TORN
        if self.owner or self.waiters or self.pending or self.running:
            return Stability.BUSY
        told = (self.lock, self.owner, self.waiters, self.pending)
        return Stability.NOT_TOLD if None in told else Stability.AT_REST

    @property
    def words(self) -> str:
        """The two locks and the work, in words."""
        lock = {None: "not told", 0: "free"}.get(self.lock, f"HELD ({self.lock or 0:#x})")
        mutex = {None: "not told", "": "free"}.get(self.owner, f"held by {self.owner}")
        waited = ", waited for" if self.waiters else ""
        return f"pcpu_lock {lock}, pcpu_alloc_mutex {mutex}{waited}, balance work {self._work}"

    @property
    def _work(self) -> str:
        if self.pending is None:
            return "not told"
        if self.pending or self.running:
            return " and ".join(["pending"] * self.pending + ["running"] * bool(self.running))
        return "not pending" if self.running is None else "neither pending nor running"


_POPULATION = ("POP-1", "POP-2")
"""They wait while an allocation may stand between its area and its pages."""


def waiting(quiescence: Quiescence, signs: str = "") -> dict[str, str]:
    """Return the clauses that wait for a later moment, each with the reason.

    signs: what else shows that the state is not at rest, in words. POP-3 waits in part: what it
    says of single chunks is asked all the same.
    """
    quiescent = state_clauses(When.QUIESCENT)
    if quiescence.owner:
        reason = f"pcpu_alloc_mutex is held by {quiescence.owner}"
        return dict.fromkeys((*_POPULATION, "POP-3", *quiescent), reason)
    if quiescence.pending or quiescence.running:
        how = "running" if quiescence.running else "pending"
        return dict.fromkeys(quiescent, f"the balance work is {how}")
    if quiescence.waiters:
        return dict.fromkeys(quiescent, "somebody waits for pcpu_alloc_mutex")
    return dict.fromkeys(quiescent, signs) if signs else {}


@dataclass(frozen=True, slots=True)
class KernelState:
    """A state with its kernel, and how far that was at rest.

    source: the file, or what else was read, for messages. types: what its types were taken from.
    counts: the source tells how many chunks there are, so none can be lost unseen.
    """

    source: str
    release: str
    snapshot: Snapshot
    quiescence: Quiescence
    types: str
    counts: bool = True

    @property
    def variant(self) -> str:
        """The variant that the kernel's release has; empty for one that is too old."""
        return of_release(self.release)

    @property
    def chunks(self) -> list[ChunkSnapshot]:
        """The chunks on lists, list by list; their numbers are their places here."""
        return [chunk for chunks in self.snapshot.lists for chunk in chunks]

    @property
    def names(self) -> dict[ChunkSnapshot, str]:
        """What each chunk is called: its number, -1 the reserved one."""
        names = {chunk: str(number) for number, chunk in enumerate(self.chunks)}
        if self.snapshot.reserved_chunk is not None:
            names[self.snapshot.reserved_chunk] = "-1"
        return names

    @property
    def signs(self) -> str:
        """What the structures themselves show of work under way, in words; empty: nothing."""
        snapshot, geometry = self.snapshot, self.snapshot.geometry
        hidden = snapshot.to_depopulate_slot
        if not snapshot.async_enabled:
            return "asynchronous work is not enabled yet"
        if self.quiescence.pending is not None:
            return ""
        if snapshot.atomic_alloc_failed:
            return "the mark of a failed atomic allocation is set: work was asked for"
        if hidden >= 0 and snapshot.slot_chunks(hidden):
            return "a chunk waits on to_depopulate: work was asked for"
        if snapshot.nr_empty_pop_pages < geometry.empty_low:
            return "the float is below LOW: work was asked for"
        return ""

    @property
    def stability(self) -> Stability:
        """How far at rest the state is, what it shows itself included."""
        stability = self.quiescence.stability
        return Stability.BUSY if self.signs and stability is not Stability.TORN else stability


def with_floats(snapshot: Snapshot) -> Snapshot:
    """Return a state of two types with the float of each, where the one number is that of both.

    So it is in kernels before 5.12 without the fix for each type. Nothing tells which it is: a
    number that is the sum over both types, and not over the first, is taken for both's.
    """
    if snapshot.chunk_types == 1 or snapshot.floats:
        return snapshot
    sums = tuple(map(snapshot.counted_float, range(snapshot.chunk_types)))
    found = snapshot.nr_empty_pop_pages
    return replace(snapshot, floats=sums) if sums[0] != found == sum(sums) else snapshot
