"""Which machine an allocator is to refine."""

from __future__ import annotations

from percpu_reference.own_state import is_shipped
from percpu_reference.variants import VARIANTS, Allocator
from percpu_spec.catalogue import REFINE
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.variants import MACHINES, of_any_policy, on_km

DEPARTURE = "leaves the abstract machine: what is proved by induction does not carry over"


def machine_of(cls: type[Allocator], backing: str) -> Machine | None:
    """Return the machine that a class of allocators is to refine, None if there is none.

    It is that of the nearest variant that the class is derived from and that has one, for a class
    that is not ours with the policy left open.
    """
    if REFINE in cls.NOT_APPLICABLE:
        return None
    names = {variant: name for name, variant in VARIANTS.items() if name in MACHINES}
    for base in cls.__mro__:
        if base in names:
            machine = MACHINES[names[base]]
            if not is_shipped(cls):
                machine = of_any_policy(machine)
            return on_km(machine) if backing == "km" else machine
    return None


def may_depart(cls: type[Allocator]) -> bool:
    """Return whether a step that is no action of the machine is a note, and decides nothing.

    It is where the class is not ours and does not itself declare REFINE: the machine is of what
    this distribution ships, and only what is proved of it by induction is lost.
    """
    return not is_shipped(cls) and REFINE not in cls.EXPECTED
