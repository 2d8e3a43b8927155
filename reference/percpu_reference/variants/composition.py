"""A variant with fixes of `reference` on it, by names of findings: `linux_7_1+R1+L3`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from percpu_reference.balance import Balance
from percpu_reference.variants.fixes import ChunkRelativeEnd
from percpu_reference.variants.reference import FIXES

_NAME = re.compile(r"[A-Z]\d+")
_EVERY: tuple[Any, ...] = (*FIXES, ChunkRelativeEnd)


def finding_of(fix: Any) -> str:
    """Return the finding that a fix mends: R4 of "R4 work"."""
    return str(fix.NAME).partition(" ")[0]


FINDINGS = tuple(sorted({finding_of(fix) for fix in _EVERY}))
"""The findings that there are fixes of."""


def findings_in(reason: str) -> tuple[str, ...]:
    """Return the findings that a variant declares a clause broken by, if it names nothing else.

    >>> findings_in("R1, R2"), findings_in("no flush")
    (('R1', 'R2'), ())
    """
    names = tuple(reason.split(", "))
    return names if all(_NAME.fullmatch(name) for name in names) else ()


def mended_by(name: str) -> frozenset[str]:
    """Return the findings that the fixes of one mend: its own, and what one of them contains."""
    fixes = [fix for fix in _EVERY if finding_of(fix) == name]
    return frozenset(f for fix in fixes for f in (name, *getattr(fix, "CONTAINS", ())))


_MADE: dict[tuple[type[Balance], frozenset[str]], type[Balance]] = {}


def with_findings_mended(base: type[Balance], names: frozenset[str]) -> type[Balance]:
    """Return a variant with the fixes of these findings, the same class each time.

    It is expected to break what remains of what the variant is. Raises ValueError for a finding
    that has no fix.
    """
    if (base, names) in _MADE:
        return _MADE[base, names]
    for name in sorted(names.difference(FINDINGS)):
        raise ValueError(f"{name}: expected some of {', '.join(FINDINGS)}")
    mended = frozenset[str]().union(*map(mended_by, names))
    fixes = [fix for fix in _EVERY if finding_of(fix) in names]
    namespace = {
        "__slots__": (),
        "__module__": __name__,
        "EXPECTED": dict(_remaining(base.EXPECTED.items(), mended)),
    }
    made = type("".join((base.__name__, *sorted(names))), (*fixes, base), namespace)
    _MADE[base, names] = cast("type[Balance]", made)
    return _MADE[base, names]


def _remaining(
    declared: Iterable[tuple[str, str]], mended: frozenset[str]
) -> Iterable[tuple[str, str]]:
    for clause, reason in declared:
        left = [name for name in findings_in(reason) if name not in mended]
        if left or not findings_in(reason):
            yield clause, ", ".join(left) or reason
