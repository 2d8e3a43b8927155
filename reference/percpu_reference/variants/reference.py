"""reference: linux_6_12 with the fixes after which every clause holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, cast

from percpu_reference.balance import Balance
from percpu_reference.variants.fixes import (
    AskAfterCreation,
    AskAfterFailure,
    AskForSecond,
    BackFromRelegation,
    OrderedScanHint,
    RejoinBeforeCounting,
    RightEdgeKept,
    SidelineDrained,
    UnseededScanHint,
    WholeFreedRun,
)
from percpu_reference.variants.linux_6_12 import Linux612


class Reference(
    RightEdgeKept,
    OrderedScanHint,
    UnseededScanHint,
    WholeFreedRun,
    SidelineDrained,
    RejoinBeforeCounting,
    BackFromRelegation,
    AskForSecond,
    AskAfterCreation,
    AskAfterFailure,
    Linux612,
):
    """What the allocator could be.

    The hints are held together by one statement about every block and every chunk: if scan_hint is
    not 0, no run that starts before it is longer. With it a promoted scan_hint and what is scanned
    behind it give the longest run exactly (HINT-6), so a request without alignment misses only
    where nothing fits (FIT-1).
    """

    __slots__ = ()

    EXPECTED: ClassVar[dict[str, str]] = {}
    NOT_APPLICABLE: ClassVar[dict[str, str]] = {}


FIXES: tuple[Any, ...] = Reference.__bases__[:-1]
"""The classes of the fixes, each with its NAME, in the order of composition."""


def with_fixes(*chosen: type, base: type[Balance] = Linux612) -> type[Balance]:
    """Return a variant with some fixes, and with what it is expected to break."""
    return _composed(chosen, base, base)


def without(*names: str) -> type[Balance]:
    """Return `reference` without the fixes of these names, held to every clause all the same.

    Raises ValueError for a name that no fix has.
    """
    known = [fix.NAME for fix in FIXES]
    unknown = set(names).difference(known)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: expected some of {', '.join(known)}")
    return _composed((fix for fix in FIXES if fix.NAME not in names), Reference)


def _composed(
    fixes: Iterable[type], declared: type[Balance], base: type[Balance] = Linux612
) -> type[Balance]:
    """Return a variant with fixes that declares what another class does."""
    chosen = tuple(fixes)
    namespace = {
        "__slots__": (),
        "EXPECTED": declared.EXPECTED,
        "NOT_APPLICABLE": declared.NOT_APPLICABLE,
    }
    name = base.__name__ + "".join(fix.__name__ for fix in chosen)
    return cast("type[Balance]", type(name, (*chosen, base), namespace))
