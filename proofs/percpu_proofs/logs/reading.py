"""What a log says: its boots, each with its kernel and layout, its failures and its reports."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from percpu_proofs.live.subject import is_core
from percpu_proofs.logs.advice import Explanation, MachineFacts, explain
from percpu_proofs.logs.failures import ILLEGAL, Failure, merge_alike, read_failures
from percpu_proofs.logs.material import Material, read_material
from percpu_proofs.logs.messages import Message, messages, release_in
from percpu_proofs.logs.reports import Report, read_reports, without_illegal
from percpu_proofs.recorded.boot.layout import NO_LINES, Layout, layout
from percpu_proofs.recorded.boot.log import is_layout
from percpu_proofs.recorded.source import lines_of, problem, readable
from percpu_proofs.run.inputs import InputError, TraceError

_BOOT: Final = "Linux version "
_TIME: Final = re.compile(r"\[\s*(\d{1,9})\.\d{3,9}\]")
_BACK: Final = 1  # seconds by which times fall back without a boot: CPUs and consoles mix lines
_FIRST_LINE: Final = re.compile(r"percpu: (?:Embedded|\d+\s+\d+K)\b.*|pcpu-alloc: s\d.*", re.I)


@dataclass(frozen=True, slots=True)
class Boot:
    """A boot: its messages are start to stop of the log's. error: why it has no layout, if told.

    guess: what it was known by, if not by the message that a boot begins with; empty: by that, or
    it is the log's first.
    """

    line: int
    start: int
    stop: int
    release: str | None
    layout: Layout | None
    error: TraceError | None = None
    guess: str = ""

    @property
    def machine(self) -> MachineFacts:
        """What the boot tells of its machine."""
        shape = self.layout
        if shape is None:
            return MachineFacts(release=self.release)
        return MachineFacts(
            shape.page, shape.unit, shape.units, shape.cpus, shape.reserved, shape.backing,
            self.release, shape.as_json()["geometry"],
        )  # fmt: skip


def read_boots(
    path: Path,
    lines: Sequence[tuple[int, str]],
    found: Sequence[Message],
    sizes: Mapping[str, str] | None,
) -> list[Boot]:
    """Return the boots of a log in order, at least one; sizes: told beside it, as for `layout`.

    What stands before the first one that tells its kernel belongs to it, unless it tells another
    kernel or a layout, or its times are later.
    """
    boots = []
    edges = dict(_edges(lines, found))
    for start, stop in pairwise([0, *edges, len(lines)]):
        shape, error = None, None
        try:
            shape = layout(path, lines[start:stop], sizes)
        except TraceError as problem:
            error = problem
        release = next((r for m in found[start:stop] if (r := release_in(m.text))), None)
        line = found[start].line if start < len(found) else 1
        boots.append(Boot(line, start, stop, release, shape, error, edges.get(start, "")))
    return boots


def boot_notes(
    lines: Sequence[tuple[int, str]], found: Sequence[Message], boots: Sequence[Boot]
) -> Iterator[str]:
    """Yield where boots were guessed, and that they cannot be told apart."""
    for boot in boots:
        if boot.guess:
            yield f"line {boot.line}: taken for another boot, as {boot.guess}"
    timed = any(_TIME.search(line) for _, line in lines)
    if len(boots) == 1 and not timed and not any(_BOOT in message.text for message in found):
        yield (
            "no line tells the seconds since boot, and none begins one ('Linux version'): taken "
            "for one boot, but it may be of several"
        )


def _edges(
    lines: Sequence[tuple[int, str]], found: Sequence[Message]
) -> Iterator[tuple[int, str]]:
    """Yield where another boot begins, and what that is guessed by, if it is."""
    tells = False  # whether this one has told its kernel
    layouts: dict[str, str] = {}
    known: str | None = None
    last = 0
    for n, message in enumerate(found):
        text = message.text
        time = _TIME.search(lines[n][1])
        now = int(time[1]) if time else last
        release = release_in(text)
        shape = _FIRST_LINE.search(text)
        sizes = " ".join(shape[0].split()) if shape else ""
        which = sizes[:12].lower()
        begins, guess = now + _BACK < last, f"times fall back from {last} to {now} s"
        if shape and is_layout(text) and layouts.get(which, sizes) != sizes:
            begins, guess = True, "another layout is told"
        if _BOOT in text:
            begins |= tells or bool(layouts) or known not in (None, release)
            guess = ""
        if begins and n:
            yield n, guess
            tells, layouts, known = False, {}, None
            now = now if time else 0
        tells |= _BOOT in text
        known = known or release
        if shape:
            layouts[which] = sizes
        last = now


_SOUGHT: Final = (
    "something of percpu memory: a failure (percpu: allocation failed, ...; up to 6.5 only those "
    "of requests that may sleep are printed, none with __GFP_NOWARN), a report with percpu "
    "functions"
)
_TORN: Final = "a failure that is not whole"
_PRINTED: Final = 10  # failures that a kernel prints before it says that the limit is reached
_LIMIT_REACHED: Final = (
    f"limit reached: {_PRINTED} failures were printed, no more will be until the next boot; the "
    "event percpu:percpu_alloc_percpu_fail still tells each"
)
_NOT_ALL: Final = (
    f"the kernel prints {_PRINTED} failures at most, and none of requests with __GFP_NOWARN (bpf); "
    "percpu:percpu_alloc_percpu_fail tells all"
)


@dataclass(frozen=True, slots=True)
class LogReport:
    """What a log says. layout, release: of the last boot that tells its layout, or of the last.

    boots: all of them, each with its own. failures: each with what it means, in order. notes: what
    is uncertain or missing.
    """

    file: Path
    release: str | None
    layout: Layout | None
    machine: MachineFacts
    failures: tuple[tuple[Failure, Explanation], ...]
    reports: tuple[Report, ...]
    material: tuple[Material, ...]
    notes: tuple[str, ...]
    limit: int | None
    boots: tuple[Boot, ...]
    unread: tuple[Message, ...] = ()  # lines of failures, not whole

    @property
    def distinct_boots(self) -> list[Boot]:
        """The boots that tell a layout or a kernel, those alike told as one, the last of them."""
        kinds = {
            (boot.release, boot.layout and boot.machine): boot for boot in self.boots
            if boot.release is not None or boot.layout is not None
        }  # fmt: skip
        return sorted(kinds.values(), key=lambda boot: boot.start)

    @property
    def machines(self) -> list[MachineFacts]:
        """The machines that failures happened on; those of all boots where there are none."""
        of_failures = [self.machine_of(failure) for failure, _ in self.failures]
        return of_failures or [boot.machine for boot in self.boots]

    def machine_of(self, failure: Failure) -> MachineFacts:
        """Return what is known of the machine that a failure happened on."""
        machine = self.machine if len(self.boots) == 1 else self.boots[failure.boot].machine
        own = failure.release  # its stack may name another kernel than its boot does
        if own is None or own == machine.release:
            return machine
        return MachineFacts(release=own) if machine.release else replace(machine, release=own)

    @property
    def failed(self) -> int:
        """How many allocations the log says failed."""
        return sum(failure.count for failure, _ in self.failures)

    @property
    def kinds(self) -> list[tuple[Failure, Explanation]]:
        """The failures, those alike told as one."""
        meanings = {failure.kind: explanation for failure, explanation in self.failures}
        return [(one, meanings[one.kind]) for one in merge_alike(one for one, _ in self.failures)]

    def as_json(self) -> dict[str, Any]:
        """Return the report with plain values only."""
        return {
            "file": str(self.file),
            "kernel": self.release,
            "layout": None if self.layout is None else self.layout.as_json(),
            "boots": [
                {
                    "line": boot.line, "kernel": boot.release, "guessed": boot.guess,
                    "layout": boot.layout and boot.layout.as_json(),
                }
                for boot in self.boots
            ],
            "failures": [self._failure_as_json(*one) for one in self.failures],
            "failed": self.failed,
            "limit_reached": self.limit,
            "reports": list(map(asdict, self.reports)),
            "material": list(map(asdict, self.material)),
            "notes": list(self.notes),
        }

    def _failure_as_json(self, failure: Failure, explanation: Explanation) -> dict[str, Any]:
        names = (
            "line", "count", "size", "align", "atomic", "reserved", "reason", "source", "module"
        )  # fmt: skip
        stack, machine = failure.stack, self.machine_of(failure)
        asked_by = {"caller": stack.caller, "callers": list(stack.callers), "task": stack.task}
        there = {"release": machine.release, "page": machine.page}
        return {n: getattr(failure, n) for n in names} | asked_by | asdict(explanation) | there


def read_log(
    path: Path, sizes: Mapping[str, str] | None = None, known: MachineFacts | None = None
) -> LogReport:
    """Return what the log in a file says, plain or gzip, - standard input.

    sizes: told beside it, as for `layout`. known: what is known of the machine from elsewhere, for
    a log without a layout.
    Raises InputError or TraceError for a file without anything of percpu memory in it, for a core,
    and for messages of the layout that contradict each other where nothing else is there.
    """
    with readable(path) as file:
        _require_text(path, file)
        lines = list(lines_of(file, errors="replace", name=path))
    found = messages(lines)
    boots = read_boots(path, lines, found, sizes)
    failures: list[Failure] = []
    notes: list[str] = []
    unread: list[Message] = []
    limit: int | None = None
    for number, boot in enumerate(boots):
        of_boot, torn, end = read_failures(found[boot.start : boot.stop])
        unread += torn
        failures += (replace(one, boot=number, release=one.stack.release) for one in of_boot)
        notes += [f"line {one.line}: {_TORN}: {one.text.strip()}" for one in torn]
        if end is not None:
            notes.append(f"line {end}: {_LIMIT_REACHED}")
        elif any(failure.source == "message" for failure in of_boot):
            notes.append(_NOT_ALL)
        limit = limit or end
    illegal = [failure.line for failure in failures if failure.reason == ILLEGAL]
    reports = tuple(without_illegal(read_reports(found), illegal))
    material = tuple(read_material(found, _named(path)))
    errors = [boot.error for boot in boots if boot.error is not None]
    if len(errors) == len(boots) and not (failures or reports or material):
        if unread:
            raise unread_failures(path, unread[0])
        if any(is_layout(message.text) for message in found):
            raise errors[0]
        raise problem(path, None, f"{_SOUGHT}, or {NO_LINES}")
    notes += [
        f"layout: {boot.error}" for boot in boots
        if boot.error is not None
        and any(is_layout(message.text) for message in found[boot.start : boot.stop])
    ]  # fmt: skip
    if len(failures) > 1 or len(boots) > 1:
        notes += boot_notes(lines, found, boots)
    main = next((boot for boot in reversed(boots) if boot.layout is not None), boots[-1])
    machine = main.machine
    if main.layout is None and known is not None:
        machine = replace(known, release=main.release or known.release)
    report = LogReport(
        path, main.release, main.layout, machine, (), reports, material,
        tuple(dict.fromkeys([*notes, *_other_layouts(boots, main)])), limit, tuple(boots),
        tuple(unread),
    )  # fmt: skip
    failures = [replace(one, release=report.machine_of(one).release) for one in failures]
    meanings = {one.kind: explain(one, report.machine_of(one)) for one in failures}
    return replace(report, failures=tuple((one, meanings[one.kind]) for one in failures))


def unread_failures(path: Path, first: Message) -> TraceError:
    """Return the error for a log of whose lines of failures none can be read."""
    expected = "a whole line of a failure (percpu: allocation failed, size=N align=N ...): all of "
    return problem(path, first.line, f"{expected}this log's are cut or damaged", first.text.strip())


def _require_text(path: Path, file: Path) -> None:
    if is_core(file):
        expected = f"the text of a log; for a core: percpu-spec state {_named(path)}"
        raise InputError(path, None, expected)


def _named(path: Path) -> str:
    """Return a file as commands that are advised name it: standard input has to be saved first."""
    return "FILE" if path == Path("-") else shlex.quote(str(path))


def _other_layouts(boots: Sequence[Boot], main: Boot) -> Iterator[str]:
    """Yield notes on boots whose layouts differ from the main one."""
    sizes_of = attrgetter("static", "reserved", "dyn", "unit")
    for one in (boot.layout for boot in boots):
        if one is not None and main.layout is not None and sizes_of(one) != sizes_of(main.layout):
            sizes = "s{} r{} d{} u{}".format(*sizes_of(one))
            yield f"line {one.line}: another boot with another layout: {sizes}"
