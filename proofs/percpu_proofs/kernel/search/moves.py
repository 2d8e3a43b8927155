"""Moves of a search as steps of operations: what one did, from the states before and after it.

The kernel's code says nothing of where it stands, so every stop is a PAUSE. Where a step follows on
its actor's one before, with nobody in between, what it does was decided in the state that it left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, Final

from percpu_contracts.clauses import api, maps, reclaim
from percpu_contracts.clauses.isolation import released_is_hidden
from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.operation_steps import Judged, denied_flags, handed_out, judged_step
from percpu_proofs.kernel.postconditions import judged_allocation, judged_work
from percpu_proofs.kernel.search.records import Record, SearchState
from percpu_proofs.recorded.states.snapshot import runs_of
from percpu_proofs.run.operations import WRONG
from percpu_reference.gaps import Gap
from percpu_spec import gfp
from percpu_spec.definitions import area_size, is_legal
from percpu_spec.geometry import Geometry
from percpu_spec.steps import REQUESTS, AreaExtent, Deed, DeedRange, Kind, MemoryRequest, Step

_PAUSE: Final = Gap("stop")  # the kernel's actors tell no more
_NOTHING: Final = 0xFFFFFFFF  # in the place of the flags of what was not asked for


def _lost(before: bytes, after: bytes) -> list[tuple[int, int]]:
    """Return the ranges of bits that were set and are not."""
    if before == after:
        return []
    lost = int.from_bytes(before, "big") & ~int.from_bytes(after, "big")  # a byte a bit, 0 or 1
    return list(runs_of(lost.to_bytes(len(before), "big")))


DeedsBetween = Callable[[int, int, bool], tuple[tuple[Deed, int, int], ...]]
"""The same for two records by their numbers, -1 for none before."""


def deeds_between(
    was: Record | None, now: Record, places: bool
) -> Iterator[tuple[Deed, int, int]]:
    """Yield what leads from one record of a chunk to another, with the range of each deed.

    places: bits that are set are an area placed.
    """
    none = bytes(now.nr_pages)
    populated, mapped, stale = (
        (none,) * 3 if was is None else (was.populated, was.mapped, was.stale)
    )
    used = bytes(len(now.alloc_map)) if was is None else was.alloc_map
    for deed, more, less in (
        (Deed.PLACED, now.alloc_map if places else used, used),
        (Deed.POPULATED, now.populated, populated),
        (Deed.RELEASED, mapped, now.mapped),
        (Deed.FLUSHED, stale, now.stale),
    ):
        for start, end in _lost(more, less):
            yield deed, start, end


class KernelMove:
    """One step of one operation (struct percpu_move)."""

    def __init__(
        self,
        entry: Any,
        before: SearchState,
        after: SearchState,
        deeds: DeedsBetween,
        needed: int,
    ) -> None:
        self.needed = needed  # flags that a request needs to sleep
        self.entry, self.before, self.after = entry, before, after
        self.geometry: Geometry = after.geometry
        self.kind = chr(entry.operation.kind)
        self.origin = list(entry.origin[0 : len(after.chunks)])
        self.did = list(self._deeds(deeds))
        self.requests = [
            MemoryRequest(kind, flags)
            for kind, flags in zip(REQUESTS, entry.requests, strict=True)
            if flags != _NOTHING
        ]

    def _deeds(self, deeds: DeedsBetween) -> Iterator[DeedRange]:
        before, places = self.before.chunks, self.kind == "a"
        for chunk, origin in zip(self.after.chunks, self.origin, strict=True):
            was = before[origin].number if origin >= 0 else -1
            if was != chunk.number:
                for deed, start, end in deeds(was, chunk.number, places):
                    yield DeedRange(deed, chunk, start, end)
        if len(before) > len(self.origin) - self.created:
            for number in set(range(len(before))).difference(self.origin):
                gone = copy(before[number])
                for start, end in runs_of(gone.mapped):
                    yield DeedRange(Deed.RELEASED, gone, start, end)
                yield DeedRange(Deed.DESTROYED, gone)

    def judged_step(self, history: History) -> Iterator[Judged]:
        """Yield the verdicts of the judge of steps, if the step can raise any question."""
        e = self.entry
        moved = self.kind == "b" and self.before.slots != self.after.slots
        asked = self.requests or self._refusal is not None
        if self.did or moved or asked or e.freed >= 0 or e.chunk >= 0 or e.placed >= 0:
            yield from judged_step(self.step(), self.after, history)

    @property
    def released(self) -> list[DeedRange]:
        """What was unmapped and given back."""
        return [done for done in self.did if done.deed is Deed.RELEASED]

    @property
    def created(self) -> int:
        """Chunks that there were not before."""
        return self.origin.count(-1)

    @property
    def area(self) -> AreaExtent | None:
        """The area that an allocation has handed out."""
        e = self.entry
        if e.chunk < 0:
            return None
        return handed_out(self.after, (self.after.chunks[e.chunk], e.off), e.operation.size)

    @property
    def freed(self) -> Record | None:
        """The chunk into which a free that begins frees."""
        if self.entry.freed < 0 or self.entry.freed not in self.origin:
            return None
        return self.after.chunks[self.origin.index(self.entry.freed)]

    def step(self) -> Step:
        """Return the move as the judge of steps takes it."""
        e, before, after = self.entry, self.before, self.after
        places: dict[Any, int] = {}
        for chunk, origin in zip(after.chunks, self.origin, strict=True):
            if origin >= 0 and before.slots[origin] >= 0:
                places[chunk] = before.slots[origin]
        step = Step(
            self.kind,
            None if e.first else _PAUSE,
            None if e.done else _PAUSE,
            (before.nr_empty_pop_pages,),
            places,
            self.did,
            freed=self.freed,
            area=self.area,
            asked=bool(e.asked),
        )
        if e.placed >= 0:
            placed = AreaExtent(after.chunks[e.placed], e.placed_off, e.placed_size)
            step.waiting = [(placed, bool(e.holds))]
        step.exposed = self._exposed()
        step.requests = self.requests
        step.denied, step.handed = denied_flags(self.kind, e.operation.gfp, self.needed)
        step.refusal = self._refusal
        return step

    @property
    def _refusal(self) -> tuple[bool, bool] | None:
        """What a free that names no live area did: whether it changed the state, and warned."""
        e = self.entry
        if self.kind not in WRONG or not (e.before != e.after or (e.done and e.ok)):
            return None
        return e.before != e.after, bool(e.warned)

    def _exposed(self) -> str | None:
        """Return where a chunk could be found from which pages went in this step."""
        for done in self.did:
            if done.deed in (Deed.RELEASED, Deed.FLUSHED) and done.chunk in self.after.chunks:
                at = next(i for i, c in enumerate(self.after.chunks) if c is done.chunk)
                was = self.before.chunks[self.origin[at]]
                wrong = released_is_hidden(self.before, was)
                if wrong is not None:
                    return wrong
        return None


def judged_reclaim(move: KernelMove) -> Iterator[Judged]:
    """Yield verdicts on what reclaim decides, of a step that follows on its actor's one before."""
    if move.kind != "b" or not move.entry.straight:
        return
    history = History()
    step = move.step()
    for done in move.released:
        if done.chunk in step.places:  # else it is to be destroyed
            chunk: Any = done.chunk
            about = Gap("release", chunk, done.start, done.end, Kind.RELEASE)
            decided = Step("b", None, about, step.floats, {}, ())
            yield "RCL-6", reclaim.release_is_affordable(decided, move.before, history)
            break
    wrong = reclaim.drained_is_sidelined(step, move.after, history)
    if wrong != NOT_ASKED:
        yield "RCL-7", wrong


def judged_run(move: KernelMove) -> Iterator[Judged]:
    """Yield verdicts on a whole run of the work that nothing ran beside and was refused nothing."""
    before, after = move.before, move.after
    if after.geometry.backing != "vm" or before.atomic_alloc_failed:
        return
    yield from judged_work(after, after.live)
    for chunk, origin in zip(after.chunks, move.origin, strict=True):
        if origin >= 0 and before.slots[origin] == before.to_depopulate_slot:
            yield "RCL-4", reclaim.chunk_is_drained(after, chunk)


def judged_operation(move: KernelMove, refusals: tuple[str, ...]) -> Iterator[Judged]:
    """Yield verdicts that an operation's last step, or its only one, gives.

    refusals: what may have been refused to it.
    """
    e, geometry = move.entry, move.geometry
    operation = e.operation
    if move.kind == "f":
        if e.first and move.freed is not None:
            yield from _judged_free(move)
        return
    if move.kind != "a":
        return
    atomic = not gfp.may_block(operation.gfp, move.needed)
    pages = sum(d.end - d.start for d in move.did if d.deed is Deed.POPULATED)
    if atomic:
        yield "API-5", api.atomic_only_takes(False, pages, move.created)
    if not e.done:
        return
    request = operation.size, operation.align, bool(operation.reserved), operation.gfp
    if operation.gfp & gfp.NOFAIL and refusals == ("wait",) and is_legal(geometry, *request[:2]):
        yield "API-8", api.wait_is_not_given_up(bool(e.refused) and not e.ok)
    yield from judged_allocation(
        move.after,
        request,
        (move.after.chunks[e.chunk], e.off) if e.chunk >= 0 else None,
        atomic=atomic,
        changed=bool(e.first) and e.before != e.after,
        refused=bool(e.refused),
        marked=move.after.atomic_alloc_failed,
        asked=bool(e.asked),
        charges=geometry.memcg,
    )


def _judged_free(move: KernelMove) -> Iterator[Judged]:
    """Yield the verdict on what a free gives back: the area that began where it points, whole."""
    chunk = move.freed
    assert chunk is not None
    was = move.before.chunks[move.entry.freed]
    size = area_size(was, move.entry.freed_off, move.geometry)
    if size is not None:
        yield "MAP-4", maps.free_returns_area(chunk.free_bytes - was.free_bytes, size)

