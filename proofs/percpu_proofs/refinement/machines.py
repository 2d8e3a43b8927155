"""Which machine an allocator is to refine."""

from __future__ import annotations

from percpu_reference.variants import VARIANTS, Allocator
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.variants import MACHINES, on_km


def machine_of(cls: type[Allocator], backing: str) -> Machine | None:
    """Return the machine of a class of allocators, None if its variant has none.

    The variant is the nearest one among the classes that it is derived from.
    """
    names = {variant: name for name, variant in VARIANTS.items()}
    nearest = next((names[base] for base in cls.__mro__ if base in names), "")
    machine = MACHINES.get(nearest)
    return on_km(machine) if machine is not None and backing == "km" else machine
