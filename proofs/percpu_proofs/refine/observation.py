"""The abstraction function: from the allocator's bitmaps, lists and flags to the machine's state.

Pages are judged by the allocation map itself, never by a hint.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

from percpu_contracts.history import History
from percpu_reference.gaps import Gap, Kind
from percpu_reference.variants import Allocator
from percpu_spec.protocol.concrete import ABSENT, IDLE, NOBODY, NOWHERE, PlainWorld
from percpu_spec.protocol.pages import NO_PAGES, Pages, Span
from percpu_spec.protocol.state import ChunkState, Phase, Place, Position, standing

_LONGEST = 100_000  # chunks on a list that is still believed to have an end


class NoMachineState(ValueError):
    """A chunk has no one place, as it is on two lists or on one and owned; or a gap no phase."""


class AreaChange(NamedTuple):
    """An area that was taken or freed, as the pages whose bits changed."""

    c: int
    pages: Span
    taken: bool


@dataclass(slots=True)
class _ChunkObservation:
    """A chunk's maps when last looked at, and what they came to."""

    alloc_map: bytes = b""
    populated: bytes = b""
    free_bytes: int = 0
    record: ChunkState | None = None


def world_of(allocator: Allocator) -> PlainWorld:
    """Return the constants of an allocator's machine."""
    geometry = allocator.geometry
    reserved, first = allocator.reserved_chunk, allocator.first_chunk
    sizes = {first.id: first.nr_pages}
    if reserved is not None:
        sizes[reserved.id] = reserved.nr_pages
    return PlainWorld(
        high=geometry.empty_high,
        unit_pages=geometry.unit_pages,
        divisor=geometry.reclaim_divisor,
        first=first.id,
        reserved=NOWHERE if reserved is None else reserved.id,
        sizes=sizes,
    )


def float_of(allocator: Allocator) -> int:
    """Return the float, of all types of chunks together."""
    floating: int = allocator.nr_empty_pop_pages
    return floating + getattr(allocator, "nr_empty_pop_memcg", 0)


class Observer:
    """Looks at one allocator again and again; only what changed is read anew.

    relists: a free may list a chunk that a step owns; its place is then that list.
    """

    def __init__(self, allocator: Allocator, *, relists: bool = False) -> None:
        self.allocator = allocator
        self.relists = relists
        self.block_bits = allocator.geometry.block_bits
        self.places = self._places()
        self.seen: dict[int, _ChunkObservation] = {}

    def _places(self) -> list[Place]:
        """Return what each list stands for; a variant without a list has no slot for it."""
        allocator = self.allocator
        slots = allocator.nr_slots // allocator.chunk_types
        one_type = [Place.ACTIVE] * slots
        for slot, place in (
            (allocator.sidelined_slot, Place.SIDELINED),
            (allocator.to_depopulate_slot, Place.TO_DEPOPULATE),
            (allocator.free_slot, Place.FREE),
        ):
            if 0 <= slot < slots:
                one_type[slot] = place
        return one_type * allocator.chunk_types

    def mark(self) -> dict[int, _ChunkObservation]:
        """Return what was seen so far, to come back to."""
        return {c: copy(seen) for c, seen in self.seen.items()}

    def back_to(self, mark: dict[int, _ChunkObservation]) -> None:
        """Forget what was seen since a mark; chunks are told apart by their ids."""
        self.seen = {c: copy(seen) for c, seen in mark.items()}

    def where(self) -> Iterator[tuple[Any, Place]]:
        """Yield every chunk with its place."""
        allocator = self.allocator
        if allocator.reserved_chunk is not None:
            yield allocator.reserved_chunk, Place.RESERVED
        for place, head in zip(self.places, allocator.chunk_lists, strict=True):
            chunk = head.next
            steps = 0
            while chunk is not head:
                # boot's are never as the free ones, which are destroyed
                yield chunk, Place.ACTIVE if chunk.immutable and place is Place.FREE else place
                chunk = chunk.next
                steps += 1
                if steps > _LONGEST:
                    raise NoMachineState(f"list {head.slot} has no end")
        for chunk in allocator.owned:
            yield chunk, Place.OWNED

    def look(
        self, history: History | None, owner: Any, was: dict[Any, ChunkState]
    ) -> tuple[dict[int, ChunkState], list[AreaChange]]:
        """Return every live chunk by its id, and the areas touched since the last look.

        owner: who owns a chunk that no one owned in `was`. Without a history stale pages are
        those in `was`. Raises NoMachineState.
        """
        found: dict[int, ChunkState] = {}
        touched: list[AreaChange] = []
        all_stale = history.stale if history is not None else None
        for chunk, place in self.where():
            c = chunk.id
            before = was.get(c, ABSENT)
            holder = owner if before.owner == NOBODY else before.owner
            if c in found and self.relists and place is Place.OWNED:
                found[c] = found[c]._replace(owner=holder)
                continue
            if c in found:
                raise NoMachineState(f"chunk {c} is at {found[c].place.name} and {place.name}")
            seen = self.seen.get(c)
            if seen is None:
                seen = self.seen[c] = _ChunkObservation()
            old = seen.record
            if (
                old is not None
                and old.place is place
                and old.empties == chunk.nr_empty_pop_pages
                and old.isolated == chunk.isolated
                and old.owner == NOBODY
                and not (old.stale or all_stale or before.stale)
                and seen.populated == chunk.populated
                and seen.alloc_map == chunk.alloc_map
            ):
                found[c] = old
                continue
            used, populated = self._maps(chunk, c, seen, touched)
            stale = before.stale
            if all_stale is not None:
                stale = Pages(sum(1 << page for held, page in all_stale if held is chunk))
            if place is not Place.OWNED:
                holder = NOBODY
            new = ChunkState(
                place, chunk.isolated, holder, used, populated, stale, chunk.nr_empty_pop_pages
            )
            if new != old:
                seen.record = old = new
            found[c] = old
        if len(self.seen) > len(found):
            self.seen = {c: self.seen[c] for c in found}
        return found, touched

    def _maps(
        self, chunk: Any, c: int, seen: _ChunkObservation, touched: list[AreaChange]
    ) -> tuple[Pages, Pages]:
        old = seen.record
        used, populated = (NO_PAGES, NO_PAGES) if old is None else (old.used, old.populated)
        if seen.alloc_map != chunk.alloc_map:
            now, was, size = bytes(chunk.alloc_map), seen.alloc_map, self.block_bits
            changed = [
                page
                for page in range(chunk.nr_pages)
                if now[page * size : page * size + size] != was[page * size : page * size + size]
            ]
            used = self._used(chunk, used, changed)
            if old is None:  # what a new chunk has in use was taken, but for boot's
                changed = [] if chunk.immutable else used.members()
            if changed:
                taken = old is None or chunk.free_bytes < seen.free_bytes
                touched.append(AreaChange(c, Span(changed[0], changed[-1] + 1), taken))
            seen.alloc_map, seen.free_bytes = now, chunk.free_bytes
        if seen.populated != chunk.populated:
            seen.populated = bytes(chunk.populated)
            populated = Pages.of(chunk.populated)
        return used, populated

    def _used(self, chunk: Any, used: int, pages: range | list[int]) -> Pages:
        find, size = chunk.alloc_map.find, self.block_bits
        for page in pages:
            if find(1, page * size, page * size + size) >= 0:
                used |= 1 << page
            else:
                used &= ~(1 << page)
        return Pages(used)


# where an actor stands, read from the gap in which its generator is

_PHASES = {
    Kind.FILL: Phase.FILLING,
    Kind.DESTROY: Phase.WORKING,
    Kind.DRAIN: Phase.DRAINING,
    Kind.POPULATE: Phase.POPULATING,
    Kind.RELEASE: Phase.RELEASING,
    Kind.FLUSH: Phase.FLUSHING,
}
_OF_THE_WORK = frozenset(Kind) - {Kind.PAUSE, Kind.WAIT, Kind.CREATE, Kind.FILL, Kind.FLAGS}

_SEARCHING = Position(Phase.SEARCHING, NOWHERE, 0, 0, 0, 0)
_WORKING = Position(Phase.WORKING, NOWHERE, 0, 0, 0, 0)


def position_of(
    gap: Gap | None, inside: bool, nr_pages: int = 0, stale: Pages | None = NO_PAGES
) -> Position:
    """Return the position of an actor in a gap; None for one that is done.

    inside: it holds pcpu_alloc_mutex. nr_pages and stale: of the gap's chunk. The pages released
    so far in a pass of reclaim are the stale ones; None where it keeps no span of them. Raises
    NoMachineState for a gap that holds a chunk and has no phase.
    """
    if gap is None or not inside:
        return IDLE
    phase = Phase.WORKING if gap.chunk is None else _PHASES.get(gap.kind)
    if phase is None:
        raise NoMachineState(f"gap {gap.name!r} holds a chunk and does not tell its kind")
    if gap.chunk is None or phase is Phase.WORKING:
        return _WORKING if gap.kind in _OF_THE_WORK else _SEARCHING
    c = gap.chunk.id
    if phase is Phase.FLUSHING:
        return Position(phase, c, 0, 0, gap.start, gap.end)
    if phase is Phase.RELEASING and stale is not None:
        released = stale.members()
        lo, hi = (released[0], released[-1] + 1) if released else (nr_pages, 0)
        return Position(phase, c, gap.start, gap.end, lo, hi)
    return standing(phase, c, gap.start, gap.end)
