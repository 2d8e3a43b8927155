"""Memory maps as self-contained SVG: a chunk with its pages and the lists, or all chunks."""

from __future__ import annotations

from itertools import groupby

from percpu_proofs.show.canvas import (
    AREA,
    AREAS,
    CONTIG,
    EDGE,
    FIRST,
    HIDDEN,
    LINE,
    MAP,
    PAGES,
    PAPER,
    RUN,
    SCAN,
    Canvas,
    draw_legend,
    page_fill,
)
from percpu_proofs.show.picture import (
    ChunkPicture,
    HintPicture,
    PagePicture,
    StatePicture,
)

_WIDTH = 900.0  # as wide as a page of text is shown
_MARGIN = 20.0
_LEFT = 66.0  # of the map
_MAP = 560.0  # its width
_COLUMNS = (_LEFT + _MAP + 88, _LEFT + _MAP + 176, _WIDTH - _MARGIN)  # right edges
_BAR = 15.0
_ROW = 31.0
_BARE_ROW = 21.0  # without lanes


def chunk_svg(state: StatePicture, name: str) -> str:
    """Return the drawing of one chunk of a state, with the lists it stands among."""
    chunk = state.chunks[name]
    canvas = Canvas(_WIDTH)
    y = _head(canvas, state, chunk)
    y = _overview(canvas, chunk, y)
    y = _pages(canvas, chunk, y + 14)
    y = draw_legend(canvas, (*PAGES, *MAP), _LEFT, _WIDTH - _MARGIN, y + 12)
    y = _lists(canvas, state, name, y + 26)
    return canvas.finish(y, f"percpu chunk {name}")


def _head(canvas: Canvas, state: StatePicture, chunk: ChunkPicture) -> float:
    """Write what the chunk is and its counters; return the y below."""
    canvas.text(_MARGIN, 30, f"{chunk.title} on {chunk.place}", "title")
    asked_for = f"; hints ask for {chunk.list_by_hints}" if chunk.list_by_hints else ""
    canvas.text(_MARGIN, 49, chunk.counters + asked_for)
    if not state.title:
        return 62
    canvas.text(_MARGIN, 66, state.title, "faint")
    return 79


def _overview(canvas: Canvas, chunk: ChunkPicture, y: float) -> float:
    """Draw the whole chunk as one bar with the chunk's own hints under it."""
    bits = len(chunk.pages) * chunk.page_bits
    scale = _MAP / bits
    canvas.text(_LEFT - 8, y + 24, "chunk", "faint", "end")
    page_width = chunk.page_bits * scale
    for page in chunk.pages:
        x = _LEFT + page.index * page_width
        canvas.rect(x, y + 8, page_width, 22, page_fill(chunk, page.state))
        for piece in page.pieces:
            fill = HIDDEN if piece.hidden else AREAS[0]
            canvas.rect(x + piece.start * scale, y + 8, (piece.end - piece.start) * scale, 22, fill)
    for page in chunk.pages:
        x = _LEFT + page.index * page_width
        canvas.rect(x, y + 8, page_width, 22, "none", stroke=LINE)
    # the chunk's own left and right are not kept on allocation: no edges drawn
    _hint_lanes(canvas, chunk.hints, bits, scale, y + 8, 22, edges=False)
    _hint_words(canvas, chunk.hints, y + 24)
    return y + 44


def _pages(canvas: Canvas, chunk: ChunkPicture, y: float) -> float:
    """Draw a row a page; equal empty rows share one."""
    canvas.text(_LEFT - 8, y, "page", "faint", "end")
    page_bytes = chunk.page_bits * chunk.granule
    canvas.text(_LEFT, y, f"{chunk.page_bits} bits, {page_bytes} bytes", "faint")
    for x, words in zip(_COLUMNS, ("contig", "scan", "first free"), strict=True):
        canvas.text(x, y, words, "faint", "end")
    y += 12
    for page, numbers in chunk.rows:
        y += _page(canvas, page, numbers, chunk, y)
    return y


def _page(canvas: Canvas, page: PagePicture, numbers: str, chunk: ChunkPicture, y: float) -> float:
    """Draw a page, or equal ones of these numbers; return the height of the row.

    Where all is free or all in use, and the hints say so, they are written and not drawn.
    """
    scale = _MAP / chunk.page_bits
    canvas.text(_LEFT - 8, y + 12, numbers, "mono", "end")
    canvas.rect(_LEFT, y, _MAP, _BAR, page_fill(chunk, page.state))
    for piece in page.pieces:
        fill = HIDDEN if piece.hidden else AREAS[piece.number % 2]
        size = (piece.end - piece.start) * chunk.granule
        what = "outside the chunk" if piece.hidden else f"area {piece.number}"
        tip = f"{what}: bits {piece.start} to {piece.end} of page {page.index}, {size} bytes here"
        width = (piece.end - piece.start) * scale
        canvas.rect(_LEFT + piece.start * scale, y, width, _BAR, fill, tip=tip)
    canvas.rect(_LEFT, y, _MAP, _BAR, "none", stroke=LINE)
    _hint_words(canvas, page.hints, y + 12)
    bits, hints = chunk.page_bits, page.hints
    if hints.left == hints.right == hints.contig and hints.contig + hints.scan in (0, bits):
        return _BARE_ROW
    _hint_lanes(canvas, hints, bits, scale, y, _BAR, edges=True)
    return _ROW


def _hint_lanes(
    canvas: Canvas,
    hints: HintPicture,
    bits: int,
    scale: float,
    y: float,
    height: float,
    *,
    edges: bool,
) -> None:
    """Draw the runs that hints name under a bar, and first free above it."""
    lane = y + height + 2
    for (start, length), fill in zip(hints.runs.values(), (CONTIG, SCAN), strict=True):
        if length:
            canvas.rect(_LEFT + start * scale, lane, max(length * scale, 1.5), 3, fill)
    if edges:
        for start, length in ((0, hints.left), (bits - hints.right, hints.right)):
            if length:
                canvas.rect(_LEFT + start * scale, lane + 4, max(length * scale, 1.5), 2, EDGE)
    if hints.first < bits:
        canvas.marker(_LEFT + hints.first * scale, y, 5, FIRST)


def _hint_words(canvas: Canvas, hints: HintPicture, y: float) -> None:
    """Write the runs that hints name, length@start, and first free."""
    for x, words in zip(_COLUMNS, (*hints.run_texts, str(hints.first)), strict=True):
        canvas.text(x, y, words, "mono", "end")


def _lists(canvas: Canvas, state: StatePicture, name: str, y: float) -> float:
    """Draw the lists as rows of chunks, head to tail; return the y below."""
    canvas.text(_MARGIN, y, f"lists, head to tail;  float {state.float_pages}", "faint")
    y += 8
    for title, members in state.lists:
        canvas.text(_MARGIN, y + 15, title)
        x = _MARGIN + 150
        for member in members:
            width = 16 + 7 * len(member)
            if x + width > _WIDTH - _MARGIN:
                x = _MARGIN + 150
                y += 24
            here = member == name
            canvas.rect(x, y + 1, width, 19, AREAS[1] if here else PAPER, stroke=AREAS[0], radius=4)
            canvas.text(x + width / 2, y + 15, member, "mono", "middle")
            x += width + 6
        y += 24
    return y + 10


_NAMES = 64.0  # left of the strips of an overview
_STRIP = 604.0  # as long as the unit's pages
_STRIP_HEIGHT = 12.0
_LINE = 18.0  # from a strip to the next


def overview_svg(state: StatePicture) -> str:
    """Return the drawing of all chunks: pages, what of each is used, and the advertised run."""
    canvas = Canvas(_WIDTH)
    canvas.text(_MARGIN, 30, f"{len(state.chunks)} chunks, float {state.float_pages}", "title")
    y = 44.0
    if state.title:
        canvas.text(_MARGIN, 47, state.title, "faint")
        y = 60.0
    for place, members in state.lists:
        canvas.text(_MARGIN, y + 13, f"{place}: {len(members)}")
        y += 20
        for name in members:
            _overview_row(canvas, state.chunks[name], state.geometry.unit_pages, y)
            y += _LINE
    y = draw_legend(canvas, (*PAGES, AREA, RUN), _NAMES, _WIDTH - _MARGIN, y + 10)
    return canvas.finish(y + 10, state.title or "percpu chunks")


def _overview_row(canvas: Canvas, chunk: ChunkPicture, unit_pages: int, y: float) -> None:
    """Draw one chunk; equal neighbouring pages without areas share a rectangle."""
    bottom = y + _STRIP_HEIGHT
    canvas.text(_NAMES - 8, bottom - 1, chunk.name, "mono", "end")
    width = _STRIP / unit_pages
    for state, group in groupby(chunk.pages, key=lambda page: page.state):
        pages = list(group)
        x = _NAMES + pages[0].index * width
        last = pages[-1].index
        tip = f"chunk {chunk.name}, pages {pages[0].index} to {last}: {state.name.lower()}"
        canvas.rect(x, y, width * len(pages), _STRIP_HEIGHT, page_fill(chunk, state), tip=tip)
        for page in pages:
            if page.used_bits:
                height = max(_STRIP_HEIGHT * page.used_bits / chunk.page_bits, 1.0)
                x = _NAMES + page.index * width
                canvas.rect(x, bottom - height, width, height, AREAS[0])
    canvas.rect(_NAMES, y, width * len(chunk.pages), _STRIP_HEIGHT, "none", stroke=LINE)
    hints = chunk.hints
    if hints.contig:
        scale = width / chunk.page_bits
        x = _NAMES + hints.contig_start * scale
        canvas.rect(x, bottom + 1, max(hints.contig * scale, 1.5), 2, CONTIG)
    canvas.text(_NAMES + _STRIP + 10, bottom - 1, chunk.contents, "faint")
