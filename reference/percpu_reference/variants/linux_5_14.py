"""linux_5_14: charges as before 5.17, and requests as before 6.15; 5.14 to 5.16, 5.15.y."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.environment import Task
from percpu_reference.state import UNLIMITED_WORK
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.gfp import KERNEL


class Linux514(Linux612):
    """The merged form as it came with 5.14 (merge 20d5e570aee7).

    An accounted area pays for its bytes alone. That it pays for its part of the object vector too
    came with 5.17: 8c57c07741bf, "mm: memcg/percpu: account extra objcg space to memory cgroups".
    """

    __slots__ = ()

    BLOCKING: ClassVar[int] = KERNEL
    WORK: ClassVar[Task] = UNLIMITED_WORK
    CHARGES_VECTOR: ClassVar[bool] = False
