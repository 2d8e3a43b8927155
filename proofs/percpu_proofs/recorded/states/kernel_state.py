"""The percpu state of one kernel at one moment, whoever read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from percpu_proofs.recorded.states.quiescence import Quiescence, Stability
from percpu_proofs.recorded.states.snapshot import ChunkSnapshot, Snapshot
from percpu_reference.variants import of_release


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

    @property
    def waited_for(self) -> Sequence[str]:
        """Who stands where: lines 'CPU 2: inner < outer'."""
        return [f"{who}: {stack}" for who, stack in self.quiescence.stacks.items()]


def with_floats(snapshot: Snapshot) -> Snapshot:
    """Return a state of two types with the float of each, where the one number is that of both.

    So it is in kernels before 5.12 without the fix for each type. Nothing tells which it is: a
    number that is the sum over both types, and not over the first, is taken for both's.
    """
    if snapshot.chunk_types == 1 or snapshot.floats:
        return snapshot
    lists = snapshot.nr_slots // snapshot.chunk_types
    sums = tuple(
        sum(c.nr_empty_pop_pages for chunks in snapshot.lists[at : at + lists] for c in chunks)
        for at in range(0, snapshot.nr_slots, lists)
    )
    found = snapshot.nr_empty_pop_pages
    return replace(snapshot, floats=sums) if sums[0] != found == sum(sums) else snapshot
