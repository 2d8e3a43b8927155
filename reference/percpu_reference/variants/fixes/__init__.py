"""The fixes that make `reference` of linux_6_12: one class each, fit to be a patch of its own.

Each overrides only what it changes, carries its name in facts and clauses as `NAME`, and works on
top of linux_6_12 alone or of any other of them.
"""

from percpu_reference.variants.fixes.free_chunks import (
    AskAfterCreation,
    AskAfterFailure,
    AskForSecond,
)
from percpu_reference.variants.fixes.freed_run import ChunkRelativeEnd, WholeFreedRun
from percpu_reference.variants.fixes.rejoin import RejoinBeforeCounting
from percpu_reference.variants.fixes.relegated import BackFromRelegation
from percpu_reference.variants.fixes.right_edge import RightEdgeKept
from percpu_reference.variants.fixes.scan_order import OrderedScanHint
from percpu_reference.variants.fixes.scan_seed import UnseededScanHint
from percpu_reference.variants.fixes.sideline import SidelineDrained

__all__ = [
    "AskAfterCreation",
    "AskAfterFailure",
    "AskForSecond",
    "BackFromRelegation",
    "ChunkRelativeEnd",
    "OrderedScanHint",
    "RejoinBeforeCounting",
    "RightEdgeKept",
    "SidelineDrained",
    "UnseededScanHint",
    "WholeFreedRun",
]
