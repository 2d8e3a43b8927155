"""Allocation and free from outside, and the search through the lists."""

from __future__ import annotations

from typing import Any

from percpu_contracts.clauses import balance, cost, reclaim
from percpu_contracts.functions import fast
from percpu_proofs.prove.small.case import ask, claim
from percpu_proofs.prove.small.judging import Adversary, call
from percpu_proofs.prove.small.obligation import BOTH, obligation, with_both_locks, without_locks
from percpu_proofs.prove.small.scene import ANYWHERE, BITS, PAGES, Scene
from percpu_proofs.run.choices import assume
from percpu_reference.variants import Allocator
from percpu_spec.definitions import is_legal
from percpu_spec.gfp import ATOMIC, KERNEL, NOFS, NOWAIT, may_block

SIZES = "; every size up to a unit"


def _judge_end(scene: Scene) -> None:
    """Judge the state after an operation that has ended."""
    scene.judge(hints_too=True, pages_too=True)
    scene.judge_locks()


def _alloc(scene: Scene, size: int, align: int, gfp: int) -> None:
    """Allocate, and judge the state afterwards."""
    allocator = scene.allocator
    if call(scene, "alloc_percpu", size, align, False, gfp) is not None:
        floating = allocator.nr_empty_pop_pages
        ask("BAL-4", balance.low_float_asks(floating, allocator.work_pending, scene.geometry))
    _judge_end(scene)


@without_locks(
    "API-5",
    "Operations.alloc_percpu is_atomic alloc_failed",
    words=ANYWHERE + SIZES + ", atomic",
    sizes=((2, 2), (3, 2)),
    variants=BOTH,
)
def alloc_atomic(scene: Scene) -> None:
    """An atomic request takes populated memory or leaves its mark; it never sleeps."""
    scene.put_somewhere(scene.chunk_of_pages())
    _alloc(scene, scene.request(), 4, scene.choose.pick((ATOMIC, NOWAIT)))


@without_locks(
    "POP-2",
    "Operations.alloc_percpu populate_area undo_area add_chunk",
    words=ANYWHERE + SIZES + ", blocking",
    sizes=((2, 2), (3, 2)),
    variants=BOTH,
)
def alloc_blocking(scene: Scene) -> None:
    """A blocking request gets populated, zeroed memory of its size, creating a chunk if need be."""
    scene.put_somewhere(scene.chunk_of_pages())
    _alloc(scene, scene.request(), 4, scene.choose.pick((KERNEL, NOFS)))


@without_locks(
    "POP-4",
    "Operations.alloc_percpu populate_area undo_area add_chunk alloc_failed",
    words=PAGES + ", on its list" + SIZES + "; any of the first requests for pages fails",
    sizes=((2, 2), (3, 2)),
)
def alloc_without_memory(scene: Scene) -> None:
    """A blocking request that fails gives its area back and keeps what was populated before."""
    scene.put(scene.chunk_of_pages())
    env = scene.allocator.env
    fault = scene.choose.number(4)
    (env.page_fault if fault < 3 else env.vm_fault).kth = (1, 3, 4, 1)[fault]
    _alloc(scene, scene.request(), 4, KERNEL)


@without_locks(
    "API-1",
    "Operations.alloc_percpu",
    words="a free chunk of {pages} pages; sizes around 0, a granule, the largest, half a unit; "
    "alignments around the granule and the page",
    sizes=((4, 2), (4, 4)),
    least_unit=lambda choose, size: size.pages * size.bits * 2,
)
def illegal_requests(scene: Scene) -> None:
    """An illegal size or alignment is refused without a change; a legal one is rounded (API-4)."""
    geometry, env = scene.geometry, scene.allocator.env
    scene.put(scene.free_chunk())
    sizes = (0, 1, 3, 4, 5, geometry.largest - 1, geometry.largest, geometry.largest + 1)
    aligns = (1, 3, 4, 6, 8, geometry.page, 2 * geometry.page)
    gfp = scene.choose.pick((KERNEL, ATOMIC))
    warned = env.warnings
    size, align = scene.choose.pick(sizes), scene.choose.pick(aligns)
    _alloc(scene, size, align, gfp)
    as_asked = (env.warnings == warned) == is_legal(geometry, size, align)
    claim("API-1", as_asked, "an illegal request does not warn, or a legal one does")


@without_locks(
    "MAP-1",
    "Operations.alloc_percpu",
    words=BITS.replace("a chunk", "the reserved chunk") + SIZES,
    sizes=((2, 2), (3, 2)),
)
def alloc_reserved(scene: Scene) -> None:
    """A reserved request is served from the reserved chunk alone, which stays on no list."""
    allocator = scene.allocator
    reserved = scene.chunk_of_bits()
    reserved.immutable = True
    allocator.reserved_chunk = reserved
    allocator.nr_populated -= reserved.nr_populated
    allocator.env.creates -= 1
    allocator.env.live_pages -= scene.geometry.cpus * reserved.nr_populated
    request, gfp = scene.request(), scene.choose.pick((KERNEL, ATOMIC))
    area = call(scene, "alloc_percpu", request, 4, True, gfp, in_gap=lambda gap: None)
    served = area is None or area[0] is reserved
    claim("MAP-1", served, "a reserved request got ordinary memory")
    claim("LIST-1", reserved.next is reserved, "the reserved chunk is on a list")
    scene.judge_locks()


@without_locks(
    "ACC-1",
    "Operations.alloc_percpu free_percpu Areas.free_area",
    words=PAGES + ", statistics kept; every size up to a unit, then freed again",
    sizes=((2, 2), (4, 1)),
    stats=True,
)
def counted_round_trip(scene: Scene) -> None:
    """An area taken and freed leaves the statistics true and the maps as they were."""
    allocator, bits = scene.allocator, scene.size.bits
    chunk = scene.put(scene.chunk_of_pages())
    used = sum(chunk.alloc_map)
    areas = sum(1 for c in allocator.chunks() for n in range(c.nr_pages) if c.alloc_map[n * bits])
    stats = allocator.stats
    stats.nr_alloc = stats.nr_cur_alloc = stats.nr_max_alloc = areas
    stats.nr_chunks = stats.nr_max_chunks = 2
    stats.max_alloc_size = 4
    for c in allocator.chunks():
        c.nr_alloc = sum(c.bound_map[n * bits] for n in range(c.nr_pages) if c.alloc_map[n * bits])
        c.max_alloc_size = 4
    request = scene.request()
    area = call(scene, "alloc_percpu", request, 4, False, KERNEL)
    if area is not None:
        counted = stats.nr_cur_alloc == areas + 1 and stats.max_alloc_size >= request
        claim("STAT-1", counted, "an area is not counted")
        call(scene, "free_percpu", area)
        undone = stats.nr_cur_alloc == areas and sum(chunk.alloc_map) == used
        claim("STAT-1", undone, "a free is not counted, or other bits were cleared")
    _judge_end(scene)


class _Examined(list[Any]):
    """The chunks that a search examined, still there when it is over."""

    def clear(self) -> None:
        """Keep them."""


@with_both_locks(
    "COST-1",
    "Operations.search_lists_for",
    words="three chunks of {pages} pages: a depopulated one sidelined, one in use, one fully free, "
    "each page populated or not" + SIZES + ", atomic or not",
    sizes=((2, 2), (2, 4)),
)
def order_of_search(scene: Scene) -> None:
    """Depopulated chunks are examined after all others, fully free ones last."""
    allocator, pages = scene.allocator, scene.size.pages
    count = pages * scene.size.bits
    aside = scene.chunk([1] + [0] * (count - 1), [1] * pages)
    busy = scene.chunk_of_bits()
    assume(busy.alloc_map.find(1) >= 0)
    free = scene.free_chunk(scene.some_pages())
    scene.put(aside, allocator.sidelined_slot, isolated=True)
    scene.put(busy)
    scene.put(free)
    history = allocator.monitor.history
    history.depopulated.add(aside)
    history.examined = _Examined()
    bits = 1 + scene.choose.number(count)
    pop_only = scene.choose.bit()
    chunk, off = call(scene, "search_lists_for", 4 * bits, bits, 1, pop_only, 0)
    if pop_only:
        ask("COST-1", cost.depopulated_come_late(history.examined))
    if chunk is not None:
        back = not chunk.isolated and chunk.alloc_map[off // 4] == 1
        wrong = "a chunk that serves a request stays isolated, or another area is returned"
        claim("ISO-2", back, wrong)
    scene.judge(unsettled=() if pop_only or chunk is None else (chunk,))


@obligation(
    "POP-4",
    "Operations.populate_area undo_area",
    words="an area taken in " + PAGES + "; each population of a range fails or not",
    sizes=((3, 2), (5, 1)),
    variants=BOTH,
)
def populate_area(scene: Scene) -> None:
    """The pages under an area are populated range by range; on failure the area is freed."""
    allocator, page = scene.allocator, scene.geometry.page
    chunk = scene.put(scene.chunk_of_pages())
    bits = 1 + scene.choose.number(chunk.map_bits)
    start = allocator.find_block_fit(chunk, bits, 1, False)
    assume(start >= 0)
    before = chunk.alloc_map[:]
    off = allocator.alloc_area(chunk, bits, 1, start)
    allocator.lock, allocator.alloc_mutex = False, True
    allocator.env.page_fault.kth = scene.choose.number(3) * 2
    pages = off // page, -(-(off + 4 * bits) // page)
    in_gap = Adversary(scene, unsettled=[chunk])
    done = call(scene, "populate_area", chunk, off, *pages, in_gap=in_gap)
    scene.judge(pages_too=True)
    if done:
        hole = chunk.populated.find(0, *pages) >= 0
        claim("POP-2", not hole, "a page under the area is not populated")
    else:
        freed = chunk.alloc_map == before
        claim("MAP-1", freed, "an area that could not be populated was not freed")


@without_locks(
    "LIST-2",
    "Operations.free_percpu check_freed_chunk",
    words=ANYWHERE + ", or beside a fully free one; every page's area freed; up to 2 empty pages "
    "elsewhere",
    sizes=((3, 2), (5, 1)),
    first_empty=range(3),
)
def free_asks_for_work(scene: Scene) -> None:
    """A free that leaves a second free chunk, or one to reclaim, asks for balance work."""
    allocator, choose, size = scene.allocator, scene.choose, scene.size
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    if choose.bit():
        scene.put(scene.free_chunk([0] * size.pages))
    page = choose.number(size.pages)
    assume(chunk.alloc_map[page * size.bits])
    call(scene, "free_percpu", (chunk, page * scene.geometry.page))
    _judge_end(scene)
    if not allocator.work_pending:
        waits = chunk.next is allocator.chunk_lists[allocator.to_depopulate_slot]
        wrong = "a chunk waits on to_depopulate and no work was asked for"
        claim("RCL-3", not (waits and chunk.nr_empty_pop_pages), wrong)
        free = allocator.chunk_lists[allocator.free_slot]
        wrong = "a second fully free chunk, and no work was asked for"
        claim("BAL-2", free.next is free.prev, wrong)


@obligation(
    "API-3",
    "Operations.is_atomic",
    words="every combination of the nine allocation flags",
    sizes=((2, 2), (2, 2)),
)
def flags_decide(scene: Scene) -> None:
    """A request may sleep by its flags alone."""
    gfp = sum(scene.choose.number(2) << bit for bit in range(9))
    right = scene.allocator.is_atomic(gfp) != may_block(gfp, scene.allocator.BLOCKING)
    claim("API-3", right, f"flags {gfp:#x} are taken for the wrong kind of request")


@without_locks(
    "API-6",
    "Operations.clear_area",
    words="every area of a chunk of {pages} pages on 1 to 4 CPUs",
    sizes=((2, 2), (4, 4)),
    cpus=range(1, 5),
)
def areas_are_zeroed(scene: Scene) -> None:
    """An area is zeroed in every CPU's unit, from its first byte to its last."""
    cpus = scene.geometry.cpus
    chunk = scene.put(scene.full_chunk())
    off, size = scene.area_in(chunk)
    call(scene, "clear_area", chunk, off, size)
    cleared = scene.allocator.monitor.history.cleared[chunk, off]
    wrong = f"zeroed {cleared} of {size} bytes at {off} on {cpus} CPUs"
    claim("API-6", cleared == [(cpu, off, size) for cpu in range(cpus)], wrong)


@without_locks(
    "API-4",
    "Operations.alloc free",
    words=ANYWHERE + SIZES + "; then freed again",
    sizes=((2, 2), (3, 2)),
    variants=BOTH,
)
def alone(scene: Scene) -> None:
    """Run with nothing else, an allocation gives what was asked for and a free takes it back."""
    allocator, unit = scene.allocator, scene.geometry.unit
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    free = _free_bytes(allocator)
    request = scene.request()
    area = allocator.alloc(request, 4, gfp=KERNEL)
    for clause, wrong in fast.alloc_holds(allocator, request, area):
        scene.ask(clause, wrong)
    served = area is not None or chunk.free_bytes != unit
    claim("API-4", served, "a request that fits was refused")
    if area is not None:
        made = len(list(allocator.chunks())) > 2
        allocator.free(area)
        for clause, wrong in fast.free_holds(allocator, area):
            scene.ask(clause, wrong)
        back = _free_bytes(allocator) - made * unit
        wrong = f"{back} bytes are free after an area was taken and freed, {free} before"
        claim("MAP-4", back == free, wrong)
    _judge_end(scene)


def _free_bytes(allocator: Allocator) -> int:
    return sum(chunk.free_bytes for chunk in allocator.chunks())


@obligation(
    "RCL-1",
    "Operations.check_freed_chunk",
    words=PAGES + "; up to 2 empty pages elsewhere, HIGH is 2",
    sizes=((3, 2), (7, 1)),
    first_empty=range(3),
    empty_high=2,
)
def free_isolates_with_restraint(scene: Scene) -> None:
    """A free isolates its chunk only if the float stays at HIGH without it."""
    allocator = scene.allocator
    chunk = scene.put(scene.chunk_of_pages())
    before = allocator.nr_empty_pop_pages
    allocator.check_freed_chunk(chunk)
    ask("RCL-1", reclaim.float_stays_high(before, allocator.nr_empty_pop_pages, scene.geometry))
    scene.judge()
