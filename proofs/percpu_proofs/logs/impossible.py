"""Failures that no mainline kernel prints with these numbers: damaged, made up, or of a patch."""

from __future__ import annotations

from typing import Final, NamedTuple

from percpu_proofs.logs.failures import ILLEGAL, Failure
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
        return Impossible(f"a number longer than {_BITS} bits is no size_t", "API-1")
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
        if illegal:
            return None
        return Impossible(
            f"with pages of {page} bytes {size} bytes aligned to {align} are a request that is "
            "legal (API-1), and the warning is not printed of it",
            "API-1",
        )
    if illegal:
        return Impossible(
            f"{illegal}: such a request is refused earlier, with 'illegal size ({size}) or align "
            f"({align})' (API-1), and never comes so far",
            "API-1",
        )
    if failure.atomic and failure.reason in (reasons.POPULATE, reasons.CREATE):
        done = "populates pages" if failure.reason == reasons.POPULATE else "makes a chunk"
        return Impossible(
            f"atomic=1: an atomic request never {done}, so it cannot fail at that; without room "
            f"the kernel prints '{reasons.ATOMIC}' (API-5)",
            "API-5",
        )
    if failure.atomic is False and failure.reason == reasons.ATOMIC:
        return Impossible(
            f"atomic=0: '{reasons.ATOMIC}' is printed of atomic requests only (API-5)", "API-5"
        )
    return None
