"""linux_6_13: the float is tested under the lock, before population; 6.13 and 6.14."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.variants.linux_5_17 import Linux517


class Linux613(Linux517):
    """The allocator since 807655a3f611, "percpu: fix data race with pcpu_nr_empty_pop_pages".

    An allocation that finds an area tests the float there and then. The pages that it is going to
    populate have left the float by then and come back as it populates them, so some requests for
    work are for nothing.
    """

    __slots__ = ()

    TESTS_FLOAT_LOCKED: ClassVar[bool] = True
