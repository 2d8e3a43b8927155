"""The report of a kernel's state: verdicts, where the memory is, and pictures of its chunks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from percpu_proofs.live.continuation import largest
from percpu_proofs.live.memory import ChunkMemory, chunk_rows, memory_of, total_owner_bytes
from percpu_proofs.live.verdicts import BROKEN, HOLDS, KNOWN, NOT_ASKED, Verdict
from percpu_proofs.recorded.states.kernel_state import KernelState, Stability
from percpu_proofs.report.document import Document, IndexEntry, clause_index
from percpu_proofs.report.pictures import part
from percpu_proofs.show.picture import StatePicture, picture_of_state
from percpu_proofs.show.svg import chunk_svg, overview_svg
from percpu_proofs.show.text import chunk_text
from percpu_spec.catalogue import clauses

_DRAWN = 1_800_000  # bytes of drawings of single chunks, at most
_WRITTEN = 1_200_000  # bytes of maps of chunks as text, at most
_MESSAGES = 5  # of a clause that are shown


@dataclass(frozen=True, slots=True)
class ChunkMap:
    """The map of one chunk: a drawing, or a text."""

    name: str
    title: str
    drawing: Markup | None
    text: str


def report_of_state(
    state: KernelState, verdicts: Mapping[str, Verdict], stays: str, what: str
) -> str:
    """Return the report as HTML.

    stays: why the model does not go on from the state, empty if it does. what: the file's name.
    """
    into = Document()
    names: dict[Any, str] = dict(state.names)
    pending = state.quiescence.pending
    picture = picture_of_state(state.snapshot, names.__getitem__, "", pending)
    rows = list(chunk_rows(state))
    maps = list(_maps(picture, _order(rows, verdicts)))
    drawn = {one.name for one in maps}
    by_kind = {
        kind: [one for one in verdicts.values() if one.verdict == kind]
        for kind in (BROKEN, KNOWN, HOLDS, NOT_ASKED)
    }
    index = [IndexEntry(f"chunk-{one.name}", "chunk", one.title, "") for one in maps]
    return into.render(
        "state.html", f"Percpu state of {state.release}: {what}", [*clause_index(), *index],
        state=state, stability=_stability_words(state), torn=state.stability is Stability.TORN,
        memory=memory_of(state), by_kind=by_kind,
        titles={c.id: c.title for c in clauses().values()}, most=_MESSAGES,
        rows=rows, maps=maps, drawn=drawn,
        undrawn=[row.chunk for row in rows if row.chunk not in drawn],
        requests={} if stays else largest(state), stays=stays,
        owners=total_owner_bytes(state.chunks), overview=part(overview_svg(picture)),
    )  # fmt: skip


def _stability_words(state: KernelState) -> str:
    """Return how far at rest a state is, in words."""
    if state.stability is Stability.TORN:
        return f"torn: {state.quiescence.words}: verdicts are hints only"
    if state.stability is Stability.NOT_TOLD:
        return "at rest or not: the text does not say; judged as if at rest"
    return f"{state.stability.value}: {state.signs or state.quiescence.words}"


def _order(rows: Sequence[ChunkMemory], verdicts: Mapping[str, Verdict]) -> list[str]:
    """Return the chunks in the order in which they are worth a drawing."""
    said = " ".join(text for one in verdicts.values() for text in one.found)
    named = set(re.findall(r"\bchunk (-?\d+)", said))

    def rank(row: ChunkMemory) -> int:
        if row.chunk in named:
            return 0
        return 1 if row.isolated and row.empty_pages else 2 if "first" in row.notes else 3

    return [row.chunk for row in sorted(rows, key=rank)]


def _maps(picture: StatePicture, order: Sequence[str]) -> Iterator[ChunkMap]:
    """Yield the maps of chunks: drawings as far as there is room, then texts."""
    drawn = written = 0
    for name in order:
        chunk = picture.chunks[name]
        title = f"chunk {name}: {chunk.place}, {chunk.contents}"
        if drawn < _DRAWN:
            drawing = part(chunk_svg(picture, name))
            drawn += len(drawing)
            yield ChunkMap(name, title, drawing, "")
        elif written < _WRITTEN:
            text = chunk_text(chunk)
            written += len(text)
            yield ChunkMap(name, title, None, text)
