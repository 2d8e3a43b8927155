"""What room an allocator has for a request, and so why it is served there or not.

`Room` is all that the answer needs: whoever reads an allocator from somewhere (a saved state, a
core, percpu_stats) makes one, exact or with bounds where the source does not tell more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from percpu_proofs.run import failures
from percpu_spec.counts import counted
from percpu_spec.definitions import (
    empty_populated_pages,
    free_runs,
    lists_of_slot,
    rounded_align,
    rounded_size,
    size_to_slot,
    slots_per_type,
)
from percpu_spec.geometry import Geometry
from percpu_spec.views import AllocatorView, ChunkView


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked for: size and alignment in bytes, as the kernel prints them."""

    size: int
    align: int
    atomic: bool
    reserved: bool = False

    def __str__(self) -> str:
        how = "atomic" if self.atomic else "blocking"
        where = ", reserved" if self.reserved else ""
        return f"{self.size} bytes aligned to {self.align}, {how}{where}"


class Bound(NamedTuple):
    """A number of bytes that is known to lie between two."""

    least: int
    most: int

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class ChunkRoom:
    """What a chunk has for a request. In bytes.

    searched: whether such a request looks here at all. advertised: the chunk's contig_hint.
    hole: the longest free run that is left once its start is aligned; backed: the longest of them
    in populated pages alone. empty_pages: populated ones without an area.
    """

    name: str
    place: str
    searched: bool
    free: int
    advertised: int
    hole: Bound
    backed: Bound
    empty_pages: int


@dataclass(frozen=True, slots=True)
class Room:
    """What an allocator has for a request: its chunks in order, and the float in pages."""

    request: Demand
    float_pages: int
    chunks: tuple[ChunkRoom, ...]

    @property
    def listed(self) -> list[ChunkRoom]:
        """The chunks without the reserved one, which is on no list."""
        return [chunk for chunk in self.chunks if chunk.place != "reserved"]

    @property
    def searched(self) -> list[ChunkRoom]:
        """The chunks in which the request looks."""
        return [chunk for chunk in self.chunks if chunk.searched]


@dataclass(frozen=True, slots=True)
class Why:
    """Why a request is served or not, in words: what decides first, then the numbers.

    served: None where what is known does not tell.
    """

    served: bool | None
    reason: str  # the kernel's words if it fails
    lines: tuple[str, ...]
    clauses: tuple[str, ...]


def room_of(view: AllocatorView, request: Demand, chunk_type: int | None = None) -> Room:
    """Return what an allocator whose maps are known has for a request.

    chunk_type: where there are two types of chunks, which of them serves it; None: not known.
    Chunks are numbered list by list; the reserved one, which comes first, has no number.
    """
    geometry = view.geometry
    size = rounded_size(geometry, request.size)
    align = rounded_align(geometry, request.align)
    chunks: list[ChunkRoom] = []
    number = 0

    def add(chunk: ChunkView, place: str, searched: bool) -> None:
        nonlocal number
        name = "the reserved chunk"
        if place != "reserved":
            name = f"chunk {number}{' (first)' if chunk is view.first_chunk else ''}"
            number += 1
        hole, backed = (longest_hole(chunk, geometry, align, backed=only) for only in (False, True))
        chunks.append(
            ChunkRoom(
                name, place, searched, chunk.free_bytes,
                chunk.chunk_md.contig_hint * geometry.granule,
                Bound(hole, hole), Bound(backed, backed),
                empty_populated_pages(chunk, geometry),
            )
        )  # fmt: skip

    has_reserve = view.reserved_chunk is not None
    if view.reserved_chunk is not None:
        add(view.reserved_chunk, "reserved", request.reserved)
    least = size_to_slot(geometry, size, view.free_slot)
    for slot in range(slots_per_type(view)):
        for which in lists_of_slot(view, slot):
            for chunk in view.slot_chunks(which):
                place = _place(view, slot)
                looks = slot >= least and slot != view.to_depopulate_slot
                looks &= chunk_type in (None, view.chunk_type(chunk))
                add(chunk, place, looks and not (request.reserved and has_reserve))
    return Room(request, view.nr_empty_pop_pages, tuple(chunks))


def capacity(view: AllocatorView, size: int, align: int) -> int:
    """Return how many areas of size and alignment (bytes) fit into populated free room at once.

    In chunks of the plain type without the reserved one. Hints are not asked: it may be more than
    the allocator finds.
    """
    geometry = view.geometry
    size, align = rounded_size(geometry, size), rounded_align(geometry, align)
    step = -(-size // align) * align
    return sum(
        max((end - start - size) // step + 1, 0)
        for slot in range(slots_per_type(view))
        for chunk in view.slot_chunks(slot)
        for start, end in _holes(chunk, geometry, align, backed=True)
    )


def why(room: Room) -> Why:
    """Return why the request is served in this state, or fails there."""
    request = room.request
    if request.reserved and any(chunk.place == "reserved" for chunk in room.chunks):
        return _reserved(room)
    return _atomic(room) if request.atomic else _blocking(room)


Reason = tuple[str, ...]
"""A line, and behind it the clauses that it speaks of."""


def _why(served: bool | None, words: str, clause: str, reasons: Sequence[Reason]) -> Why:
    """Return the answer; words: the kernel's if it fails, clause: what decides first."""
    clauses = (clause, *chain.from_iterable(reason[1:] for reason in reasons))
    return Why(served, "" if served else words, tuple(reason[0] for reason in reasons), clauses)


def _reserved(room: Room) -> Why:
    request, size = room.request, room.request.size
    chunk = next(chunk for chunk in room.chunks if chunk.place == "reserved")
    reasons: list[Reason] = [
        (f"the reserved chunk has {chunk.free} bytes free, its longest hole aligned to "
         f"{request.align} is {chunk.hole} bytes: {size} are asked for",)
    ]  # fmt: skip
    served: bool | None = None
    if chunk.hole.most < size:
        served = False
        if chunk.free >= size:
            reasons.append(("so it is fragmented, not full: modules that go leave holes behind",))
    elif chunk.hole.least >= size:
        served = chunk.advertised >= size
        reasons += [] if served else _hidden(size, [chunk])
    return _why(served, failures.RESERVED, "API-7", reasons)


def _atomic(room: Room) -> Why:
    request, size = room.request, room.request.size
    listed, searched = room.listed, room.searched
    fits = [chunk for chunk in searched if chunk.backed.least >= size]
    if any(chunk.advertised >= size for chunk in fits):
        best = max(fits, key=lambda chunk: chunk.backed.least)
        line = (
            f"{_count(fits)} with a populated hole of {size} bytes, the longest of "
            f"{best.backed} bytes in {best.name}: this state serves the request"
        )
        return _why(True, "", "API-5", [(line,)])
    served: bool | None = False
    reasons: list[Reason] = []
    if not fits:
        served = None if any(chunk.backed.most >= size for chunk in searched) else False
        reasons.append((
            f"no populated hole of {size} bytes aligned to {request.align} is "
            f"{'known' if served is None else 'there'}: {_longest_of(searched, 'backed')}; "
            f"float {room.float_pages} pages",
        ))  # fmt: skip
    reasons += _hidden(size, [c for c in listed if c.backed.least >= size > c.advertised])
    holes = [c for c in listed if c.hole.least >= size > c.backed.most]
    if holes:
        reasons.append((
            f"{_count(holes)} with such a hole in pages that are not populated, which an "
            "atomic request may not populate: a blocking one would be served there",
        ))  # fmt: skip
    reasons.append((
        "the failure asks for the balance work, which populates up to 4 pages (BAL-5, BAL-7)",
        "BAL-5", "BAL-7",
    ))  # fmt: skip
    waiting = [c for c in listed if c.place == "to_depopulate" and c.backed.least >= size]
    if waiting:
        line = f"{_count(waiting)} with room on to_depopulate, never searched"
        reasons.append((line, "ISO-4"))
    return _why(served, failures.ATOMIC, "API-5", reasons)


def _blocking(room: Room) -> Why:
    request, size = room.request, room.request.size
    fits = [c for c in room.searched if c.hole.least >= size and c.advertised >= size]
    if any(chunk.backed.least >= size for chunk in fits):
        best = max(fits, key=lambda chunk: chunk.backed.least)
        line = f"{best.name} has a populated hole of {best.backed} bytes: no memory is needed"
        return _why(True, "", "API-9", [(line,)])
    if fits:
        line = (
            f"{_count(fits)} with a hole of {size} bytes in pages that are not populated: "
            "the request needs a page of memory on every possible CPU for each of them"
        )
        return _why(None, failures.POPULATE, "API-9", [(line, "POP-4")])
    line = (
        f"no chunk that is searched has a hole of {size} bytes aligned to {request.align} "
        f"({_longest_of(room.searched, 'hole')}): the request needs a new chunk"
    )
    hidden = _hidden(size, [c for c in room.listed if c.hole.least >= size > c.advertised])
    return _why(None, failures.CREATE, "API-9", [(line,), *hidden])


def _hidden(size: int, chunks: Sequence[ChunkRoom]) -> list[Reason]:
    """Return what is to be said of chunks whose hints do not show their room, if there are any."""
    if not chunks:
        return []
    worst = max(chunks, key=lambda chunk: chunk.hole.least)
    line = (
        f"{_count(chunks)} with room of {size} bytes that the hints do not show: "
        f"{worst.name} advertises {worst.advertised} bytes and has {worst.hole} in one run"
    )
    return [(line, "HINT-5", "FIT-1")]


def _count(chunks: Sequence[ChunkRoom]) -> str:
    return counted(len(chunks), "chunk")


def _longest_of(chunks: list[ChunkRoom], name: str) -> str:
    """Return the longest holes of up to three chunks in words."""
    if not chunks:
        return "no chunk is on a list that it searches"
    best = sorted(chunks, key=lambda chunk: getattr(chunk, name).most, reverse=True)[:3]
    named = (f"{getattr(chunk, name)} in {chunk.name} ({chunk.place})" for chunk in best)
    return f"the longest are {', '.join(named)}"


def _place(view: AllocatorView, slot: int) -> str:
    if slot == view.sidelined_slot:
        return "sidelined"
    if slot == view.to_depopulate_slot:
        return "to_depopulate"
    return "free" if slot == view.free_slot else f"slot {slot}"


def longest_hole(chunk: ChunkView, geometry: Geometry, align: int, *, backed: bool) -> int:
    """Return the longest hole in bytes from its first aligned start; backed: of populated pages."""
    holes = _holes(chunk, geometry, align, backed=backed)
    return max((end - start for start, end in holes), default=0)


def _holes(
    chunk: ChunkView, geometry: Geometry, align: int, *, backed: bool
) -> Iterable[tuple[int, int]]:
    """Yield free runs in bytes, from their first aligned start; of populated pages if `backed`."""
    bits = bytearray(chunk.alloc_map)
    block, granule = geometry.block_bits, geometry.granule
    if backed:
        for page in range(chunk.nr_pages):
            if not chunk.populated[page]:
                bits[page * block : (page + 1) * block] = b"\1" * block
    for start, end in free_runs(bits):
        aligned = -(-start * granule // align) * align
        if aligned < end * granule:
            yield aligned, end * granule
