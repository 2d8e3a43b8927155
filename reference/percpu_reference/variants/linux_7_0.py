"""linux_7_0: a free that names no live area is refused; 7.0."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.variants.linux_6_15 import Linux615


class Linux70(Linux615):
    """The allocator since a4818a8beb15, "percpu: add double free check to pcpu_free_area()".

    A free of what is free, or of no area's start, changes nothing and warns (API-2).
    """

    __slots__ = ()

    CHECKS_FREES: ClassVar[bool] = True
