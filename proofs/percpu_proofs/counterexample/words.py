"""Operations, points of the kernel's code and changes of a state in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from percpu_proofs.counterexample.record import CpuStep, OperationWords, Relevance
from percpu_proofs.run.operations import HANDLES, Operation, flags_of, text_of
from percpu_proofs.show.text import ChunkRow, StateRows
from percpu_reference.gaps import Gap, Kind

_FLAGS: Final = {
    "A": "GFP_ATOMIC", "N": "GFP_NOWAIT", "O": "GFP_NOIO", "S": "GFP_NOFS", "G": "__GFP_ACCOUNT",
    "F": "__GFP_NOFAIL", "W": "__GFP_NOWARN", "Y": "__GFP_NORETRY", "R": "reserved",
    "o": "in a scope without I/O", "s": "in a scope without file systems",
}  # fmt: skip
_SENTENCES: Final = {
    "b": "run the balance work",
    "B": "run the balance work if it is pending",
    "P": "the next {} page allocations fail",
    "Q": "page allocation {} from now fails",
    "M": "the next {} mappings of a unit's range fail",
    "m": "mapping {} of a unit's range from now fails",
    "C": "the next {} chunk creations find no vm area",
    "Z": "metadata allocation {} from now fails",
    "K": "the next {} killable waits for pcpu_alloc_mutex are killed",
    "H": "the next {} charges fail",
    "E": "asynchronous balance work becomes available",
    "f": "free {}",
    "d": "free {} once more",
    "w": "free the address {1} bytes into {0}",
    "s": "free the percpu pointer {}, of no area",
}
_NEXT: Final = {
    Kind.CREATE: "create a chunk", Kind.GROW: "create a chunk", Kind.FILL: "populate",
    Kind.POPULATE: "populate", Kind.RELEASE: "unmap", Kind.FLUSH: "flush the translations of",
    Kind.DRAIN: "unmap", Kind.DESTROY: "destroy",
}  # fmt: skip


class Names:
    """Letters for handles, in the order in which operations name them: a, b, ... z, aa, ab."""

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self._numbers: dict[int, int] = {}
        for kind, handle, *_ in operations:
            if kind in HANDLES:
                self._numbers.setdefault(handle, len(self._numbers))

    def of(self, handle: int) -> str:
        """Return the letter of a handle."""
        number = self._numbers.setdefault(handle, len(self._numbers))
        letters = ""
        while number >= 0:
            letters = chr(ord("a") + number % 26) + letters
            number = number // 26 - 1
        return letters

    def operation_words(self, operation: Operation) -> OperationWords:
        """Return an operation in words and in the operation language."""
        return OperationWords(self.words(operation), text_of(operation))

    def words(self, operation: Operation) -> str:
        """Return an operation in words.

        >>> from pathlib import Path
        >>> from percpu_proofs.run.operations import parse_operations
        >>> read = parse_operations(Path("x"), ["a 7 64 32 AG", "f 7"]).operations
        >>> [Names(read).words(operation) for operation in read]
        ['allocate 64 bytes aligned to 32, GFP_ATOMIC, __GFP_ACCOUNT (a)', 'free a']
        """
        kind, arg, size, align, _, _ = operation
        if kind == "a":
            aligned = f" aligned to {align}" if align > 4 else ""
            letters = flags_of(operation)
            flags = "".join(f", {_FLAGS[letter]}" for letter in letters if letter != "-")
            return f"allocate {size} bytes{aligned}{flags} ({self.of(arg)})"
        if kind == "U":
            return f"the task {'gets an' if arg else 'has no'} object cgroup"
        return _SENTENCES[kind].format(self.of(arg) if kind in HANDLES else arg, size)


def page_range(start: int, end: int) -> str:
    """Return a range of pages [start, end) as a closed one.

    >>> page_range(1, 5), page_range(3, 4)
    ('pages [1, 4]', 'page 3')
    """
    return f"page {start}" if end == start + 1 else f"pages [{start}, {end - 1}]"


def position_of(gap: Gap, *, locked: bool) -> tuple[str, str]:
    """Return where a running operation stands, and what it does next.

    locked: pcpu_lock was taken on the way there.
    """
    if gap.kind is Kind.WAIT:
        return "waits for pcpu_alloc_mutex", ""
    ahead = _NEXT.get(gap.kind, gap.name.partition(": ")[2] or gap.name)
    if gap.end > gap.start:
        ahead += f" {page_range(gap.start, gap.end)}"
        ahead += f" of chunk {gap.chunk.id}" if gap.chunk is not None else ""
    elif gap.chunk is not None:
        ahead += f" chunk {gap.chunk.id}"
    return "pcpu_lock released" if locked else "stands", ahead


_SHORT: Final = 18  # pages whose rows stand beside one another


def state_changes(before: StateRows, step: CpuStep, shown: Relevance) -> Iterator[str]:
    """Yield what a step changed, as far as it is to be shown."""
    after, known = step.state, dict(before.counters)
    counters = []
    if before.mutex != after.mutex:
        holder = f"held by {after.mutex}" if after.mutex else "released"
        counters.append(f"pcpu_alloc_mutex {holder}")
    counters += [
        f"{name} {known.get(name, 0)} -> {value}"
        for name, value in after.counters
        if name in shown.counters and known.get(name) != value
    ]
    if counters:
        yield "; ".join(counters)
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
        return f"is new, {now.place} {short_row(now.pages)}"
    parts = []
    if was.place != now.place:
        parts.append(f"{was.place} -> {now.place}")
    old, new = was.pages, now.pages
    if old != new:
        parts.append(f"{old} -> {new}" if len(new) <= _SHORT else _pages_changed(old, new))
    if not parts and was.areas != now.areas:
        parts.append(_areas_changed(was, now))
    return ", ".join(parts)


def _pages_changed(old: str, new: str) -> str:
    """Return the ranges of pages that differ.

    >>> _pages_changed("##ee--", "#eee--")
    'page 1 # -> e'
    """
    ranges, end = [], 0
    for (was, now), run in groupby(zip(old, new, strict=True)):
        start, end = end, end + len(list(run))
        if was != now:
            ranges.append(f"{page_range(start, end)} {was} -> {now}")
    return ", ".join(ranges)


def _areas_changed(was: ChunkRow, now: ChunkRow) -> str:
    gone = [area for area in was.areas if area not in now.areas]
    come = [area for area in now.areas if area not in was.areas]
    freed = [f"bytes [{first}, {last}] freed" for first, last in gone]
    return ", ".join(freed + [f"bytes [{first}, {last}] taken" for first, last in come])


def short_row(row: str) -> str:
    """Return a row of pages, equal ones counted if it is long.

    >>> short_row("##--"), short_row("#" * 60 + "e" * 4)
    ('##--', '60# 4e')
    """
    if len(row) <= _SHORT:
        return row
    return " ".join(f"{len(list(run))}{page}" for page, run in groupby(row))
