"""linux_5_17: linux_6_12 without the backport: what lacks a flag of GFP_KERNEL is atomic."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.environment import Task
from percpu_reference.state import UNLIMITED_WORK
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.gfp import KERNEL


class Linux517(Linux612):
    """Mainline 5.17 to 6.12, and stable releases of them before 9a5b183941b5 reached them.

    A request without I/O or file systems (GFP_NOFS, GFP_NOIO) takes what is populated or fails,
    and the balance work asks for memory in no scope.
    """

    __slots__ = ()

    BLOCKING: ClassVar[int] = KERNEL
    WORK: ClassVar[Task] = UNLIMITED_WORK
