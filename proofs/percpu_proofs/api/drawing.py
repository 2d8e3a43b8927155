"""The memory map of a state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from percpu_proofs.api.display import Display
from percpu_proofs.api.views import kernel_of, view_of
from percpu_proofs.commands.output import write_file
from percpu_proofs.run.inputs import InputError
from percpu_proofs.show.overview import overview_svg, overview_text
from percpu_proofs.show.picture import StatePicture, picture_of_state
from percpu_proofs.show.svg import chunk_svg
from percpu_proofs.show.text import chunk_text
from percpu_spec.views import AllocatorView


class Drawing(Display):
    """A memory map: `text` for a mail, at most 79 columns of one chunk, and `svg` for a page."""

    def __init__(self, picture: StatePicture, chunk: str | None) -> None:
        self.picture = picture
        self.chunk = chunk  # None: all

    @property
    def text(self) -> str:
        """The map in characters, with its legend."""
        if self.chunk is None:
            return overview_text(self.picture)
        return chunk_text(self.picture.chunks[self.chunk])

    @property
    def svg(self) -> str:
        """The map as an SVG document."""
        if self.chunk is None:
            return overview_svg(self.picture)
        return chunk_svg(self.picture, self.chunk)

    def save(self, path: str | Path) -> None:
        """Write the SVG to a file. Raises InputError where that is not possible."""
        write_file(Path(path), self.svg)

    def show(self, out: Console) -> None:
        """Print the text."""
        out.print(self.text, markup=False, soft_wrap=True)

    def _repr_html_(self) -> str:
        return self.svg


def draw(view: object, chunk: int | str | None = None) -> Drawing:
    """Draw a state as `check` takes them: all chunks on one page, or one page by page.

    chunk: 0 the first, -1 the reserved one; others by their number in the model, or by their place
    on the lists of a real kernel. Raises InputError for one that there is not.
    """
    picture = _picture(view)
    if chunk is None:
        return Drawing(picture, None)
    if str(chunk) not in picture.chunks:
        raise InputError("chunk", None, f"one of {' '.join(picture.chunks)}", str(chunk))
    return Drawing(picture, str(chunk))


def _picture(given: object) -> StatePicture:
    kernel = kernel_of(given)
    if kernel is not None:
        names: dict[Any, str] = dict(kernel.names)
        title = f"{Path(kernel.source).name}, {kernel.release}"
        return picture_of_state(
            kernel.snapshot, names.__getitem__, title, kernel.quiescence.pending
        )
    view = view_of(given)
    title = getattr(given, "title", type(view).__name__)
    return picture_of_state(view, _label(view), title, getattr(view, "work_pending", None))


def _label(view: AllocatorView) -> Callable[[Any], str]:
    """Return what chunks are called: the model's by their id, others by their place."""
    if hasattr(view.first_chunk, "id"):
        return lambda chunk: str(chunk.id)
    chunks = [chunk for slot in range(view.nr_slots) for chunk in view.slot_chunks(slot)]
    numbers = {id(chunk): str(n) for n, chunk in enumerate([*chunks, *view.owned_chunks()])}
    return lambda chunk: numbers.get(id(chunk), "-1")
