"""What a memory map shows of a chunk and of a whole allocator, read from the views once.

Both renderings, text and SVG, draw from these records, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from percpu_reference.chunk import Chunk
from percpu_reference.own_state import own_fields
from percpu_spec.counts import counted
from percpu_spec.definitions import computed_list, live_areas, served_range, slots_per_type
from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS, AllocatorView, BlockView, ChunkView

Label = Callable[[Any], str]
"""Names a chunk: by its id in the model, by its address in a recorded state."""


def by_id(chunk: Any) -> str:
    """Name a chunk of the model by its id: 0 the first, -1 the reserved one."""
    return str(chunk.id)


class PageState(Enum):
    """A page's state, with the character that stands for it."""

    UNPOPULATED = "-"
    EMPTY = "e"  # populated, no allocated bit
    USED = "#"


class HintPicture(NamedTuple):
    """One block's hints, or a chunk's, in the order of HINTS; bits, starts relative to it."""

    scan: int
    scan_start: int
    contig: int
    contig_start: int
    left: int
    right: int
    first: int

    @classmethod
    def of(cls, md: BlockView) -> HintPicture:
        """Return the hints of a block or chunk."""
        return cls(*(getattr(md, name) for name in HINTS))

    @property
    def runs(self) -> dict[str, tuple[int, int]]:
        """Start and length of the runs that the contig and the scan hint name."""
        return {
            "contig": (self.contig_start, self.contig), "scan": (self.scan_start, self.scan)
        }  # fmt: skip

    @property
    def run_texts(self) -> tuple[str, ...]:
        """The same as length@start, "-" for none."""
        return tuple(f"{length}@{start}" if length else "-" for start, length in self.runs.values())


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an area that lies in one page: bits [start, end) of the page."""

    start: int
    end: int
    begins: bool  # the area begins here
    hidden: bool  # not an area: belongs to a neighbour of the first or reserved chunk
    number: int  # of the area in its chunk


@dataclass(frozen=True, slots=True)
class PagePicture:
    """One page of a chunk with the block that covers it."""

    index: int
    state: PageState
    pieces: tuple[Piece, ...]
    hints: HintPicture

    @property
    def areas(self) -> int:
        """Areas that begin in this page."""
        return sum(piece.begins and not piece.hidden for piece in self.pieces)

    @property
    def used_bits(self) -> int:
        """Bits that areas or hidden parts take."""
        return sum(piece.end - piece.start for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class ChunkPicture:
    """One chunk: where it is, its counters and hints, its pages."""

    name: str
    place: str  # the list it is on, in words
    computed: str  # the list that its hints ask for
    marks: tuple[str, ...]  # first, reserved, immutable, isolated, fields of a variant's own
    free_bytes: int
    served_bytes: int
    populated: int
    empty: int
    hints: HintPicture
    pages: tuple[PagePicture, ...]
    page_bits: int
    granule: int

    @property
    def strip(self) -> str:
        """One character a page."""
        return "".join(page.state.value for page in self.pages)

    @property
    def title(self) -> str:
        """Its name and marks."""
        return f"chunk {self.name}" + (f" ({', '.join(self.marks)})" if self.marks else "")

    @property
    def contents(self) -> str:
        """Its areas and free bytes, in words."""
        return f"{counted(self.areas, 'area')}, {self.free_bytes} bytes free"

    @property
    def counters(self) -> str:
        """Its pages, areas and free bytes, in words."""
        return (
            f"{len(self.pages)} pages, {self.populated} populated, {self.empty} empty; "
            f"{counted(self.areas, 'area')}, {self.free_bytes} of {self.served_bytes} bytes free"
        )

    @property
    def rows(self) -> Iterator[tuple[PagePicture, str]]:
        """Its pages with their numbers; equal ones without areas that follow one another as one."""
        for _, pages in groupby(self.pages, key=_sameness):
            page, *others = pages
            yield page, f"{page.index}-{others[-1].index}" if others else f"{page.index}"

    @property
    def list_by_hints(self) -> str:
        """The list that its hints ask for, where it is on another; empty where it is not."""
        return "" if "reserved" in self.marks or self.place == self.computed else self.computed

    @property
    def areas(self) -> int:
        """Live areas that requests hold."""
        return sum(page.areas for page in self.pages)


@dataclass(frozen=True, slots=True)
class StatePicture:
    """A whole allocator: counters, lists head to tail, chunks."""

    title: str
    geometry: Geometry
    float_pages: int
    populated: int  # pages per unit, the static part's included
    pending: bool | None  # balance work asked for; None where the state does not tell
    lists: tuple[tuple[str, tuple[str, ...]], ...]
    chunks: Mapping[str, ChunkPicture]


def picture_of_state(
    allocator: AllocatorView, label: Label = by_id, title: str = "", pending: bool | None = None
) -> StatePicture:
    """Return the picture of an allocator between two operations, or in a gap of one."""
    placed = [(place, label(chunk), chunk) for place, chunk in placed_chunks(allocator)]
    return StatePicture(
        title,
        allocator.geometry,
        allocator.nr_empty_pop_pages,
        allocator.nr_populated,
        pending,
        tuple(
            (place, tuple(name for _, name, _ in members))
            for place, members in groupby(placed, key=itemgetter(0))
        ),
        {name: picture_of_chunk(allocator, chunk, name, place) for place, name, chunk in placed},
    )


HELD: Final = "no list: held by a step"


def placed_chunks(allocator: AllocatorView) -> Iterator[tuple[str, Any]]:
    """Yield each chunk with the list that it is on, in words; twice one that is on two."""
    for slot in range(allocator.nr_slots):
        for chunk in allocator.slot_chunks(slot):
            yield list_name(allocator, slot), chunk
    for chunk in allocator.owned_chunks():
        yield HELD, chunk
    if allocator.reserved_chunk is not None:
        yield "no list: reserved", allocator.reserved_chunk


def list_name(allocator: AllocatorView, number: int) -> str:
    """Return what a list is called: its slot and type of chunks, and its purpose where it has one.

    Lists behind the last slot of the runs' sizes have purposes.
    """
    chunk_type, slot = divmod(number, slots_per_type(allocator))
    purposes = {
        allocator.sidelined_slot: "sidelined",
        allocator.free_slot: "free",
        allocator.to_depopulate_slot: "to_depopulate",
    }
    purpose = purposes.get(slot)
    name = f"slot {slot}" if purpose is None else f"slot {slot} {purpose}"
    return name if allocator.chunk_types == 1 else f"{name} of type {chunk_type}"


def picture_of_chunk(
    allocator: AllocatorView, chunk: ChunkView, name: str, place: str
) -> ChunkPicture:
    """Return the picture of one chunk; `place` is the list it is on, in words."""
    geometry = allocator.geometry
    first, behind = served_range(chunk, geometry)
    marks = {
        "first": chunk is allocator.first_chunk,
        "reserved": chunk is allocator.reserved_chunk,
        "immutable": chunk.immutable,
        "isolated": chunk.isolated,
    }
    fields = own_fields(chunk, Chunk) if isinstance(chunk, Chunk) else {}  # a variant's own
    own_marks = (f"{name} {value}" for name, value in fields.items())
    return ChunkPicture(
        name,
        place,
        list_name(allocator, computed_list(allocator, chunk)),
        (*(mark for mark, is_so in marks.items() if is_so), *own_marks),
        chunk.free_bytes,
        (behind - first) * geometry.granule,
        chunk.nr_populated,
        chunk.nr_empty_pop_pages,
        HintPicture.of(chunk.chunk_md),
        tuple(_pages(chunk, geometry)),
        geometry.block_bits,
        geometry.granule,
    )


def _pages(chunk: ChunkView, geometry: Geometry) -> Iterable[PagePicture]:
    bits = geometry.block_bits
    pieces: list[list[Piece]] = [[] for _ in range(chunk.nr_pages)]
    first, behind = served_range(chunk, geometry)
    for number, (start, end) in enumerate(live_areas(chunk)):
        hidden = start < first or start >= behind
        for page in range(start // bits, -(-end // bits)):
            base = page * bits
            pieces[page].append(
                Piece(max(start - base, 0), min(end - base, bits), start >= base, hidden, number)
            )
    for page in range(chunk.nr_pages):
        if not chunk.populated[page]:
            state = PageState.UNPOPULATED
        elif pieces[page]:
            state = PageState.USED
        else:
            state = PageState.EMPTY
        yield PagePicture(page, state, tuple(pieces[page]), HintPicture.of(chunk.md_blocks[page]))


def _sameness(page: PagePicture) -> tuple[object, ...]:
    """Return what pages must share to be drawn as one row; a page with areas stands alone."""
    if page.pieces:
        return (page.index,)
    hints = page.hints
    # the start of an absent scan hint says nothing
    return page.state, hints if hints.scan else hints._replace(scan_start=0)

