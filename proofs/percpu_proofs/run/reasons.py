"""Why an allocation fails, in the words that the kernel prints, in ours where it prints none."""

from __future__ import annotations

from typing import Final

RESERVED: Final = "alloc from reserved chunk failed"
ATOMIC: Final = "atomic alloc failed, no space left"
CREATE: Final = "failed to allocate new chunk"
POPULATE: Final = "failed to populate"
EXTEND: Final = "failed to extend area map"
EXTEND_RESERVED: Final = "failed to extend area map of reserved chunk"
"""The last two up to 4.13: maps were arrays of areas then, and grew."""

CHARGE: Final = "the charge to its memory cgroup was refused (the kernel prints nothing)"
KILLED: Final = "killed while it waited for pcpu_alloc_mutex (the kernel prints nothing)"

WORDS: Final = (EXTEND_RESERVED, RESERVED, ATOMIC, CREATE, POPULATE, EXTEND)
"""What can stand behind "allocation failed, size=.. align=.. atomic=..,", longer ones first."""


def illegal(size: int, align: int) -> str:
    """Return the kernel's words for a request that no allocator serves (API-1).

    They are those of a warning of its own. Since 4.14 the size is rounded up to 4 before.
    """
    return f"illegal size ({size}) or align ({align}) for percpu allocation"


def printed(size: int, align: int, atomic: bool, reason: str) -> str:
    """Return the line that the kernel prints of a failed allocation.

    >>> printed(40, 8, True, ATOMIC)
    'allocation failed, size=40 align=8 atomic=1, atomic alloc failed, no space left'
    """
    return f"allocation failed, size={size} align={align} atomic={int(atomic)}, {reason}"
