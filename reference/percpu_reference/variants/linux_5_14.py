"""linux_5_14: charges as before 5.17; 5.14 to 5.16, 5.15.y."""

from __future__ import annotations

from typing import ClassVar

from percpu_reference.variants.linux_5_17 import Linux517


class Linux514(Linux517):
    """The merged form as it came with 5.14 (merge 20d5e570aee7).

    An accounted area pays for its bytes alone. That it pays for its part of the object vector too
    came with 5.17: 8c57c07741bf, "mm: memcg/percpu: account extra objcg space to memory cgroups".
    """

    __slots__ = ()

    CHARGES_VECTOR: ClassVar[bool] = False
