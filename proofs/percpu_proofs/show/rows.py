"""A state in a few lines: the counters that clauses speak of, and a row of pages for each chunk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from percpu_contracts.operation_steps import floats
from percpu_proofs.show.picture import (
    HELD,
    ChunkPicture,
    Label,
    by_id,
    picture_of_chunk,
    placed_chunks,
)
from percpu_reference.variants import Allocator
from percpu_spec.views import ChunkView

PAGES = {
    "-": "unpopulated", "e": "populated and empty", "#": "in use", "!": "in use, not populated",
    "x": "being released", "X": "being released and in use",
}  # fmt: skip
"""What the characters of a row say."""


NO_LIST: Final = "no list"
"""The place of a chunk on no list that nobody is known to hold."""


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """One chunk in one state."""

    name: str  # by number, as chunks are made: 0 the first one, -1 the reserved one
    place: str  # the list it is on, or who holds it: "slot 14 free", "held by work"
    pages: str  # a character for each page, one of PAGES
    picture: ChunkPicture  # its areas, hints and counters

    def held_by(self, holder: str) -> ChunkRow:
        """Return the row of a chunk on no list, held by somebody."""
        place = _place([HELD], holder)
        return replace(self, place=place, picture=replace(self.picture, place=place))

    @property
    def areas(self) -> tuple[tuple[int, int], ...]:
        """First and last byte of each live area, in their order."""
        found: dict[int, tuple[int, int]] = {}
        for page in self.picture.pages:
            base = page.index * self.picture.page_bits
            for piece in page.pieces:
                if not piece.hidden:
                    first = found.get(piece.number, (base + piece.start, 0))[0]
                    found[piece.number] = first, base + piece.end
        granule = self.picture.granule
        return tuple((first * granule, end * granule - 1) for first, end in found.values())


@dataclass(frozen=True, slots=True)
class StateRows:
    """What stands where pcpu_lock is free: between two steps, or at rest."""

    counters: tuple[tuple[str, int], ...]  # under the kernel's names
    chunks: tuple[ChunkRow, ...]
    mutex: str = ""  # who holds pcpu_alloc_mutex
    floats: tuple[int, ...] = ()  # the float that each type of chunks goes by, in pages


def state_of(
    allocator: Any,
    mutex: str = "",
    losing: Callable[[Any, int], bool] = lambda _chunk, _page: False,
    label: Label = by_id,
    holder: Callable[[Any], str] = lambda _chunk: "",
) -> StateRows:
    """Return the present state, with a row for each chunk, on however many lists it is.

    mutex: who holds it. losing: whether a chunk's page is going. holder: who took a chunk off the
    lists, empty where that is not known.
    """
    bits = allocator.geometry.block_bits
    found: dict[int, tuple[Any, list[str]]] = {}
    for place, chunk in placed_chunks(allocator):
        found.setdefault(id(chunk), (chunk, []))[1].append(place)
    rows = []
    for chunk, places in found.values():
        gone = [page for page in range(chunk.nr_pages) if losing(chunk, page)]
        place = _place(places, holder(chunk) if HELD in places else "")
        picture = picture_of_chunk(allocator, chunk, label(chunk), place)
        rows.append(ChunkRow(picture.name, place, page_row(chunk, bits, gone), picture))
    return StateRows(tuple(_counters(allocator)), tuple(rows), mutex, floats(allocator))


def _place(places: list[str], holder: str) -> str:
    """Return in words where a chunk is that is at some places; holder: who holds it.

    >>> _place(["slot 2", HELD], "work"), _place([HELD], "work"), _place([HELD], "")
    ('slot 2, also held by work', 'held by work', 'no list')
    """
    listed = " and ".join(place for place in places if place != HELD)
    if HELD not in places:
        return listed
    if listed:
        return f"{listed}, also held by {holder or 'a step'}"
    return f"held by {holder}" if holder else NO_LIST


def _counters(allocator: Any) -> Iterator[tuple[str, int]]:
    """Yield the counters that clauses speak of, under the kernel's names."""
    counted = floats(allocator)
    per_type = getattr(type(allocator), "float_of", None) is not Allocator.float_of
    if allocator.chunk_types > 1 and per_type:
        for number, pages in enumerate(counted):
            yield f"pcpu_nr_empty_pop_pages[{number}]", pages
    else:
        yield "pcpu_nr_empty_pop_pages", counted[0]
    yield "pcpu_nr_populated", allocator.nr_populated
    yield "pcpu_atomic_alloc_failed", int(allocator.atomic_alloc_failed)
    yield "pcpu_balance_work pending", int(allocator.work_pending)


def page_row(chunk: ChunkView, block_bits: int, losing: Collection[int] = ()) -> str:
    """Return a character of PAGES for each page of a chunk; losing: pages on their way out."""
    line = ""
    for page in range(chunk.nr_pages):
        used = chunk.alloc_map.find(1, page * block_bits, (page + 1) * block_bits) >= 0
        if page in losing:
            line += "X" if used else "x"
        elif used:
            line += "#" if chunk.populated[page] else "!"
        else:
            line += "e" if chunk.populated[page] else "-"
    return line
