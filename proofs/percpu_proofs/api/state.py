"""A state: what may be judged and drawn, its memory map, and that of a real kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from percpu_proofs.api.arguments import require
from percpu_proofs.api.display import Display
from percpu_proofs.commands.moments import map_svg, map_text, picture_of_kernel
from percpu_proofs.commands.output import write_file
from percpu_proofs.commands.state_report import show_kernel
from percpu_proofs.explain import shipped
from percpu_proofs.live.subject import SubjectKind, kind_of, read_subject
from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.recorded.states.snapshot import Snapshot
from percpu_proofs.run.inputs import InputError
from percpu_proofs.show.picture import StatePicture, picture_of_state
from percpu_spec.views import AllocatorView

_SOME = ("geometry", "slot_chunks", "owned_chunks", "nr_empty_pop_pages", "first_chunk")


def view_of(given: object) -> AllocatorView:
    """Return the view that something is, or has as `allocator` or `snapshot`. Raises InputError."""
    found: Any = given
    if (kernel := kernel_of(given)) is not None:
        found = kernel.snapshot
    elif hasattr(given, "allocator"):
        found = given.allocator
    if not all(hasattr(found, name) for name in _SOME):
        expected = "an allocator, a state, or any AllocatorView (percpu_spec.views)"
        raise InputError("view", None, expected, type(given).__name__)
    view: AllocatorView = found
    return view


def kernel_of(given: object) -> KernelState | None:
    """Return a real kernel's state, if that is what something is or has as `kernel`."""
    found = getattr(given, "kernel", given)
    return found if isinstance(found, KernelState) else None


class Drawing(Display):
    """A memory map: `text` for a mail, at most 79 columns of one chunk, and `svg` for a page."""

    def __init__(self, picture: StatePicture, chunk: str | None) -> None:
        self.picture = picture
        self.chunk = chunk  # None: all

    @property
    def text(self) -> str:
        """The map in characters, with its legend."""
        return map_text(self.picture, self.chunk)

    @property
    def svg(self) -> str:
        """The map as an SVG document."""
        return map_svg(self.picture, self.chunk)

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
        return picture_of_kernel(kernel)
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


class StateReport(Display):
    """A state of a kernel; `kernel` has all of it, `allocator` is a view."""

    def __init__(self, kernel: KernelState) -> None:
        self.kernel = kernel

    @property
    def allocator(self) -> Snapshot:
        """The state as a view."""
        return self.kernel.snapshot

    @property
    def release(self) -> str:
        """The kernel's release."""
        return self.kernel.release

    @property
    def rest(self) -> str:
        """Whether it was at rest: at rest, busy, torn, or not told."""
        return self.kernel.stability.value

    def show(self, out: Console) -> None:
        """Print the kernel, its memory, and all chunks."""
        show_kernel(out, self.kernel)
        out.print(draw(self).text, markup=False, soft_wrap=True)

    def _repr_html_(self) -> str:
        return draw(self).svg


def read_state(what: str | Path, *, debug: str | Path | None = None) -> StateReport:
    """Read a kernel's state: a file that `state --save` wrote, the name of a shipped one, a core
    or `live`.

    debug: a vmlinux with debug information. Cores and `live` need drgn, `live` root. Raises
    InputError or TraceError for what cannot be read, TornError and UnstableError for what is not
    one moment.
    """
    require("what", what, "a file, the name of a shipped state, or live", str, Path)
    path = str(what) if str(what) == "live" else str(shipped.find(Path(what), "state"))
    kind = kind_of(path)
    if kind in (SubjectKind.STATS, SubjectKind.SAMPLES):
        raise InputError(path, None, f"a state; for {kind.value}: percpu-spec state FILE")
    symbols = None if debug is None else Path(debug)
    return StateReport(read_subject(path, kind, symbols, owners=False))
