"""linux_6_12: the merged form, bit for bit; equal at state level from 6.1 to 6.12."""

from __future__ import annotations

from percpu_reference.balance import Balance


class Linux612(Balance):
    """The allocator of Linux 6.12, shortfalls included."""

    __slots__ = ()
