"""linux_6_15: requests that may sleep are not atomic; 6.15 to 6.19."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.environment import Task
from percpu_reference.state import LIMITED_WORK
from percpu_reference.variants.linux_6_13 import Linux613
from percpu_spec.gfp import DIRECT_RECLAIM


class Linux615(Linux613):
    """The allocator since 9a5b183941b5, "mm, percpu: do not consider sleepable allocations atomic".

    A request without I/O or file systems (GFP_NOFS, GFP_NOIO) may create a chunk and populate it.
    """

    __slots__ = ()

    BLOCKING: ClassVar[int] = DIRECT_RECLAIM
    WORK: ClassVar[Task] = LIMITED_WORK
