"""The failed allocations of a trace, in the terms of a list's (percpu_proofs.run.failures)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from percpu_proofs.recorded.traces.events import Alloc, Fail
from percpu_proofs.recorded.traces.reader import Trace
from percpu_proofs.run import reasons

UNTOLD: Final = f"{reasons.CREATE}, or {reasons.POPULATE} (the event does not tell which)"


@dataclass(frozen=True, slots=True)
class FirstFailed:
    """The first failure: the number of its event from 1, its line, and what was asked for."""

    operation: int
    line: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailedKind:
    """Requests alike that failed: how many, and of how many. Sizes in bytes, flags as in lists."""

    size: int
    align: int
    flags: str
    count: int
    of: int
    reason: str


@dataclass(frozen=True, slots=True)
class FailedEvents:
    """How many allocations of a trace failed, the first, and each kind, the most frequent first."""

    count: int = 0
    first: FirstFailed | None = None
    by_size: tuple[FailedKind, ...] = ()


def failed_events(trace: Trace) -> FailedEvents:
    """Return what failed in a trace, whether or not it could be replayed."""
    failed: Counter[tuple[int, int, str, str]] = Counter()
    asked: Counter[tuple[int, int, str]] = Counter()
    first = None
    for number, event in enumerate(trace.events):
        if not isinstance(event, Alloc | Fail):
            continue
        flags = "A" * event.atomic + "R" * event.reserved or "-"
        asked[event.size, event.align, flags] += 1
        if isinstance(event, Alloc):
            continue
        reason = (
            reasons.RESERVED if event.reserved else reasons.ATOMIC if event.atomic else UNTOLD
        )
        failed[event.size, event.align, flags, reason] += 1
        text = f"size={event.size} align={event.align} atomic={int(event.atomic)}"
        first = first or FirstFailed(number + 1, trace.lines[number], text, reason)
    kinds = (
        FailedKind(*kind[:3], count, asked[kind[:3]], kind[3])
        for kind, count in failed.most_common()
    )
    return FailedEvents(failed.total(), first, tuple(kinds))
