"""States as text: the rows that steps are told by, and memory maps of a chunk and of all chunks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from textwrap import fill, shorten
from typing import Any, Final

from percpu_contracts.operation_steps import floats
from percpu_proofs.show.mail import WIDTH
from percpu_proofs.show.picture import (
    HELD,
    ChunkPicture,
    Label,
    PagePicture,
    PageState,
    StatePicture,
    by_id,
    picture_of_chunk,
    placed_chunks,
)
from percpu_reference.variants import Allocator
from percpu_spec.counts import counted
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


CELLS = 32  # characters of a page's map, at most, in WIDTH
_MOST_CELLS = 128
_BESIDE = 49  # characters of a row of a page beside its map
LISTED = 40  # chunks that have a line of their own

LEGEND = """\
page  - unpopulated  e populated and empty  # populated and in use
map   [ an area begins  = in use  + partly in use  . free  x outside of it
hints length@start in map bits, from the page's first bit or the chunk's"""


def state_text(state: StatePicture, width: int = WIDTH) -> str:
    """Return counters, lists and one line a chunk, in lines of a width."""
    geometry = state.geometry
    work = {None: "", True: ", balance work pending", False: ", balance work not pending"}
    counters = [
        f"unit {geometry.unit} bytes, {geometry.unit_pages} pages; populated: {state.populated} "
        f"pages x {geometry.units} units",
        f"float {state.float_pages}, low {geometry.empty_low}, high {geometry.empty_high}"
        + work[state.pending],
    ]
    labels = max(len(name) for name, _ in state.lists)
    lines = [state.title] if state.title else []
    lines += [fill(line, width, subsequent_indent="  ") for line in counters]
    lines += ["", "lists, head to tail"]
    for name, members in state.lists:
        indent = " " * (labels + 4)
        lines.append(
            fill(
                " ".join(members),
                width,
                initial_indent=f"  {name:{labels}}  ",
                subsequent_indent=indent,
                break_on_hyphens=False,
            )
        )
    lines += ["", "chunks, a character a page"]
    names = max(len(name) for name in state.chunks)
    strips = max(CELLS + width - WIDTH, CELLS // 4)
    lines += [
        f"  {chunk.name:>{names}}  {_strip(chunk, strips)}  {chunk.contents}"
        for chunk in islice(state.chunks.values(), LISTED)
    ]
    if len(state.chunks) > LISTED:
        lines.append(f"  and {len(state.chunks) - LISTED} more")
    return "\n".join(lines)


def _strip(chunk: ChunkPicture, most: int) -> str:
    """Return a character a page, with counts where there are many pages."""
    if len(chunk.pages) <= most:
        return chunk.strip
    runs = ((len(list(group)), state) for state, group in groupby(chunk.strip))
    return shorten(" ".join(f"{count}{state}" for count, state in runs), most, placeholder=" ...")


def chunk_text(chunk: ChunkPicture, width: int = WIDTH) -> str:
    """Return a chunk's counters and hints and a row a page; equal empty rows share one.

    Pages are drawn in as many characters as have room in a width.
    """
    asked_for = f", its hints ask for {chunk.list_by_hints}" if chunk.list_by_hints else ""
    hints = chunk.hints
    contig, scan = hints.run_texts
    head = [
        f"{chunk.title}: {chunk.place}{asked_for}",
        chunk.counters,
        f"contig {contig}  scan {scan}  left {hints.left}  right {hints.right}  "
        f"first free {hints.first}",
    ]
    head, end = (
        [fill(line, width, subsequent_indent="      ") for line in lines]
        for lines in (head, LEGEND.split("\n"))
    )
    return "\n".join([*head, *_rows(chunk, _cells_in(width)), *end])


def _cells_in(width: int) -> int:
    """Return how many characters a page's map has: a power of two, so that all are of one size."""
    cells = CELLS if width >= WIDTH else CELLS // 2
    while 2 * cells + _BESIDE <= width and cells < _MOST_CELLS:
        cells *= 2
    return cells


def _rows(chunk: ChunkPicture, most: int) -> Iterator[str]:
    cells = min(most, chunk.page_bits)
    per_cell = chunk.page_bits // cells
    size = counted(per_cell * chunk.granule, "byte")
    title = f"map, {size} a character"
    if len(title) > cells == CELLS // 2:
        title = f"{size} each"
    yield (
        f" page |{title:{cells}}|{'areas':>5} {'contig':>7} {'scan':>7} "
        f"{'left':>5} {'right':>5} {'first':>5}"
    )
    for page, numbers in chunk.rows:
        hints = page.hints
        contig, scan = hints.run_texts
        yield (
            f"{numbers:>5}{page.state.value}|{_cells(page, chunk.page_bits, cells)}|"
            f"{page.areas or '':>5} {contig:>7} {scan:>7} "
            f"{hints.left:>5} {hints.right:>5} {hints.first:>5}"
        )


def _cells(page: PagePicture, page_bits: int, cells: int) -> str:
    """Return the map of one page, a character for page_bits / cells bits."""
    per_cell = page_bits // cells
    return "".join(_cell(page, cell * per_cell, (cell + 1) * per_cell) for cell in range(cells))


def _cell(page: PagePicture, start: int, end: int) -> str:
    """Return the character of bits [start, end)."""
    inside = [piece for piece in page.pieces if piece.start < end and piece.end > start]
    used = sum(min(piece.end, end) - max(piece.start, start) for piece in inside)
    if not used:
        return " " if page.state is PageState.UNPOPULATED else "."
    if all(piece.hidden for piece in inside):
        return "x"
    if any(piece.begins and piece.start >= start for piece in inside):
        return "["
    return "=" if used == end - start else "+"


_DIGITS: Final = "0123456789"  # tenths of the pages of a cell that areas take

_OVERVIEW_LEGEND: Final = """\
a cell is {pages}: - unpopulated  e an empty populated page
  0..9 tenths in use  # full"""


def overview_text(state: StatePicture, width: int = WIDTH) -> str:
    """Return a row a chunk, list by list, at most so wide."""
    most = max(len(chunk.pages) for chunk in state.chunks.values())
    names = max(len(name) for name in state.chunks)
    per_cell = -(-most // max(width - names - len(" ||"), 1))
    lines = [f"{state.title}: all chunks"] if state.title else []
    for place, members in state.lists:
        lines.append(place)
        for name in members:
            lines.append(f"{name:>{names}} |{_tenths(state.chunks[name], per_cell)}|")
    pages = "a page" if per_cell == 1 else f"{per_cell} pages"
    return "\n".join([*lines, _OVERVIEW_LEGEND.format(pages=pages)])


def _tenths(chunk: ChunkPicture, per_cell: int) -> str:
    return "".join(
        _tenth(chunk.pages[at : at + per_cell], chunk.page_bits)
        for at in range(0, len(chunk.pages), per_cell)
    )


def _tenth(pages: tuple[PagePicture, ...], page_bits: int) -> str:
    if any(page.state is PageState.EMPTY for page in pages):
        return PageState.EMPTY.value  # what may be given back shows, whatever is beside it
    used, size = sum(page.used_bits for page in pages), page_bits * len(pages)
    if used:
        return "#" if used == size else _DIGITS[used * 10 // size]
    return PageState.UNPOPULATED.value
