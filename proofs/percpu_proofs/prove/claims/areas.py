"""Taking and freeing an area in a chunk's maps."""

from __future__ import annotations

from percpu_contracts.clauses import maps
from percpu_proofs.prove.small.case import ask
from percpu_proofs.prove.small.invariant import (
    ANY_BLOCK,
    choose_block_hints,
    choose_chunk_hints,
    judge_hints,
)
from percpu_proofs.prove.small.judging import call
from percpu_proofs.prove.small.obligation import BOTH, obligation
from percpu_proofs.prove.small.scene import BITS, BLOCK, OTHERS, Scene
from percpu_proofs.run.choices import assume
from percpu_reference.chunk import Chunk
from percpu_spec.definitions import live_areas

BY_CHUNK = BITS + ", any valid chunk hints"
TAKEN = "; every request that the hints have room for"
FREED = "; every area freed"


def _take(scene: Scene, chunk: Chunk, align: int = 1, *, whole: bool) -> None:
    """Take any length where the hints say that it fits, and judge maps, hints and lists."""
    nr = 1 + scene.choose.number(chunk.map_bits)
    start = scene.allocator.find_block_fit(chunk, nr, align, False)
    assume(start >= 0)
    call(scene, "alloc_area", chunk, nr, align, start)
    _judge(scene, chunk, whole)


def _free(scene: Scene, chunk: Chunk, *, only: tuple[str, ...] = ()) -> None:
    """Free any area of a chunk."""
    start, _ = scene.pick(live_areas(chunk))
    call(scene, "free_area", chunk, start * scene.geometry.granule, only=only)


def _judge(scene: Scene, chunk: Chunk, whole: bool) -> None:
    ask("MAP-3", maps.bounds_delimit_areas(chunk, scene.geometry))
    judge_hints(scene, chunk, whole=whole)
    scene.judge()


@obligation(
    "MAP-1",
    "Areas.alloc_area",
    words=BY_CHUNK + TAKEN + ", unaligned",
    sizes=((3, 2), (4, 2)),
    variants=BOTH,
)
def take_by_chunk_hints(scene: Scene) -> None:
    """Just the bits of a free, aligned area are set; maps, counters, hints and list follow."""
    chunk = scene.chunk_of_bits()
    choose_chunk_hints(scene, chunk)
    _take(scene, scene.put(chunk), whole=True)


@obligation(
    "MAP-1",
    "Areas.alloc_area",
    words=ANY_BLOCK + TAKEN + ", unaligned",
    sizes=((1, 8), (2, 8)),
    variants=BOTH,
)
def take_by_block_hints(scene: Scene) -> None:
    """Whatever valid hints a block has, an area taken leaves maps, counters and hints valid."""
    chunk = scene.chunk_with_block()
    choose_block_hints(scene, chunk, 0)
    _take(scene, scene.put(chunk), whole=False)


@obligation(
    "MAP-3",
    "Areas.alloc_area",
    words=BLOCK + OTHERS + "; old boundary bits or none; aligned to half a page or a page",
    sizes=((2, 4), (3, 4)),
)
def take_aligned(scene: Scene) -> None:
    """An aligned area is taken where it fits, and old boundary bits in it go."""
    chunk = scene.put(scene.chunk_with_block())
    if scene.choose.bit():
        bits = chunk.alloc_map
        for i in range(1, chunk.map_bits):
            if not bits[i] and not bits[i - 1]:
                chunk.bound_map[i] = 1
    _take(scene, chunk, scene.size.bits >> scene.choose.number(2), whole=True)


def _chunk_of_areas(scene: Scene) -> Chunk:
    """Return a populated chunk whose areas the case chooses: a bit is free, starts one, or goes on.
    """
    bits: list[int] = []
    starts = []
    for _ in range(scene.size.pages * scene.size.bits):
        state = scene.choose.number(3 if bits and bits[-1] else 2)
        bits.append(int(state > 0))
        starts.append(state == 1)
    chunk = scene.chunk(bits, [1] * scene.size.pages)
    for i, used in enumerate(bits):
        chunk.bound_map[i] = starts[i] if used else bool(i and bits[i - 1])
    return chunk


@obligation(
    "MAP-4",
    "Areas.free_area Hints.chunk_refresh_hint",
    words=BY_CHUNK + FREED,
    sizes=((3, 2), (4, 2)),
    variants=BOTH,
)
def free_by_chunk_hints(scene: Scene) -> None:
    """Just the area's bits are cleared and its size is returned; fixed, its chunk is listed."""
    chunk = scene.chunk_of_bits()
    choose_chunk_hints(scene, chunk)
    _free(scene, scene.put(chunk))
    _judge(scene, chunk, True)


@obligation(
    "MAP-4",
    "Areas.free_area",
    words="a chunk of {pages} pages with {bits} map bits each, any areas in it, any valid hints of "
    "its first block" + FREED,
    sizes=((2, 2), (2, 4)),
    variants=BOTH,
)
def free_by_block_hints(scene: Scene) -> None:
    """Whatever valid hints a block has, a free leaves maps, counters and hints valid."""
    chunk = _chunk_of_areas(scene)
    choose_block_hints(scene, chunk, 0)
    _free(scene, scene.put(chunk))
    _judge(scene, chunk, False)


@obligation(
    "LIST-2",
    "Areas.free_area Slots.chunk_relocate chunk_slot",
    words=BITS + ", wherever it may be" + FREED,
    sizes=((3, 2), (4, 2)),
    fixed=True,
)
def freed_chunk_is_listed(scene: Scene) -> None:
    """After a free the chunk is on the list computed from its hints."""
    _free(scene, scene.put_somewhere(scene.chunk_of_bits()), only=("LIST-2",))
