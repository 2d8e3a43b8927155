"""Slot arithmetic and the layout of the lists."""

from __future__ import annotations

from percpu_contracts.clauses import lists
from percpu_proofs.prove.small.judging import MethodCall, Wrong
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices
from percpu_reference.variants import Allocator

Cls = type[Allocator]

UNIT = "every size up to a unit of {pages} pages with {bits} map bits, of 4 bytes, each"


@obligation(
    "SLOT-1",
    "slots.Slots.size_to_slot",
    words=UNIT,
    small=Size(4, 64),
    large=Size(16, 64),
)
def size_to_slot(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The slot of a size is the defined one; a whole unit has the free slot."""
    scene = Scene(cls, choose, size)
    return MethodCall(scene, "size_to_slot", choose.whole(scene.geometry.unit + 1)).run()


@obligation(
    "SLOT-1",
    "slots.Slots.size_to_slot",
    words="every pair of sizes up to a unit of {pages} pages with {bits} map bits each",
    small=Size(4, 64),
    large=Size(4, 64),
)
def longer_runs_lie_higher(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A longer run never has a lower slot, so a search upwards misses none."""
    scene = Scene(cls, choose, size)
    unit, slot_of = scene.geometry.unit, scene.allocator.size_to_slot
    shorter = choose.number(unit)
    low = slot_of(shorter)
    for longer in range(shorter + 1, unit + 1):
        if slot_of(longer) < low:
            return f"SLOT-1: {shorter} bytes have slot {low}, {longer} bytes a lower one"
    return None


@obligation(
    "SLOT-1",
    "slots.Slots.chunk_slot",
    words="every contig_hint of a chunk of {pages} pages with {bits} map bits each, free or full",
    small=Size(4, 64),
    large=Size(16, 64),
)
def chunk_slot(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The table from runs in bits to slots, and slot 0 for nothing free, are as defined."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk([0] * (size.pages * size.bits), [1] * size.pages)
    chunk.chunk_md.contig_hint = choose.number(chunk.map_bits + 1)
    chunk.free_bytes = (0, scene.geometry.granule, chunk.free_bytes)[choose.number(3)]
    allocator = scene.allocator
    slot = allocator.chunk_slot(chunk)
    wrong = lists.computed_slot_is(chunk, slot, scene.geometry, allocator.free_slot)
    return wrong and f"SLOT-1: {wrong}"


@obligation(
    "SLOT-2",
    "slots.Slots.setup_slots",
    words="units of 2 to {pages} pages of 8 map bits and less, halving",
    small=Size(17, 8),
    large=Size(65, 64),
)
def slot_layout(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Behind the active slots stand sidelined, free and to_depopulate, in this order."""
    pages = 2 + choose.number(size.pages - 1)
    bits = size.bits >> choose.number(size.bits.bit_length())
    scene = Scene(cls, choose, Size(pages, bits))
    wrong = lists.layout_is(scene.allocator)
    return wrong and f"SLOT-2: {wrong}"
