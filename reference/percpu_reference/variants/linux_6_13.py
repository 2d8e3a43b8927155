"""linux_6_13: the float is tested under the lock, before population; 6.13 and 6.14."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.environment import Task
from percpu_reference.state import UNLIMITED_WORK
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.gfp import KERNEL


class Linux613(Linux612):
    """The allocator since 807655a3f611, "percpu: fix data race with pcpu_nr_empty_pop_pages".

    An allocation that finds an area tests the float there and then. The pages that it is going to
    populate have left the float by then and come back as it populates them, so some requests for
    work are for nothing. Without the change of 6.15, which `linux_6_12` has as long-term kernels
    do, by backport: what lacks a flag of GFP_KERNEL is atomic.
    """

    __slots__ = ()

    BLOCKING: ClassVar[int] = KERNEL
    WORK: ClassVar[Task] = UNLIMITED_WORK
    TESTS_FLOAT_LOCKED: ClassVar[bool] = True
