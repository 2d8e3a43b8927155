"""Taking and freeing an area in a chunk's maps."""

from __future__ import annotations

from percpu_contracts.clauses import maps
from percpu_proofs.prove.small.invariant import (
    ANY_BLOCK,
    choose_block_hints,
    choose_chunk_hints,
    hints_wrong,
)
from percpu_proofs.prove.small.judging import MethodCall, Wrong
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.definitions import live_areas

Cls = type[Allocator]

BOTH = ("linux_6_12", "reference")
BY_CHUNK = (
    "a chunk of {pages} pages with {bits} map bits each, any bits used, any valid chunk hints"
)
TAKEN = "; every request that the hints have room for"
FREED = "; every area freed"


def _maps_match(scene: Scene, chunk: Chunk) -> Wrong:
    with scene.choose.plain():
        wrong = maps.bounds_delimit_areas(chunk, scene.geometry)
    return wrong and f"MAP-3: {wrong}"


def _take(scene: Scene, chunk: Chunk, align: int) -> Wrong:
    """Take any length where the hints say that it fits."""
    allocator = scene.allocator
    nr = 1 + scene.choose.number(chunk.map_bits)
    start = allocator.find_block_fit(chunk, nr, align, False)
    assume(start >= 0)
    return MethodCall(scene, "alloc_area", chunk, nr, align, start).run()


def _judged(scene: Scene, chunk: Chunk, whole: bool) -> Wrong:
    return (
        _maps_match(scene, chunk)
        or hints_wrong(scene, chunk, blocks=range(scene.size.pages), whole=whole)
        or scene.wrong()
    )


@obligation(
    "MAP-1",
    "areas.Areas.alloc_area",
    words=BY_CHUNK + TAKEN + ", unaligned",
    small=Size(3, 2),
    large=Size(4, 2),
    variants=BOTH,
)
def take_by_chunk_hints(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Just the bits of a free, aligned area are set; maps, counters, hints and list follow."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    choose_chunk_hints(scene, chunk)
    scene.put(chunk)
    return _take(scene, chunk, 1) or _judged(scene, chunk, True)


@obligation(
    "MAP-1",
    "areas.Areas.alloc_area",
    words=ANY_BLOCK + TAKEN + ", unaligned",
    small=Size(1, 8),
    large=Size(2, 8),
    variants=BOTH,
)
def take_by_block_hints(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Whatever valid hints a block has, an area taken leaves maps, counters and hints valid."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_with_block()
    choose_block_hints(scene, chunk, 0)
    scene.put(chunk)
    return _take(scene, chunk, 1) or _judged(scene, chunk, False)


@obligation(
    "MAP-3",
    "areas.Areas.alloc_area",
    words="a block of {bits} map bits, any bits used; {pages} blocks in all, the others free, full "
    "or used at one end; old boundary bits or none; aligned to half a page or a page",
    small=Size(2, 4),
    large=Size(3, 4),
)
def take_aligned(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """An aligned area is taken where it fits, and old boundary bits in it go."""
    scene = Scene(cls, choose, size)
    chunk = scene.put(scene.chunk_with_block())
    if choose.number(2):
        bits = chunk.alloc_map
        for i in range(1, chunk.map_bits):
            if not bits[i] and not bits[i - 1]:
                chunk.bound_map[i] = 1
    return _take(scene, chunk, size.bits >> choose.number(2)) or _judged(scene, chunk, True)


def _chunk_of_areas(scene: Scene) -> Chunk:
    """Return a populated chunk whose areas the case chooses: a bit is free, starts one, or goes on.
    """
    choose, size = scene.choose, scene.size
    bits: list[int] = []
    starts = []
    for _ in range(size.pages * size.bits):
        state = choose.number(3 if bits and bits[-1] else 2)
        bits.append(int(state > 0))
        starts.append(state == 1)
    chunk = scene.chunk(bits, [1] * size.pages)
    for i, used in enumerate(bits):
        chunk.bound_map[i] = starts[i] if used else bool(i and bits[i - 1])
    return chunk


def _free(scene: Scene, chunk: Chunk) -> Wrong:
    """Free any area of a chunk."""
    with scene.choose.plain():
        areas = list(live_areas(chunk))
    assume(areas)
    start, _ = areas[scene.choose.number(len(areas))]
    return MethodCall(scene, "free_area", chunk, start * scene.geometry.granule).run()


@obligation(
    "MAP-4",
    "areas.Areas.free_area",
    "hints.Hints.chunk_refresh_hint",
    words=BY_CHUNK + FREED,
    small=Size(3, 2),
    large=Size(4, 2),
    variants=BOTH,
)
def free_by_chunk_hints(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Just the area's bits are cleared and its size is returned; fixed, its chunk is listed."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    choose_chunk_hints(scene, chunk)
    scene.put(chunk)
    return _free(scene, chunk) or _judged(scene, chunk, True)


@obligation(
    "MAP-4",
    "areas.Areas.free_area",
    words=(
        "a chunk of {pages} pages with {bits} map bits each, any areas in it, any valid hints of "
        "its first block"
    )
    + FREED,
    small=Size(2, 2),
    large=Size(2, 4),
    variants=BOTH,
)
def free_by_block_hints(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Whatever valid hints a block has, a free leaves maps, counters and hints valid."""
    scene = Scene(cls, choose, size)
    chunk = _chunk_of_areas(scene)
    choose_block_hints(scene, chunk, 0)
    scene.put(chunk)
    return _free(scene, chunk) or _judged(scene, chunk, False)


@obligation(
    "LIST-2",
    "areas.Areas.free_area",
    "slots.Slots.chunk_relocate",
    "slots.Slots.chunk_slot",
    words=(
        "a chunk of {pages} pages with {bits} map bits each, any bits used, wherever it may be; "
        "every area freed"
    ),
    small=Size(3, 2),
    large=Size(4, 2),
    variants=("reference",),
    refuted=("linux_6_12",),
)
def freed_chunk_is_listed(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """After a free the chunk is on the list computed from its hints."""
    scene = Scene(cls, choose, size)
    chunk = scene.chunk_of_bits()
    scene.put_somewhere(chunk)
    with choose.plain():
        areas = list(live_areas(chunk))
    assume(areas)
    start, _ = areas[choose.number(len(areas))]
    return MethodCall(scene, "free_area", chunk, start * 4, only=("LIST-2",)).run()
