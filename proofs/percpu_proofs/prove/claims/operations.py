"""Allocation and free from outside, and the search through the lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from percpu_contracts.clauses import balance, cost
from percpu_contracts.functions import fast
from percpu_proofs.prove.small.adversary import Adversary
from percpu_proofs.prove.small.judging import MethodCall, Wrong, broken
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.definitions import is_legal
from percpu_spec.gfp import ATOMIC, KERNEL, NOFS, NOWAIT, may_block

Cls = type[Allocator]

BOTH = ("linux_6_12", "reference")
PAGES = "a chunk of {pages} pages, each unpopulated, empty or used"
ANYWHERE = PAGES + ", wherever it may be"
SIZES = "; every size up to a unit"


def _settled(scene: Scene, wrong: Wrong) -> Wrong:
    """Judge the state after an operation that has ended."""
    allocator = scene.allocator
    wrong = wrong or scene.wrong(hints_too=True) or scene.pages_wrong()
    if wrong is None and (allocator.lock or allocator.alloc_mutex):
        return "LOCK-2: a lock is held after the operation"
    return wrong


def _size(scene: Scene) -> int:
    """Choose a size in bytes: every number of granules up to a unit."""
    return 4 * (1 + scene.choose.number(scene.geometry.unit_bits))


def _alloc(scene: Scene, size: int, align: int, gfp: int) -> Wrong:
    call = MethodCall(scene, "alloc_percpu", size, align, False, gfp)
    wrong = call.steps(Adversary(scene, 0))
    if wrong is None and call.result is not None:
        allocator = scene.allocator
        floating = allocator.nr_empty_pop_pages
        low = balance.low_float_asks(floating, allocator.work_pending, scene.geometry)
        wrong = low and f"BAL-4: {low}"
    return _settled(scene, wrong)


@obligation(
    "API-5",
    "operations.Operations.alloc_percpu",
    "operations.Operations.is_atomic",
    "operations.Operations.alloc_failed",
    words=ANYWHERE + SIZES + ", atomic",
    small=Size(2, 2),
    large=Size(3, 2),
    variants=BOTH,
)
def alloc_atomic(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """An atomic request takes populated memory or leaves its mark; it never sleeps."""
    scene = Scene(cls, choose, size, lock=False)
    scene.put_somewhere(scene.chunk_of_pages())
    return _alloc(scene, _size(scene), 4, (ATOMIC, NOWAIT)[choose.number(2)])


@obligation(
    "POP-2",
    "operations.Operations.alloc_percpu",
    "operations.Operations.populate_area",
    "operations.Operations.undo_area",
    "operations.Operations.add_chunk",
    words=ANYWHERE + SIZES + ", blocking",
    small=Size(2, 2),
    large=Size(3, 2),
    variants=BOTH,
)
def alloc_blocking(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A blocking request gets populated, zeroed memory of its size, creating a chunk if need be."""
    scene = Scene(cls, choose, size, lock=False)
    scene.put_somewhere(scene.chunk_of_pages())
    return _alloc(scene, _size(scene), 4, (KERNEL, NOFS)[choose.number(2)])


@obligation(
    "POP-4",
    "operations.Operations.alloc_percpu",
    "operations.Operations.populate_area",
    "operations.Operations.undo_area",
    "operations.Operations.add_chunk",
    "operations.Operations.alloc_failed",
    words=PAGES + ", on its list" + SIZES + "; any of the first requests for pages fails",
    small=Size(2, 2),
    large=Size(3, 2),
)
def alloc_without_memory(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A blocking request that fails gives its area back and keeps what was populated before."""
    scene = Scene(cls, choose, size, lock=False)
    scene.put(scene.chunk_of_pages())
    env = scene.allocator.env
    fault = choose.number(4)
    (env.page_fault if fault < 3 else env.vm_fault).kth = (1, 3, 4, 1)[fault]
    return _alloc(scene, _size(scene), 4, KERNEL)


@obligation(
    "API-1",
    "operations.Operations.alloc_percpu",
    words="a free chunk of {pages} pages; sizes around 0, a granule, the largest, half a unit; "
    "alignments around the granule and the page",
    small=Size(4, 2),
    large=Size(4, 4),
)
def illegal_requests(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """An illegal size or alignment is refused without a change; a legal one is rounded (API-4)."""
    half = size.pages * size.bits * 2
    scene = Scene(cls, choose, size, lock=False, least_unit=half)
    geometry = scene.geometry
    scene.put(scene.chunk([0] * (size.pages * size.bits), [1] * size.pages))
    asked = (0, 1, 3, 4, 5, geometry.largest - 1, geometry.largest, geometry.largest + 1)
    aligns = (1, 3, 4, 6, 8, geometry.page, 2 * geometry.page)
    gfp = (KERNEL, ATOMIC)[choose.number(2)]
    warned = scene.allocator.env.warnings
    chosen = asked[choose.number(len(asked))], aligns[choose.number(len(aligns))]
    wrong = _alloc(scene, *chosen, gfp)
    legal = is_legal(geometry, *chosen)
    if wrong is None and (scene.allocator.env.warnings == warned) != legal:
        return "API-1: an illegal request does not warn, or a legal one does"
    return wrong


@obligation(
    "MAP-1",
    "operations.Operations.alloc_percpu",
    words="the reserved chunk of {pages} pages with {bits} map bits each, any bits used" + SIZES,
    small=Size(2, 2),
    large=Size(3, 2),
)
def alloc_reserved(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A reserved request is served from the reserved chunk alone, which stays on no list."""
    scene = Scene(cls, choose, size, lock=False)
    allocator = scene.allocator
    reserved = scene.chunk_of_bits()
    reserved.immutable = True
    allocator.reserved_chunk = reserved
    allocator.nr_populated -= reserved.nr_populated
    allocator.env.creates -= 1
    geometry = scene.geometry
    allocator.env.live_pages -= geometry.cpus * reserved.nr_populated
    request = 4 * (1 + choose.number(geometry.unit_bits))
    gfp = (KERNEL, ATOMIC)[choose.number(2)]
    call = MethodCall(scene, "alloc_percpu", request, 4, True, gfp)
    wrong = call.steps(lambda gap: None)
    if wrong is None and call.result is not None and call.result[0] is not reserved:
        return "MAP-1: a reserved request got ordinary memory"
    if wrong is None and (allocator.lock or allocator.alloc_mutex or reserved.next is not reserved):
        return "LIST-1: the reserved chunk is on a list, or a lock is held"
    return wrong


@obligation(
    "ACC-1",
    "operations.Operations.alloc_percpu",
    "operations.Operations.free_percpu",
    "areas.Areas.free_area",
    words=PAGES + ", statistics kept; every size up to a unit, then freed again",
    small=Size(2, 2),
    large=Size(4, 1),
)
def counted_round_trip(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """An area taken and freed leaves the statistics true and the maps as they were."""
    scene = Scene(cls, choose, size, lock=False, stats=True)
    allocator = scene.allocator
    chunk = scene.put(scene.chunk_of_pages())
    used = sum(chunk.alloc_map)
    areas = sum(1 for c in allocator.chunks() for n in range(c.nr_pages)
                if c.alloc_map[n * size.bits])  # fmt: skip
    stats = allocator.stats
    stats.nr_alloc = stats.nr_cur_alloc = stats.nr_max_alloc = areas
    stats.nr_chunks = stats.nr_max_chunks = 2
    stats.max_alloc_size = 4
    for c in allocator.chunks():
        c.nr_alloc = sum(c.bound_map[n * size.bits] for n in range(c.nr_pages)
                         if c.alloc_map[n * size.bits])  # fmt: skip
        c.max_alloc_size = 4
    request = _size(scene)
    call = MethodCall(scene, "alloc_percpu", request, 4, False, KERNEL)
    wrong = call.steps(Adversary(scene, 0))
    if wrong is not None or call.result is None:
        return _settled(scene, wrong)
    if stats.nr_cur_alloc != areas + 1 or stats.max_alloc_size < request:
        return "STAT-1: an area is not counted"
    wrong = MethodCall(scene, "free_percpu", call.result).steps(Adversary(scene, 0))
    if wrong is None and (stats.nr_cur_alloc != areas or sum(chunk.alloc_map) != used):
        return "STAT-1: a free is not counted, or other bits were cleared"
    return _settled(scene, wrong)


@obligation(
    "COST-1",
    "operations.Operations.search_lists_for",
    words=(
        "three chunks of {pages} pages: a depopulated one sidelined, one in use, one fully free, "
        "each page populated or not"
    )
    + SIZES
    + ", atomic or not",
    small=Size(2, 2),
    large=Size(2, 4),
)
def order_of_search(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Depopulated chunks are examined after all others, fully free ones last."""
    scene = Scene(cls, choose, size, mutex=True)
    allocator = scene.allocator
    count = size.pages * size.bits
    aside = scene.chunk([1] + [0] * (count - 1), [1] * size.pages)
    busy = scene.chunk([choose.number(2) for _ in range(count)], [1] * size.pages)
    assume(busy.alloc_map.find(1) >= 0)
    free = scene.chunk([0] * count, [choose.number(2) for _ in range(size.pages)])
    scene.put(aside, allocator.sidelined_slot, isolated=True)
    scene.put(busy)
    scene.put(free)
    history = allocator.monitor.history
    history.depopulated.add(aside)
    history.examined = _Kept()
    bits = 1 + choose.number(count)
    pop_only = bool(choose.number(2))
    call = MethodCall(scene, "search_lists_for", 4 * bits, bits, 1, pop_only, 0)
    wrong = call.run()
    if wrong is None and pop_only:
        wrong = cost.depopulated_come_late(history.examined)
        wrong = wrong and f"COST-1: {wrong}"
    chunk, off = call.result
    if wrong is None and chunk is not None and (chunk.isolated or chunk.alloc_map[off // 4] != 1):
        return "ISO-2: a chunk that serves a request stays isolated, or another area is returned"
    unsettled = () if pop_only or chunk is None else (chunk,)
    return wrong or scene.wrong(unsettled=unsettled)


class _Kept(list[Any]):
    """The chunks that a search examined, still there when it is over."""

    def clear(self) -> None:
        """Keep them."""


@obligation(
    "POP-4",
    "operations.Operations.populate_area",
    "operations.Operations.undo_area",
    words="an area taken in " + PAGES + "; each population of a range fails or not",
    small=Size(3, 2),
    large=Size(5, 1),
    variants=BOTH,
)
def populate_area(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The pages under an area are populated range by range; on failure the area is freed."""
    scene = Scene(cls, choose, size)
    allocator = scene.allocator
    chunk = scene.put(scene.chunk_of_pages())
    bits = 1 + choose.number(chunk.map_bits)
    start = allocator.find_block_fit(chunk, bits, 1, False)
    assume(start >= 0)
    before = chunk.alloc_map[:]
    off = allocator.alloc_area(chunk, bits, 1, start)
    allocator.lock, allocator.alloc_mutex = False, True
    allocator.env.page_fault.kth = choose.number(3) * 2
    pages = off // scene.geometry.page, -(-(off + 4 * bits) // scene.geometry.page)
    call = MethodCall(scene, "populate_area", chunk, off, *pages)
    wrong = call.steps(Adversary(scene, 0, [chunk])) or scene.wrong() or scene.pages_wrong()
    if wrong is None and call.result and chunk.populated.find(0, *pages) >= 0:
        return "POP-2: a page under the area is not populated"
    if wrong is None and not call.result and chunk.alloc_map != before:
        return "MAP-1: an area that could not be populated was not freed"
    return wrong


@obligation(
    "LIST-2",
    "operations.Operations.free_percpu",
    "operations.Operations.check_freed_chunk",
    words=ANYWHERE + ", or beside a fully free one; every page's area freed; up to 2 empty pages "
    "elsewhere",
    small=Size(3, 2),
    large=Size(5, 1),
)
def free_asks_for_work(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A free that leaves a second free chunk, or one to reclaim, asks for balance work."""
    scene = Scene(cls, choose, size, lock=False, first_empty=choose.number(3))
    allocator = scene.allocator
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    if choose.number(2):
        scene.put(scene.chunk([0] * (size.pages * size.bits), [0] * size.pages))
    page = choose.number(size.pages)
    assume(chunk.alloc_map[page * size.bits])
    wrong = MethodCall(scene, "free_percpu", (chunk, page * scene.geometry.page)).steps(
        Adversary(scene, 0)
    )
    wrong = _settled(scene, wrong)
    free = allocator.chunk_lists[allocator.free_slot]
    if wrong is None and not allocator.work_pending:
        waiting = allocator.chunk_lists[allocator.to_depopulate_slot]
        if chunk.next is waiting and chunk.nr_empty_pop_pages:
            return "RCL-3: a chunk waits on to_depopulate and no work was asked for"
        if free.next is not free.prev:
            return "BAL-2: a second fully free chunk, and no work was asked for"
    return wrong


@obligation(
    "API-3",
    "operations.Operations.is_atomic",
    words="every combination of the nine allocation flags",
    small=Size(2, 2),
    large=Size(2, 2),
)
def flags_decide(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A request may sleep by its flags alone."""
    scene = Scene(cls, choose, size)
    gfp = sum(choose.number(2) << bit for bit in range(9))
    if scene.allocator.is_atomic(gfp) == may_block(gfp, scene.allocator.BLOCKING):
        return f"API-3: flags {gfp:#x} are taken for the wrong kind of request"
    return None


@obligation(
    "API-6",
    "operations.Operations.clear_area",
    words="every area of a chunk of {pages} pages on 1 to 4 CPUs",
    small=Size(2, 2),
    large=Size(4, 4),
)
def areas_are_zeroed(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """An area is zeroed in every CPU's unit, from its first byte to its last."""
    cpus = 1 + choose.number(4)
    scene = Scene(cls, choose, size, lock=False, cpus=cpus)
    allocator = scene.allocator
    chunk = scene.put(scene.chunk([1] * (size.pages * size.bits), [1] * size.pages))
    start = choose.number(chunk.map_bits)
    bits = 1 + choose.number(chunk.map_bits - start)
    MethodCall(scene, "clear_area", chunk, 4 * start, 4 * bits).run()
    found = allocator.monitor.history.cleared[chunk, 4 * start]
    if found == [(cpu, 4 * start, 4 * bits) for cpu in range(cpus)]:
        return None
    return f"API-6: zeroed {found} of {4 * bits} bytes at {4 * start} on {cpus} CPUs"


@obligation(
    "API-4",
    "operations.Operations.alloc",
    "operations.Operations.free",
    words=ANYWHERE + SIZES + "; then freed again",
    small=Size(2, 2),
    large=Size(3, 2),
    variants=BOTH,
)
def alone(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Run with nothing else, an allocation gives what was asked for and a free takes it back."""
    scene = Scene(cls, choose, size, lock=False)
    allocator = scene.allocator
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    free = _free_bytes(allocator.chunks())
    request = _size(scene)
    area = allocator.alloc(request, 4, gfp=KERNEL)
    held = allocator.EXPECTED
    wrong = broken((c, w) for c, w in fast.alloc_holds(allocator, request, area) if c not in held)
    if wrong is None and area is None and chunk.free_bytes == scene.geometry.unit:
        return "API-4: a request that fits was refused"
    if wrong is not None or area is None:
        return _settled(scene, wrong)
    made = len(list(allocator.chunks())) > 2
    allocator.free(area)
    wrong = broken((c, w) for c, w in fast.free_holds(allocator, area) if c not in held)
    back = _free_bytes(allocator.chunks()) - made * scene.geometry.unit
    if wrong is None and back != free:
        return f"MAP-4: {back} bytes are free after an area was taken and freed, {free} before"
    return _settled(scene, wrong)


def _free_bytes(chunks: Iterable[Chunk]) -> int:
    return sum(chunk.free_bytes for chunk in chunks)
