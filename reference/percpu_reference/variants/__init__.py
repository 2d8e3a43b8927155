"""The algorithms under the specification, each a thin override of another."""

from __future__ import annotations

from percpu_reference.backing import KmBacking
from percpu_reference.balance import Balance
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

Allocator = Balance
VARIANTS: dict[str, type[Allocator]] = {"linux_6_12": Linux612}
DEFAULT = "linux_6_12"


def with_backing(variant: type[Allocator], geometry: Geometry) -> type[Allocator]:
    """Return the variant with the geometry's backing in the place of vm."""
    if geometry.backing == "vm":
        return variant
    return type(f"{variant.__name__}Km", (KmBacking, variant), {"__slots__": ()})
