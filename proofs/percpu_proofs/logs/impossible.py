"""Failures that no mainline kernel prints with these numbers: damaged, made up, or of a patch."""

from __future__ import annotations

from typing import Final, NamedTuple

from percpu_proofs.logs.failures import ILLEGAL, Failure
from percpu_proofs.logs.texts import texts
from percpu_proofs.run import reasons
from percpu_spec.geometry import LEAST_UNIT

_BITS: Final = 64  # of the longest size_t
_ALIGN_CHECKED: Final = (4, 10)  # from where on an alignment that is no power of two is refused


class Impossible(NamedTuple):
    """Why a line cannot be true, in words, and the clause that comes nearest."""

    why: str
    clause: str


def impossible(
    failure: Failure, page: int, version: tuple[int, int] | None = None
) -> Impossible | None:
    """Return why no mainline kernel prints a failure, None if it may.

    page: in bytes; version: of the kernel, None where it is not known.
    """
    size, align = failure.size, failure.align
    if max(size, align or 0) >> _BITS:
        return _impossible("too long", bits=_BITS)
    if failure.source == "module loader":  # it tells what it asked for, whatever became of it
        return None
    largest = -(-LEAST_UNIT // page) * page
    illegal = ""
    if not 0 < size <= largest:
        illegal = f"{size} bytes are not between 1 and the largest request, {largest}"
    elif align is not None and align > page:
        illegal = f"the alignment {align} is above a page of {page} bytes"
    elif align is not None and align & (align - 1) and (
        version is None or version >= _ALIGN_CHECKED or failure.reason == ILLEGAL
    ):  # fmt: skip
        illegal = f"the alignment {align} is no power of two"
    if failure.reason == ILLEGAL:
        return None if illegal else _impossible("legal", page=page, size=size, align=align)
    if illegal:
        return _impossible("illegal", illegal=illegal, size=size, align=align)
    if failure.atomic and failure.reason in (reasons.POPULATE, reasons.CREATE):
        done = "populates pages" if failure.reason == reasons.POPULATE else "makes a chunk"
        return _impossible("atomic", done=done, reason=reasons.ATOMIC)
    if failure.atomic is False and failure.reason == reasons.ATOMIC:
        return _impossible("not atomic", reason=reasons.ATOMIC)
    return None


def _impossible(entry: str, **values: object) -> Impossible:
    """Return what an entry of impossible.md says."""
    found = texts("impossible", entry, **values)
    return Impossible(found.says[0], found.marks[0])
