"""Slot arithmetic, the layout of the lists, and chunks that move between them."""

from __future__ import annotations

from percpu_contracts.clauses import lists
from percpu_proofs.prove.small.case import Size, ask, claim
from percpu_proofs.prove.small.judging import call
from percpu_proofs.prove.small.obligation import obligation
from percpu_proofs.prove.small.scene import ANYWHERE, BITS, Scene
from percpu_proofs.prove.small.state_clauses import linked_both_ways
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.chunk import Chunk

BITS_ANYWHERE = BITS + ", wherever it may be"
BESIDE = "; a second chunk behind it"
UNIT = "up to a unit of {pages} pages with {bits} map bits"


@obligation(
    "SLOT-1",
    "Slots.size_to_slot",
    words="every size " + UNIT + ", of 4 bytes, each",
    sizes=((4, 64), (16, 64)),
)
def size_to_slot(scene: Scene) -> None:
    """The slot of a size is the defined one; a whole unit has the free slot."""
    call(scene, "size_to_slot", scene.choose.number(scene.geometry.unit + 1))


@obligation(
    "SLOT-1",
    "Slots.size_to_slot",
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
    "Slots.chunk_slot",
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
    "Slots.setup_slots",
    words="units of 2 to {pages} pages of 8 map bits and less, halving",
    sizes=((17, 8), (65, 64)),
    shape=_halving,
)
def slot_layout(scene: Scene) -> None:
    """Behind the active slots stand sidelined, free and to_depopulate, in this order."""
    ask("SLOT-2", lists.layout_is(scene.allocator))


def _judge_places(scene: Scene) -> None:
    """Ask LIST-1 now."""
    ask("LIST-1", linked_both_ways(scene.allocator))
    ask("LIST-1", lists.chunks_have_one_place(scene.allocator, scene.chunks))


def _put_with_neighbour(scene: Scene) -> Chunk:
    """Put a chunk of pages where it may be, and one with a used bit behind it."""
    chunk, size = scene.chunk_of_pages(), scene.size
    beside = scene.chunk([n == 0 for n in range(size.pages * size.bits)], [1] * size.pages)
    scene.put_somewhere(chunk)
    scene.put(beside)
    return chunk


@obligation("LIST-4", "Slots.chunk_relocate", words=BITS_ANYWHERE, sizes=((3, 2), (3, 4)))
def relocate_by_bits(scene: Scene) -> None:
    """A chunk whose computed slot has changed goes to the head or tail of its new list."""
    chunk = scene.put_somewhere(scene.chunk_of_bits())
    oslot = scene.choose.number(scene.allocator.nr_slots + 1) - 1
    call(scene, "chunk_relocate", chunk, oslot)
    _judge_places(scene)


@obligation("LIST-4", "Slots.chunk_relocate", words=ANYWHERE + BESIDE, sizes=((4, 1), (6, 1)))
def relocate_by_pages(scene: Scene) -> None:
    """A relocated chunk is in one place, at the right end of the right list."""
    chunk, allocator = _put_with_neighbour(scene), scene.allocator
    oslot = scene.choose.pick((-1, allocator.chunk_slot(chunk), allocator.free_slot))
    call(scene, "chunk_relocate", chunk, oslot)
    _judge_places(scene)


@obligation(
    "LIST-1",
    "Slots.chunk_move _chunk_move",
    words=ANYWHERE + BESIDE + "; moved to every list",
    sizes=((3, 2), (6, 1)),
)
def move_to_every_list(scene: Scene) -> None:
    """A moved chunk heads its list, is on no other, and its neighbours stay linked."""
    chunk = _put_with_neighbour(scene)
    call(scene, "chunk_move", chunk, scene.choose.number(scene.allocator.nr_slots))
    _judge_places(scene)


@obligation(
    "LIST-1",
    "Slots.chunk_move _chunk_move",
    words="the reserved chunk and the first, moved to every list",
    sizes=((4, 1), (8, 2)),
)
def reserved_stays_off(scene: Scene) -> None:
    """The reserved chunk is on no list, wherever it is moved; the first chunk is moved."""
    allocator = scene.allocator
    allocator.reserved_chunk = scene.free_chunk()
    allocator.reserved_chunk.immutable = True
    chunk = scene.choose.pick((allocator.reserved_chunk, allocator.first_chunk))
    call(scene, "chunk_move", chunk, scene.choose.number(allocator.nr_slots))
    _judge_places(scene)


@obligation("ISO-2", "Slots.isolate_chunk", words=BITS_ANYWHERE, sizes=((3, 2), (4, 4)))
def isolate_by_bits(scene: Scene) -> None:
    """Isolation heads to_depopulate and takes the empty pages out of the float, once."""
    chunk = scene.put_somewhere(scene.chunk_of_bits())
    call(scene, "isolate_chunk", chunk, only=("ISO-2", "FLT-1"))
    scene.judge()


@obligation(
    "RCL-1",
    "Slots.isolate_chunk VmBacking.should_reclaim_chunk",
    words=ANYWHERE + "; up to 2 empty pages elsewhere, another chunk on to_depopulate",
    sizes=((3, 2), (7, 1)),
    first_empty=range(3),
)
def isolate_what_qualifies(scene: Scene) -> None:
    """A chunk that qualifies for reclaim is isolated without taking the float below HIGH."""
    scene.isolate(scene.full_chunk())
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    assume(scene.allocator.should_reclaim_chunk(chunk))
    call(scene, "isolate_chunk", chunk)
    scene.judge()


@obligation("FLT-1", "Slots.reintegrate_chunk", words=BITS_ANYWHERE, sizes=((3, 2), (4, 4)))
def reintegrate_by_bits(scene: Scene) -> None:
    """A chunk that comes back is on its list, and its empty pages are in the float again."""
    call(scene, "reintegrate_chunk", scene.put_somewhere(scene.chunk_of_bits()))
    scene.judge()


@obligation("LIST-4", "Slots.reintegrate_chunk", words=ANYWHERE + BESIDE, sizes=((4, 1), (7, 1)))
def reintegrate_by_pages(scene: Scene) -> None:
    """A chunk that comes back heads its list; one that was not away stays where it is."""
    call(scene, "reintegrate_chunk", _put_with_neighbour(scene))
    scene.judge()


@obligation(
    "FLT-1",
    "Slots.update_empty_pages",
    words=ANYWHERE + ", or the reserved chunk; any change of its counter",
    sizes=((3, 2), (6, 1)),
)
def update_empty_pages(scene: Scene) -> None:
    """The float moves with a chunk's counter, for chunks that count in it."""
    chunk = scene.chunk_of_pages()
    if scene.choose.bit():
        scene.allocator.reserved_chunk = chunk
    else:
        scene.put_somewhere(chunk)
    nr = scene.choose.number(2 * chunk.nr_pages + 1) - chunk.nr_pages
    call(scene, "update_empty_pages", chunk, nr)
    _judge_places(scene)
