"""A log read whole: layout, failures, reports, and what is no log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from percpu_proofs.inputs import InputError
from percpu_proofs.live.opening import CORES
from percpu_proofs.logs.advice import Explanation, Machine, explain
from percpu_proofs.logs.failures import ILLEGAL, Failure, alike, read_failures
from percpu_proofs.logs.material import Material, read_material
from percpu_proofs.logs.prefixes import Message, messages
from percpu_proofs.logs.reports import Report, read_reports, without_illegal
from percpu_proofs.logs.stacks import release_in
from percpu_proofs.traces.bootlog import is_layout
from percpu_proofs.traces.events import TraceError, problem
from percpu_proofs.traces.layout import NO_LINES, Layout, layout
from percpu_proofs.traces.source import lines_of

_BOOT: Final = "Linux version "
_SOUGHT: Final = (
    "something of percpu memory: a failure (percpu: allocation failed, ...; up to 6.5 only those "
    "of requests that may sleep are printed, none with __GFP_NOWARN), a report with percpu "
    "functions"
)
_PRINTED: Final = 10  # failures that a kernel prints before it says that the limit is reached


@dataclass(frozen=True, slots=True)
class LogReport:
    """What a log says. layout: of the last boot that tells one, None if none does.

    failures: each with what it means, in order. notes: what is uncertain or missing.
    """

    file: Path
    release: str | None
    layout: Layout | None
    machine: Machine
    failures: tuple[tuple[Failure, Explanation], ...]
    reports: tuple[Report, ...]
    material: tuple[Material, ...]
    notes: tuple[str, ...]
    limit: int | None

    @property
    def failed(self) -> int:
        """How many allocations the log says failed."""
        return sum(failure.count for failure, _ in self.failures)

    @property
    def kinds(self) -> list[tuple[Failure, Explanation]]:
        """The failures, those alike told as one."""
        meanings = {failure.kind: explanation for failure, explanation in self.failures}
        return [(one, meanings[one.kind]) for one in alike(one for one, _ in self.failures)]

    def as_json(self) -> dict[str, Any]:
        """Return the report with plain values only."""
        return {
            "file": str(self.file),
            "kernel": self.release,
            "layout": None if self.layout is None else self.layout.as_json(),
            "failures": [_failure(*one) for one in self.failures],
            "failed": self.failed,
            "limit_reached": self.limit,
            "reports": [report.as_json() for report in self.reports],
            "material": [one.as_json() for one in self.material],
            "notes": list(self.notes),
        }


def _failure(failure: Failure, explanation: Explanation) -> dict[str, Any]:
    return {
        "line": failure.line, "count": failure.count,
        "size": failure.size, "align": failure.align, "atomic": failure.atomic,
        "reserved": failure.reserved, "reason": failure.reason, "source": failure.source,
        "module": failure.module, "caller": failure.stack.caller,
        "callers": list(failure.stack.callers), "task": failure.stack.task,
    } | explanation.as_json()  # fmt: skip


def read_log(
    path: Path, told: Mapping[str, str] | None = None, known: Machine | None = None
) -> LogReport:
    """Return what the log in a file says, plain or gzip; `told` as for `layout`.

    known: what is known of the machine from elsewhere, for a log without a layout.
    Raises InputError or TraceError for a file without anything of percpu memory in it, for a core,
    and for messages of the layout that contradict each other where nothing else is there.
    """
    _is_text(path)
    lines = list(lines_of(path, errors="replace"))
    found = messages(lines)
    failures, notes, limit = read_failures(found)
    release = next((r for m in found if (r := release_in(m.text))), None)
    illegal = [failure.line for failure in failures if failure.reason == ILLEGAL]
    reports = tuple(without_illegal(read_reports(found), illegal))
    material = tuple(read_material(found, str(path)))
    shape: Layout | None = None
    try:
        shape, told_twice = _layout(path, lines, found, told)
        notes += told_twice
    except TraceError as error:
        is_there = any(is_layout(message.text) for message in found)
        if not (failures or reports or material):
            if is_there:
                raise
            raise problem(path, None, f"{_SOUGHT}, or {NO_LINES}") from None
        if is_there:
            notes.append(f"layout: {error}")
    machine = _machine(shape, release)
    if shape is None and known is not None:
        machine = replace(known, release=release or known.release)
    meanings = {failure.kind: explain(failure, machine) for failure in failures}
    explained = tuple((failure, meanings[failure.kind]) for failure in failures)
    notes += _counted(failures, limit)
    return LogReport(
        path, release, shape, machine, explained, reports, material, tuple(notes), limit
    )


def _is_text(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise InputError(path, None, f"a readable file ({error.strerror})") from None
    if head.startswith(CORES):
        raise InputError(path, None, f"the text of a log; for a core: percpu-spec state {path}")


def _layout(
    path: Path,
    lines: Sequence[tuple[int, str]],
    found: Sequence[Message],
    told: Mapping[str, str] | None,
) -> tuple[Layout, list[str]]:
    """Return the layout of the last boot that tells one, and notes on others that differ.

    Raises TraceError as `layout` does if none is told whole.
    """
    starts = [n for n, message in enumerate(found) if _BOOT in message.text]
    edges = [0, *starts[1:], len(lines)]  # what stands before the first boot belongs to it
    layouts: list[Layout] = []
    error: TraceError | None = None
    for start, stop in pairwise(edges):
        try:
            layouts.append(layout(path, lines[start:stop], told))
        except TraceError as problem:
            error = error or problem
    if not layouts:
        assert error is not None
        raise error
    last = layouts[-1]
    notes = [
        f"line {one.line}: another boot with another layout: s{one.static} r{one.reserved} "
        f"d{one.dyn} u{one.unit}"
        for one in layouts[:-1]
        if (one.static, one.reserved, one.dyn, one.unit) != _sizes(last)
    ]
    return last, notes


def _sizes(one: Layout) -> tuple[int, int, int, int]:
    return one.static, one.reserved, one.dyn, one.unit


def _machine(shape: Layout | None, release: str | None) -> Machine:
    if shape is None:
        return Machine(release=release)
    fields = shape.as_json()
    return Machine(
        shape.page, shape.unit, shape.units, shape.cpus, shape.reserved, shape.backing, release,
        fields["geometry"],
    )  # fmt: skip


def _counted(failures: Sequence[Failure], limit: int | None) -> list[str]:
    """Return what the number of failures printed leaves open."""
    notes = []
    if limit is not None:
        notes.append(
            f"line {limit}: limit reached: {_PRINTED} failures were printed, no more will be until "
            "the next boot; the event percpu:percpu_alloc_percpu_fail still tells each"
        )
    elif any(failure.source == "message" for failure in failures):
        notes.append(
            f"the kernel prints {_PRINTED} failures at most, and none of requests with "
            "__GFP_NOWARN (bpf); percpu:percpu_alloc_percpu_fail tells all"
        )
    return notes
