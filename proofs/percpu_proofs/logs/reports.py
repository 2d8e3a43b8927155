"""Reports of the kernel's checkers and watchdogs in which the percpu allocator has a part.

Most of their questions are outside the specification: orders of locks through reclaim, races of
plain reads, how long something takes. Each is named as that, with the clause that comes nearest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from percpu_proofs.logs.answers import kind_of
from percpu_proofs.logs.block import block_of
from percpu_proofs.logs.prefixes import Message

_LONGEST: Final = 400  # lines of one report


@dataclass(frozen=True, slots=True)
class Report:
    """One report. outside: whether its question is outside the specification.

    clauses: that answer it, or that come nearest. says: what it is about, then what follows.
    """

    line: int
    kind: str
    title: str
    outside: bool
    clauses: tuple[str, ...]
    says: tuple[str, ...]
    advice: tuple[str, ...]


def read_reports(found: Sequence[Message]) -> list[Report]:
    """Return the reports in a log in which the percpu allocator has a part."""
    reports: list[Report] = []
    bare_title: list[str] = []
    starts = [
        (index, kind) for index, message in enumerate(found)
        if (kind := kind_of(message.text)) is not None
    ]  # fmt: skip
    for number, (index, kind) in enumerate(starts):
        stop = starts[number + 1][0] if number + 1 < len(starts) else len(found)
        block = block_of([m.text for m in found[index : min(stop, index + _LONGEST)]])
        if block.is_ours or kind.always:
            if reports and reports[-1].kind == kind.name and kind.name in bare_title:
                reports.pop()  # which was the subject of the mail with this one in it
            bare_title = [kind.name] if block.is_title else []
            answer = kind.answer(block)
            reports.append(Report(found[index].line, kind.name, block.title, *answer))
    return reports


def without_illegal(reports: Sequence[Report], lines: Sequence[int]) -> Iterator[Report]:
    """Yield reports but for the warnings that only announce an illegal request, at these lines."""
    for report in reports:
        near = any(abs(report.line - line) <= 2 for line in lines)
        if report.kind != "warning" or not near:
            yield report
