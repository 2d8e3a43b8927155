"""A state of the model or of a real kernel: read, drawn, and judged by the clauses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, overload

from rich.console import Console

from percpu_contracts.monitor import Monitor
from percpu_contracts.registry import RECORDED, When, state_clauses
from percpu_contracts.situations import subjectless
from percpu_contracts.whole_state import KERNELS, WholeState
from percpu_proofs.api.results import Display, require
from percpu_proofs.commands.moments import map_svg, map_text, picture_of_kernel
from percpu_proofs.commands.output import grouped, write_file
from percpu_proofs.commands.state_report import show_kernel, show_verdicts
from percpu_proofs.explain.names import find_file
from percpu_proofs.live.subject import SubjectKind, kind_of, read_subject
from percpu_proofs.live.verdicts import (
    BROKEN,
    HOLDS,
    KNOWN,
    NO_OPERATION,
    NOT_ASKED,
    KernelStateJudge,
    Verdict,
    verdict_of,
)
from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.recorded.states.snapshot import Snapshot
from percpu_proofs.run.inputs import InputError
from percpu_proofs.show.picture import StatePicture, picture_of_state
from percpu_spec.catalogue import clause, clauses, entry_id, title
from percpu_spec.counts import counted, times
from percpu_spec.definitions import Listing
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
    if (kernel := kernel_of(view)) is not None:
        picture = picture_of_kernel(kernel)
    else:
        state = view_of(view)
        title = getattr(view, "title", type(state).__name__)
        pending = getattr(state, "work_pending", None)
        picture = picture_of_state(state, _label(state), title, pending)
    if chunk is None:
        return Drawing(picture, None)
    if str(chunk) not in picture.chunks:
        raise InputError("chunk", None, f"one of {' '.join(picture.chunks)}", str(chunk))
    return Drawing(picture, str(chunk))


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
    path = str(what) if str(what) == "live" else str(find_file(Path(what), "state"))
    kind = kind_of(path)
    if kind in (SubjectKind.STATS, SubjectKind.SAMPLES):
        raise InputError(path, None, f"a state; for {kind.value}: percpu-spec state FILE")
    symbols = None if debug is None else Path(debug)
    return StateReport(read_subject(path, kind, symbols, owners=False))


class Verdicts(Display, Mapping[str, Verdict]):
    """The verdict of each clause by id: holds, known, broken or not asked, with what was found.

    True if nothing is broken; known is what the variant declares, or the release is known for.
    """

    def __init__(self, verdicts: Mapping[str, Verdict]) -> None:
        self._verdicts = dict(verdicts)

    def __getitem__(self, clause_id: str) -> Verdict:
        """Return one verdict. Raises UnknownClauseError, naming ids that look alike."""
        clause_id = entry_id(clause_id)
        if clause_id not in self._verdicts:
            clause(clause_id)
        return self._verdicts[clause_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._verdicts)

    def __len__(self) -> int:
        return len(self._verdicts)

    def __bool__(self) -> bool:
        return not self.broken

    @property
    def broken(self) -> dict[str, Verdict]:
        """The clauses that are broken and not known to be."""
        return self._of(BROKEN)

    @property
    def known(self) -> dict[str, Verdict]:
        """The clauses that are broken as the variant declares, or the release is known for."""
        return self._of(KNOWN)

    @property
    def holding(self) -> dict[str, Verdict]:
        """The clauses that hold."""
        return self._of(HOLDS)

    @property
    def not_asked(self) -> dict[str, str]:
        """The clauses that were not asked, each with the reason."""
        return {name: verdict.reason for name, verdict in self._of(NOT_ASKED).items()}

    def _of(self, word: str) -> dict[str, Verdict]:
        return {name: v for name, v in self._verdicts.items() if v.verdict == word}

    def show(self, out: Console) -> None:
        """Print the clauses by verdict, and what was found of each that does not hold."""
        show_verdicts(out, self._verdicts)


class Answer(Display):
    """The verdict of one clause; true unless it is broken."""

    def __init__(self, verdict: Verdict) -> None:
        self.clause, self.verdict = verdict.clause, verdict.verdict
        self.found, self.reason = verdict.found, verdict.reason

    def __bool__(self) -> bool:
        return self.verdict != BROKEN

    def show(self, out: Console) -> None:
        """Print the clause, its verdict, and what was found."""
        reason = f" ({self.reason})" if self.reason else ""
        out.print(f"{self.clause}, {title(self.clause)}: {self.verdict}{reason}", markup=False)
        for found in self.found:
            out.print(f"  {found}", markup=False)


@overload
def check(view: object) -> Verdicts: ...
@overload
def check(view: object, clause_id: str) -> Answer: ...
@overload
def check(view: object, clause_id: list[str] | tuple[str, ...]) -> Verdicts: ...


def check(
    view: object, clause_id: str | list[str] | tuple[str, ...] | None = None
) -> Verdicts | Answer:
    """Ask the clauses of a state: Verdicts of all or of several, or the Answer of one.

    view: what `allocator` or `read_state` returns, an allocator of the model, or any AllocatorView.
    A state shows nothing of operations: those clauses are answered where the allocator runs under
    contracts, by what these have found so far, and else not asked. Raises InputError for what is
    no view, or no ids, UnknownClauseError for an id that is none.
    """
    ids = _ids(clause_id)
    kernel = kernel_of(view)
    verdicts = (
        KernelStateJudge().verdicts(kernel) if kernel is not None else _verdicts(view_of(view))
    )
    if isinstance(clause_id, str):
        return Answer(verdicts[ids[0]])
    return Verdicts({name: verdicts[name] for name in ids or verdicts})


def _ids(names: object) -> list[str]:
    """Return the ids of clauses that are asked for, none for all."""
    if names is None:
        return []
    every = [names] if isinstance(names, str) else names
    listed = isinstance(every, list | tuple) and every
    if not listed or not all(isinstance(one, str) for one in listed):
        raise InputError("check", None, "the id of a clause (HINT-5) or a list of ids", repr(names))
    return [clause(entry_id(one)).id for one in listed]


def _verdicts(view: AllocatorView) -> dict[str, Verdict]:
    """Return the verdicts on a view that is no real kernel's."""
    declared: Mapping[str, str] = getattr(view, "EXPECTED", {})
    wrong = grouped(WholeState(_inapplicable(view)).broken(view, quiescent=_quiescent(view)))
    by_contracts: dict[str, Verdict] = {}
    for verdict in _by_contracts(view):
        by_contracts.setdefault(verdict.clause, verdict)
    reasons = subjectless(Listing(view)) | _not_asked(view)
    verdicts = {}
    for name in clauses():
        verdict = verdict_of(
            name, wrong.get(name, ()), known=declared.get(name, ""), unasked=reasons.get(name, "")
        )
        verdicts[name] = verdict if name in wrong else by_contracts.get(name, verdict)
    return verdicts


def _by_contracts(view: AllocatorView) -> Iterator[Verdict]:
    """Yield what contracts have found of an allocator that runs under some."""
    monitor: Monitor | None = getattr(view, "monitor", None)
    if monitor is None:
        return
    for name, broken in monitor.violations.items():
        word = KNOWN if broken.expected else BROKEN
        often = counted(broken.count, "operation")
        where = f"by contracts, at {often}, first {broken.first_operation}"
        yield Verdict(name, word, (broken.first_message,), where)
    of_states = set(RECORDED.asks())
    for name, count in monitor.asked().items():
        if count > 0 and name not in of_states and name in clauses():
            yield Verdict(name, HOLDS, (), f"asked {times(count)} by contracts")


def _not_asked(view: AllocatorView) -> dict[str, str]:
    """Return why some clauses are not asked of a view."""
    reasons = dict.fromkeys(RECORDED.not_asked(), NO_OPERATION)
    if not _quiescent(view):
        reasons |= dict.fromkeys(state_clauses(When.QUIESCENT), "the allocator is not quiescent")
    return reasons | _inapplicable(view)


def _inapplicable(view: AllocatorView) -> dict[str, str]:
    """Return the clauses that a view's variant does not know, or that are no kernel's."""
    named: Mapping[str, str] | None = getattr(view, "NOT_APPLICABLE", None)
    return dict(named) if named is not None else dict.fromkeys(KERNELS, "asked of reference only")


def _quiescent(view: AllocatorView) -> bool:
    """Return whether a view says that it is quiescent; one that says nothing is taken for it."""
    return bool(getattr(view, "quiescent", True))
