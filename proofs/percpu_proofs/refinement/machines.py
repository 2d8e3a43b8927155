"""Which machine an allocator is to refine."""

from __future__ import annotations

from percpu_reference.variants import VARIANTS, Allocator
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.variants import MACHINES, on_km

UNDECLARED = frozenset(("rfc_1_reviewed",))
"""Variants that change the protocol and have not said which actions they change."""


def machine_of(cls: type[Allocator], backing: str) -> Machine | None:
    """Return the machine that a class of allocators is to refine, None if there is none.

    It is that of the nearest variant that the class is derived from and that has one.
    """
    names = {variant: name for name, variant in VARIANTS.items()}
    for name in [names[base] for base in cls.__mro__ if base in names]:
        if name in MACHINES:
            return on_km(MACHINES[name]) if backing == "km" else MACHINES[name]
        if name in UNDECLARED:
            return None
    return None
