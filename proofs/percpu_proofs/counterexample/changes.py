"""What a step changes of a state, in words: of the mutex, of counters and of chunks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final

from percpu_proofs.counterexample.record import CpuStep
from percpu_proofs.counterexample.relevance import Relevance
from percpu_proofs.counterexample.words import pages
from percpu_proofs.show.rows import ChunkRow, StateRows

_SHORT: Final = 18  # pages whose rows stand beside one another


def changes(before: StateRows, step: CpuStep, shown: Relevance) -> Iterator[str]:
    """Yield what a step changed, as far as it is to be shown."""
    after, known = step.state, dict(before.counters)
    said = []
    if before.mutex != after.mutex:
        said.append(f"pcpu_alloc_mutex {f'held by {after.mutex}' if after.mutex else 'released'}")
    said += [
        f"{name} {known.get(name, 0)} -> {value}"
        for name, value in after.counters
        if name in shown.counters and known.get(name) != value
    ]
    if said:
        yield "; ".join(said)
    was, now = ({row.name: row for row in shown.rows(state)} for state in (before, after))
    for name in dict.fromkeys([*was, *now]):
        change = _change(was.get(name), now.get(name))
        if change:
            yield f"chunk {name}: {change}"


def _change(was: ChunkRow | None, now: ChunkRow | None) -> str:
    """Return what has become of a chunk, empty if nothing has."""
    if now is None:
        return "is gone"
    if was is None:
        return f"is new, {now.place} {short(now.pages)}"
    said = []
    if was.place != now.place:
        said.append(f"{was.place} -> {now.place}")
    old, new = was.pages, now.pages
    if old != new:
        said.append(f"{old} -> {new}" if len(new) <= _SHORT else _pages_changed(old, new))
    if not said and was.areas != now.areas:
        said.append(_areas_changed(was, now))
    return ", ".join(said)


def _pages_changed(old: str, new: str) -> str:
    """Return the ranges of pages that differ.

    >>> _pages_changed("##ee--", "#eee--")
    'page 1 # -> e'
    """
    found, end = [], 0
    for (was, now), run in groupby(zip(old, new, strict=True)):
        start, end = end, end + len(list(run))
        if was != now:
            found.append(f"{pages(start, end)} {was} -> {now}")
    return ", ".join(found)


def _areas_changed(was: ChunkRow, now: ChunkRow) -> str:
    gone = [area for area in was.areas if area not in now.areas]
    come = [area for area in now.areas if area not in was.areas]
    said = [f"bytes [{first}, {last}] freed" for first, last in gone]
    return ", ".join(said + [f"bytes [{first}, {last}] taken" for first, last in come])


def short(row: str) -> str:
    """Return a row of pages, equal ones counted if it is long.

    >>> short("##--"), short("#" * 60 + "e" * 4)
    ('##--', '60# 4e')
    """
    if len(row) <= _SHORT:
        return row
    return " ".join(f"{len(list(run))}{page}" for page, run in groupby(row))
