"""All chunks of a state on one page, as text and as SVG: a row a chunk, a cell a page."""

from __future__ import annotations

from itertools import groupby

from percpu_proofs.show.canvas import AREAS, CONTIG, EMPTY, LINE, UNPOPULATED, USED, Canvas
from percpu_proofs.show.picture import ChunkPicture, PagePicture, PageState, StatePicture
from percpu_proofs.show.text import WIDTH

_CELLS = 64  # of a row of text, at most
_DIGITS = "0123456789"  # tenths of the pages of a cell that areas take

LEGEND = """\
a cell is {pages}: - unpopulated  e populated and empty  0..9 tenths of it in use  # full"""

_PAGE = 1080.0
_MARGIN = 20.0
_LEFT = 64.0
_MAP = 780.0
_ROW = 18.0
_BAR = 12.0


def overview_text(state: StatePicture) -> str:
    """Return a row a chunk, list by list."""
    most = max(len(chunk.pages) for chunk in state.chunks.values())
    per_cell = -(-most // _CELLS)
    names = max(len(name) for name in state.chunks)
    lines = [f"{state.title}: all chunks"] if state.title else []
    for place, members in state.lists:
        lines.append(place)
        for name in members:
            lines.append(f"{name:>{names}} |{_cells(state.chunks[name], per_cell)}|")
    pages = "a page" if per_cell == 1 else f"{per_cell} pages"
    return "\n".join([*lines, LEGEND.format(pages=pages)])


assert len(LEGEND) < WIDTH + 12


def _cells(chunk: ChunkPicture, per_cell: int) -> str:
    return "".join(
        _cell(chunk.pages[at : at + per_cell], chunk.page_bits)
        for at in range(0, len(chunk.pages), per_cell)
    )


def _cell(pages: tuple[PagePicture, ...], page_bits: int) -> str:
    used = sum(map(_used, pages))
    if used:
        size = page_bits * len(pages)
        return "#" if used == size else _DIGITS[used * 10 // size]
    if any(page.state is PageState.EMPTY for page in pages):
        return PageState.EMPTY.value
    return PageState.UNPOPULATED.value


def _used(page: PagePicture) -> int:
    """Return the bits of a page that areas or hidden parts take."""
    return sum(piece.end - piece.start for piece in page.pieces)


def overview_svg(state: StatePicture) -> str:
    """Return the drawing of all chunks: pages, what of each is used, and the advertised run."""
    canvas = Canvas(_PAGE)
    canvas.text(_MARGIN, 30, f"{len(state.chunks)} chunks, float {state.float_pages}", "title")
    canvas.text(_PAGE - _MARGIN, 30, state.title, "faint", "end")
    y = 44.0
    for place, members in state.lists:
        canvas.text(_MARGIN, y + 13, f"{place}: {len(members)}")
        y += 20
        for name in members:
            _chunk(canvas, state.chunks[name], state.geometry.unit_pages, y)
            y += _ROW
    y += 10
    x = _LEFT
    for fill, words in (
        (UNPOPULATED, "unpopulated"), (EMPTY, "populated, empty"),
        (USED, "free part of a page in use"), (AREAS[0], "areas"),
        (CONTIG, "the run that the chunk advertises"),
    ):  # fmt: skip
        canvas.rect(x, y, 16, 12, fill, stroke=LINE)
        canvas.text(x + 22, y + 10, words, "faint")
        x += 44 + 6.6 * len(words)
    return canvas.finish(y + 30, state.title or "percpu chunks")


def _chunk(canvas: Canvas, chunk: ChunkPicture, unit_pages: int, y: float) -> None:
    """Draw one chunk; equal neighbouring pages without areas share a rectangle."""
    canvas.text(_LEFT - 8, y + _BAR - 1, chunk.name, "mono", "end")
    width = _MAP / unit_pages
    fills = {PageState.UNPOPULATED: UNPOPULATED, PageState.EMPTY: EMPTY, PageState.USED: USED}
    for state, group in groupby(chunk.pages, key=lambda page: page.state):
        pages = list(group)
        x = _LEFT + pages[0].index * width
        last = pages[-1].index
        tip = f"chunk {chunk.name}, pages {pages[0].index} to {last}: {state.name.lower()}"
        canvas.rect(x, y, width * len(pages), _BAR, fills[state], tip=tip)
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
