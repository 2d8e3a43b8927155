"""linux_6_12: the merged form, bit for bit, as the stable trees 6.1.y, 6.6.y and 6.12.y have it."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.balance import Balance


class Linux612(Balance):
    """The allocator of Linux 6.12.117, shortfalls included.

    It has the change of 6.15 by backport, as 6.1.y has from 6.1.159 on, 6.6.y from 6.6.117 and
    6.12.y from 6.12.59: requests without I/O may sleep. Else it is mainline 5.17 to 6.12.
    """

    __slots__ = ()

    EXPECTED: ClassVar[dict[str, str]] = {
        "HINT-3": "L2",
        "HINT-4": "L3",
        "HINT-5": "L1, L2, L4, L5",
        "LIST-2": "R3",
        "RCL-3": "R1, R2",
        "BAL-1": "R2",
        "BAL-2": "R4",
    }
    NOT_APPLICABLE: ClassVar[dict[str, str]] = {
        "HINT-6": "asked of reference only",
        "FIT-1": "asked of reference only",
    }
