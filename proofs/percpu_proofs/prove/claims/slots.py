"""Slot arithmetic and the layout of the lists."""

from __future__ import annotations

from percpu_contracts.clauses import lists
from percpu_proofs.prove.small.case import Size, ask, claim
from percpu_proofs.prove.small.judging import call
from percpu_proofs.prove.small.obligation import obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices

UNIT = "up to a unit of {pages} pages with {bits} map bits"


@obligation(
    "SLOT-1",
    "slots.Slots.size_to_slot",
    words="every size " + UNIT + ", of 4 bytes, each",
    sizes=((4, 64), (16, 64)),
)
def size_to_slot(scene: Scene) -> None:
    """The slot of a size is the defined one; a whole unit has the free slot."""
    call(scene, "size_to_slot", scene.choose.number(scene.geometry.unit + 1))


@obligation(
    "SLOT-1",
    "slots.Slots.size_to_slot",
    words="every pair of sizes " + UNIT + " each",
    sizes=((4, 64), (4, 64)),
)
def longer_runs_lie_higher(scene: Scene) -> None:
    """A longer run never has a lower slot, so a search upwards misses none."""
    unit, slot_of = scene.geometry.unit, scene.allocator.size_to_slot
    shorter = scene.choose.number(unit)
    low = slot_of(shorter)
    longer = next((n for n in range(shorter + 1, unit + 1) if slot_of(n) < low), 0)
    wrong = f"{shorter} bytes have slot {low}, {longer} bytes a lower one"
    claim("SLOT-1", not longer, wrong)


@obligation(
    "SLOT-1",
    "slots.Slots.chunk_slot",
    words="every contig_hint of a chunk of {pages} pages with {bits} map bits each, free or full",
    sizes=((4, 64), (16, 64)),
)
def chunk_slot(scene: Scene) -> None:
    """The table from runs in bits to slots, and slot 0 for nothing free, are as defined."""
    chunk, allocator = scene.free_chunk(), scene.allocator
    chunk.chunk_md.contig_hint = scene.choose.number(chunk.map_bits + 1)
    chunk.free_bytes = scene.choose.pick((0, scene.geometry.granule, chunk.free_bytes))
    slot = allocator.chunk_slot(chunk)
    ask("SLOT-1", lists.computed_slot_is(chunk, slot, scene.geometry, allocator.free_slot))


def _halving(choose: Choices, size: Size) -> Size:
    """Choose 2 pages and more, and the bits of a page halved any number of times."""
    pages = 2 + choose.number(size.pages - 1)
    return Size(pages, size.bits >> choose.number(size.bits.bit_length()))


@obligation(
    "SLOT-2",
    "slots.Slots.setup_slots",
    words="units of 2 to {pages} pages of 8 map bits and less, halving",
    sizes=((17, 8), (65, 64)),
    shape=_halving,
)
def slot_layout(scene: Scene) -> None:
    """Behind the active slots stand sidelined, free and to_depopulate, in this order."""
    ask("SLOT-2", lists.layout_is(scene.allocator))
