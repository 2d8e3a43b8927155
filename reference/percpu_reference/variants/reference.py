"""reference: linux_6_12 with the fixes after which every clause holds."""

from __future__ import annotations

from typing import ClassVar

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
