"""A memory map as text, as wide as there is room; in 76 columns a chunk's pages take up to 81."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, islice
from textwrap import fill, shorten

from percpu_proofs.run.runner import counted
from percpu_proofs.show.mail import WIDTH
from percpu_proofs.show.picture import ChunkPicture, PagePicture, PageState, StatePicture, sameness

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
        f"  {chunk.name:>{names}}  {_strip(chunk, strips)}  {counted(chunk.areas, 'area')}, "
        f"{chunk.free_bytes} bytes free"
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
    asked_for = f", its hints ask for {chunk.asked_for}" if chunk.asked_for else ""
    hints = chunk.hints
    head = [
        f"{chunk.title}: {chunk.place}{asked_for}",
        f"{len(chunk.pages)} pages, {chunk.populated} populated, {chunk.empty} empty; "
        f"{counted(chunk.areas, 'area')}, {chunk.free_bytes} of {chunk.served_bytes} bytes free",
        f"contig {hints.contig_words}  scan {hints.scan_words}  "
        f"left {hints.left}  right {hints.right}  first free {hints.first}",
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
    for _, group in groupby(chunk.pages, key=sameness):
        pages = list(group)
        page, last = pages[0], pages[-1]
        span = f"{page.index}" if page is last else f"{page.index}-{last.index}"
        hints = page.hints
        areas = page.areas or ""
        yield (
            f"{span:>5}{page.state.value}|{_cells(page, chunk.page_bits, cells)}|{areas:>5} "
            f"{hints.contig_words:>7} {hints.scan_words:>7} "
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

