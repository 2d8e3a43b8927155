"""Lemmas about the slots of sizes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from percpu_proofs.prove.any_size.lemma import lemma
from percpu_proofs.prove.any_size.scene import LemmaScene
from percpu_proofs.prove.any_size.terms import raw
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.protocol.operators import And


def _slots(s: LemmaScene) -> tuple[Any, Any]:
    unit = s.number("unit", 4, None)
    shift = s.number("shift", 1, None)
    allocator = s.allocator(
        Linux612,
        {"setup_lists": lambda self, last: None},
        unit_size=unit,
        geometry=SimpleNamespace(slot_base_shift=s.code(shift)),
    )
    allocator.setup_slots()
    return allocator, unit


@lemma(
    "slot-layout-any-unit", "SLOT-2", "Slots.setup_slots size_to_slot",
    "any unit size, any lowest slot",
)  # fmt: skip
def layout(s: LemmaScene) -> None:
    """A size has an active slot, a unit the free one; sidelined, free and to_depopulate follow."""
    size = s.number("size", 1, None)
    allocator, unit = _slots(s)
    s.assume(size <= unit)
    slot = raw(allocator.size_to_slot(s.code(size)))
    sidelined, free = raw(allocator.sidelined_slot), raw(allocator.free_slot)
    last, slots = raw(allocator.to_depopulate_slot), raw(allocator.nr_slots)
    s.outcome.update(slot=slot, sidelined=sidelined, free=free, last=last, slots=slots)
    s.claim(
        "a part of a unit has an active slot", And(slot >= 1, slot < sidelined), given=size < unit
    )
    s.claim("a whole unit has the free slot", slot == free, given=size == unit)
    s.claim("sidelined, free, to_depopulate", And(sidelined < free, free < last, last + 1 == slots))


@lemma("slots-ascend", "SLOT-1", "Slots.size_to_slot", "any unit size, any two sizes")
def ascending(s: LemmaScene) -> None:
    """A larger run has no lower slot; one of twice the size has a higher one, above the lowest."""
    small, large = s.number("small", 1, None), s.number("large", 1, None)
    allocator, unit = _slots(s)
    s.assume(And(small <= large, large <= unit))
    low = raw(allocator.size_to_slot(s.code(small)))
    high = raw(allocator.size_to_slot(s.code(large)))
    s.outcome.update(low=low, high=high)
    s.claim("slots ascend", low <= high)
    s.claim("twice the size is a slot higher", low < high, given=And(low > 1, large >= 2 * small))
