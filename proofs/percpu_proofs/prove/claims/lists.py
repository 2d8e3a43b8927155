"""Where chunks are: relocation, moves, isolation, reintegration, and the float with it."""

from __future__ import annotations

from percpu_contracts.clauses import lists
from percpu_proofs.prove.small.judging import MethodCall, Wrong, first_wrong
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.prove.small.state_clauses import linked_both_ways
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator

Cls = type[Allocator]

BY_BITS = "a chunk of {pages} pages with {bits} map bits each, any bits used, wherever it may be"
BY_PAGES = "a chunk of {pages} pages, each unpopulated, empty or used, wherever it may be"
BESIDE = "; a second chunk behind it"


def one_place(scene: Scene) -> Wrong:
    """LIST-1 now."""
    with scene.choose.plain():
        wrong = linked_both_ways(scene.allocator) or lists.chunks_have_one_place(
            scene.allocator, scene.made
        )
    return wrong and f"LIST-1: {wrong}"


def with_neighbour(scene: Scene, chunk: Chunk) -> Chunk:
    """Put a chunk where it may be, and one with a used bit behind it."""
    size = scene.size
    beside = scene.chunk([n == 0 for n in range(size.pages * size.bits)], [1] * size.pages)
    scene.put_somewhere(chunk)
    scene.put(beside)
    return chunk


@obligation(
    "LIST-4", "slots.Slots.chunk_relocate", words=BY_BITS, small=Size(3, 2), large=Size(3, 4)
)
def relocate_by_bits(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A chunk whose computed slot has changed goes to the head or tail of its new list."""
    scene = Scene(cls, choose, size)
    chunk = scene.put_somewhere(scene.chunk_of_bits())
    oslot = choose.number(scene.allocator.nr_slots + 1) - 1
    return MethodCall(scene, "chunk_relocate", chunk, oslot).run() or one_place(scene)


@obligation(
    "LIST-4",
    "slots.Slots.chunk_relocate",
    words=BY_PAGES + BESIDE,
    small=Size(4, 1),
    large=Size(6, 1),
)
def relocate_by_pages(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A relocated chunk is in one place, at the right end of the right list."""
    scene = Scene(cls, choose, size)
    chunk = with_neighbour(scene, scene.chunk_of_pages())
    oslot = (-1, scene.allocator.chunk_slot(chunk), scene.allocator.free_slot)[choose.number(3)]
    return MethodCall(scene, "chunk_relocate", chunk, oslot).run() or one_place(scene)


@obligation(
    "LIST-1",
    "slots.Slots.chunk_move",
    "slots.Slots._chunk_move",
    words=BY_PAGES + BESIDE + "; moved to every list",
    small=Size(3, 2),
    large=Size(6, 1),
)
def move_to_every_list(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A moved chunk heads its list, is on no other, and its neighbours stay linked."""
    scene = Scene(cls, choose, size)
    chunk = with_neighbour(scene, scene.chunk_of_pages())
    slot = choose.number(scene.allocator.nr_slots)
    return MethodCall(scene, "chunk_move", chunk, slot).run() or one_place(scene)


@obligation(
    "LIST-1",
    "slots.Slots.chunk_move",
    "slots.Slots._chunk_move",
    words="the reserved chunk and the first, moved to every list",
    small=Size(4, 1),
    large=Size(8, 2),
)
def reserved_stays_off(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The reserved chunk is on no list, wherever it is moved; the first chunk is moved."""
    scene = Scene(cls, choose, size)
    allocator = scene.allocator
    allocator.reserved_chunk = scene.chunk([0] * (size.pages * size.bits), [1] * size.pages)
    allocator.reserved_chunk.immutable = True
    chunk = (allocator.reserved_chunk, allocator.first_chunk)[choose.number(2)]
    slot = choose.number(allocator.nr_slots)
    return MethodCall(scene, "chunk_move", chunk, slot).run() or one_place(scene)


@obligation(
    "ISO-2",
    "slots.Slots.isolate_chunk",
    words=BY_BITS,
    small=Size(3, 2),
    large=Size(4, 4),
)
def isolate_by_bits(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Isolation heads to_depopulate and takes the empty pages out of the float, once."""
    scene = Scene(cls, choose, size)
    chunk = scene.put_somewhere(scene.chunk_of_bits())
    call = MethodCall(scene, "isolate_chunk", chunk, only=("ISO-2", "FLT-1"))
    return call.run() or scene.wrong()


@obligation(
    "RCL-1",
    "slots.Slots.isolate_chunk",
    "backing.VmBacking.should_reclaim_chunk",
    words=BY_PAGES + "; up to 2 empty pages elsewhere, another chunk on to_depopulate",
    small=Size(3, 2),
    large=Size(7, 1),
)
def isolate_what_qualifies(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A chunk that qualifies for reclaim is isolated without taking the float below HIGH."""
    scene = Scene(cls, choose, size, first_empty=choose.number(3))
    full = scene.chunk([1] * (size.pages * size.bits), [1] * size.pages)
    scene.put(full, scene.allocator.to_depopulate_slot, isolated=True)
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    assume(scene.allocator.should_reclaim_chunk(chunk))
    return MethodCall(scene, "isolate_chunk", chunk).run() or scene.wrong()


@obligation(
    "FLT-1",
    "slots.Slots.reintegrate_chunk",
    words=BY_BITS,
    small=Size(3, 2),
    large=Size(4, 4),
)
def reintegrate_by_bits(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A chunk that comes back is on its list, and its empty pages are in the float again."""
    scene = Scene(cls, choose, size)
    chunk = scene.put_somewhere(scene.chunk_of_bits())
    return MethodCall(scene, "reintegrate_chunk", chunk).run() or scene.wrong()


@obligation(
    "LIST-4",
    "slots.Slots.reintegrate_chunk",
    words=BY_PAGES + BESIDE,
    small=Size(4, 1),
    large=Size(7, 1),
)
def reintegrate_by_pages(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A chunk that comes back heads its list; one that was not away stays where it is."""
    scene = Scene(cls, choose, size)
    chunk = with_neighbour(scene, scene.chunk_of_pages())
    return MethodCall(scene, "reintegrate_chunk", chunk).run() or scene.wrong()


@obligation(
    "FLT-1",
    "slots.Slots.update_empty_pages",
    words=BY_PAGES + ", or the reserved chunk; any change of its counter",
    small=Size(3, 2),
    large=Size(6, 1),
)
def update_empty_pages(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The float moves with a chunk's counter, for chunks that count in it."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_pages()
    if choose.number(2):
        scene.allocator.reserved_chunk = chunk
    else:
        scene.put_somewhere(chunk)
    nr = choose.number(2 * size.pages + 1) - size.pages
    wrong = MethodCall(scene, "update_empty_pages", chunk, nr).run()
    return first_wrong(wrong, one_place(scene))
