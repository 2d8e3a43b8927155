"""All chunks of a state on one page, as text and as SVG: a row a chunk, a cell a page."""

from __future__ import annotations

from itertools import groupby

from percpu_proofs.show.canvas import (
    AREA,
    AREAS,
    CONTIG,
    LINE,
    PAGES,
    RUN,
    Canvas,
    draw_legend,
    page_fill,
)
from percpu_proofs.show.mail import WIDTH
from percpu_proofs.show.picture import ChunkPicture, PagePicture, PageState, StatePicture

_DIGITS = "0123456789"  # tenths of the pages of a cell that areas take

LEGEND = """\
a cell is {pages}: - unpopulated  e an empty populated page
  0..9 tenths in use  # full"""

_PAGE = 900.0  # as wide as a page of text is shown
_MARGIN = 20.0
_LEFT = 64.0
_MAP = 604.0
_ROW = 18.0
_BAR = 12.0


def overview_text(state: StatePicture, width: int = WIDTH) -> str:
    """Return a row a chunk, list by list, at most so wide."""
    most = max(len(chunk.pages) for chunk in state.chunks.values())
    names = max(len(name) for name in state.chunks)
    per_cell = -(-most // max(width - names - len(" ||"), 1))
    lines = [f"{state.title}: all chunks"] if state.title else []
    for place, members in state.lists:
        lines.append(place)
        for name in members:
            lines.append(f"{name:>{names}} |{_cells(state.chunks[name], per_cell)}|")
    pages = "a page" if per_cell == 1 else f"{per_cell} pages"
    return "\n".join([*lines, LEGEND.format(pages=pages)])


def _cells(chunk: ChunkPicture, per_cell: int) -> str:
    return "".join(
        _cell(chunk.pages[at : at + per_cell], chunk.page_bits)
        for at in range(0, len(chunk.pages), per_cell)
    )


def _cell(pages: tuple[PagePicture, ...], page_bits: int) -> str:
    if any(page.state is PageState.EMPTY for page in pages):
        return PageState.EMPTY.value  # what may be given back shows, whatever is beside it
    used, size = sum(map(_used, pages)), page_bits * len(pages)
    if used:
        return "#" if used == size else _DIGITS[used * 10 // size]
    return PageState.UNPOPULATED.value


def _used(page: PagePicture) -> int:
    """Return the bits of a page that areas or hidden parts take."""
    return sum(piece.end - piece.start for piece in page.pieces)


def overview_svg(state: StatePicture) -> str:
    """Return the drawing of all chunks: pages, what of each is used, and the advertised run."""
    canvas = Canvas(_PAGE)
    canvas.text(_MARGIN, 30, f"{len(state.chunks)} chunks, float {state.float_pages}", "title")
    y = 44.0
    if state.title:
        canvas.text(_MARGIN, 47, state.title, "faint")
        y = 60.0
    for place, members in state.lists:
        canvas.text(_MARGIN, y + 13, f"{place}: {len(members)}")
        y += 20
        for name in members:
            _chunk(canvas, state.chunks[name], state.geometry.unit_pages, y)
            y += _ROW
    y = draw_legend(canvas, (*PAGES, AREA, RUN), _LEFT, _PAGE - _MARGIN, y + 10)
    return canvas.finish(y + 10, state.title or "percpu chunks")


def _chunk(canvas: Canvas, chunk: ChunkPicture, unit_pages: int, y: float) -> None:
    """Draw one chunk; equal neighbouring pages without areas share a rectangle."""
    canvas.text(_LEFT - 8, y + _BAR - 1, chunk.name, "mono", "end")
    width = _MAP / unit_pages
    for state, group in groupby(chunk.pages, key=lambda page: page.state):
        pages = list(group)
        x = _LEFT + pages[0].index * width
        last = pages[-1].index
        tip = f"chunk {chunk.name}, pages {pages[0].index} to {last}: {state.name.lower()}"
        canvas.rect(x, y, width * len(pages), _BAR, page_fill(chunk, state), tip=tip)
        for page in pages:
            part = _used(page) / chunk.page_bits
            if part:
                height = max(_BAR * part, 1.0)
                canvas.rect(_LEFT + page.index * width, y + _BAR - height, width, height, AREAS[0])
    canvas.rect(_LEFT, y, width * len(chunk.pages), _BAR, "none", stroke=LINE)
    hints = chunk.hints
    if hints.contig:
        scale = width / chunk.page_bits
        x = _LEFT + hints.contig_start * scale
        canvas.rect(x, y + _BAR + 1, max(hints.contig * scale, 1.5), 2, CONTIG)
    words = f"{chunk.areas} areas, {chunk.free_bytes} bytes free"
    canvas.text(_LEFT + _MAP + 10, y + _BAR - 1, words, "faint")
