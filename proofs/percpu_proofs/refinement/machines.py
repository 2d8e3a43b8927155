"""Which machine an allocator is to refine."""

from __future__ import annotations

from percpu_reference.variants import VARIANTS, Allocator
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.variants import MACHINES, on_km


def machine_of(cls: type[Allocator], backing: str) -> Machine | None:
    """Return the machine that a class of allocators is to refine, None if there is none.

    It is that of the nearest variant that the class is derived from and that has one.
    """
    names = {variant: name for name, variant in VARIANTS.items() if name in MACHINES}
    for base in cls.__mro__:
        if base in names:
            machine = MACHINES[names[base]]
            return on_km(machine) if backing == "km" else machine
    return None
