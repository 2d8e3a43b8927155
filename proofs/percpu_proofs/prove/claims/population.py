"""Pages coming and going: the book-keeping, the backing, and the chunks themselves."""

from __future__ import annotations

from percpu_contracts.clauses import hints, maps, population
from percpu_proofs.prove.small.case import ask, claim
from percpu_proofs.prove.small.judging import MethodCall, call
from percpu_proofs.prove.small.obligation import any_pages, obligation, with_both_locks, with_mutex
from percpu_proofs.prove.small.scene import ANYWHERE, PAGES, Scene
from percpu_reference.chunk import Chunk

RANGES = ANYWHERE + "; every range of its pages"
ISOLATED = PAGES.replace("a chunk", "an isolated chunk")
FAULTS = "; any one request of the kernel fails, or none"


@obligation("POP-3", "Chunks.chunk_populated", words=RANGES, sizes=((4, 1), (6, 1)))
def pages_populated(scene: Scene) -> None:
    """Populated pages are counted, in the chunk and in all, and enter the float."""
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    call(scene, "chunk_populated", chunk, *scene.range_in(chunk.nr_pages))
    scene.judge()


@obligation("POP-1", "Chunks.chunk_depopulated", words=RANGES, sizes=((4, 1), (6, 1)))
def pages_depopulated(scene: Scene) -> None:
    """Released pages are counted no more, in the chunk, in all, and in the float."""
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    pages = scene.range_in(chunk.nr_pages)
    call(scene, "chunk_depopulated", chunk, *pages, only=("POP-1", "POP-3"))
    scene.judge()


@with_both_locks(
    "RCL-1",
    "Chunks.chunk_depopulated Balance.enter_released",
    words=ISOLATED + "; every range",
    sizes=((4, 1), (6, 1)),
    first_empty=1,
)
def released_pages_spare_the_float(scene: Scene) -> None:
    """Pages that reclaim releases were not in the float, so it stays."""
    chunk = scene.isolate(scene.chunk_of_pages())
    pages = scene.range_in(chunk.nr_pages)
    inner = MethodCall(scene, "chunk_depopulated", chunk, *pages)
    call(scene, "enter_released", chunk, *pages)
    inner.judge(None)
    scene.judge()


@with_mutex(
    "POP-4",
    "VmBacking.populate_chunk",
    words="every range of {pages} pages on 2 CPUs" + FAULTS,
    sizes=((3, 2), (8, 2)),
)
def populate_all_or_nothing(scene: Scene) -> None:
    """A population backs every page of every unit, or none; it fails only for a cause."""
    allocator, env = scene.allocator, scene.allocator.env
    chunk = scene.put(scene.free_chunk([0] * scene.size.pages))
    start, end = scene.range_in(chunk.nr_pages)
    allocator.pages_array = scene.choose.bit()
    fault = scene.choose.pick((env.page_fault, env.map_fault, env.metadata_fault))
    fault.kth = armed = scene.choose.number(2 * (end - start) + 1)
    done = call(scene, "populate_chunk", chunk, start, end)
    claim("POP-4", armed or done, "a population failed for nothing")
    through = fault is env.page_fault and armed and done
    claim("POP-4", not through, "a population went through a failed request")


@with_mutex(
    "POP-4",
    "VmBacking.depopulate_chunk",
    words=PAGES.replace("a chunk", "a hidden chunk") + "; every range",
    sizes=((4, 1), (7, 1)),
)
def depopulate_gives_back(scene: Scene) -> None:
    """A release gives back every page of every unit, and remembers them as stale (TLB-1)."""
    chunk = scene.isolate(scene.chunk_of_pages())
    start, end = scene.range_in(chunk.nr_pages)
    call(scene, "depopulate_chunk", chunk, start, end)
    stale = {(chunk, page) for page in range(start, end)}
    remembered = scene.allocator.monitor.history.stale == stale
    claim("TLB-1", remembered, "other pages are stale than were released")


@with_mutex(
    "TLB-1",
    "VmBacking.post_unmap_tlb_flush",
    words="every range of {pages} stale pages",
    sizes=((6, 1), (16, 1)),
)
def flush_clears(scene: Scene) -> None:
    """A flush is asked of the machine, once, and the pages outside its range stay stale."""
    env, pages = scene.allocator.env, range(scene.size.pages)
    chunk = scene.isolate(scene.free_chunk([0] * scene.size.pages))
    history = scene.allocator.monitor.history
    history.released(chunk, pages)
    start, end = scene.range_in(chunk.nr_pages)
    held, flushes = env.live_pages, env.tlb_flushes
    call(scene, "post_unmap_tlb_flush", chunk, start, end)
    left = {(chunk, page) for page in pages if not start <= page < end}
    wrong = f"{len(history.stale)} pages stale after a flush, expected {len(left)}"
    claim("TLB-1", history.stale == left and env.tlb_flushes == flushes + 1, wrong)
    claim("POP-4", env.live_pages == held, "a flush gives back pages")


def _create(scene: Scene, failed: bool, *, only: tuple[str, ...] = ()) -> Chunk | None:
    """Create a chunk: it succeeds unless something is to fail, and nothing leaks."""
    chunk: Chunk | None = call(scene, "create_chunk", only=only)
    wrong = f"a chunk was {'' if chunk else 'not '}made, failed request: {failed}"
    claim("LIST-1", (chunk is None) == failed, wrong)
    stats = scene.allocator.stats
    if stats is not None:
        counted = stats.nr_chunks == (chunk is not None)
        claim("STAT-1", counted, f"{stats.nr_chunks} chunks are counted")
    scene.judge(pages_too=True)
    return chunk


@with_mutex(
    "LIST-1",
    "VmBacking.create_chunk enter_chunk Chunks.chunk_created alloc_chunk",
    words="a chunk of 1 to {pages} pages of {bits} map bits" + FAULTS,
    sizes=((4, 4), (32, 4)),
    shape=any_pages,
    memcg=[False, True],
    stats=True,
)
def create_on_vm(scene: Scene) -> None:
    """A new chunk is blank, owned by its creator, counted; after a failure nothing is left."""
    env = scene.allocator.env
    fault = scene.choose.pick((env.metadata_fault, env.vm_fault))
    fault.kth = scene.choose.number(7)
    pieces = 1 if fault is env.vm_fault else 4 + scene.geometry.memcg
    _create(scene, 0 < fault.kth <= pieces)


@with_mutex(
    "POP-5",
    "KmBacking.create_chunk",
    words="a km chunk of 1 to {pages} pages on 1 to 4 CPUs" + FAULTS,
    sizes=((4, 4), (32, 4)),
    shape=any_pages,
    cpus=range(1, 5),
    backing="km",
)
def create_on_km(scene: Scene) -> None:
    """A km chunk is born whole: one allocation of a power of two of pages, all populated."""
    env = scene.allocator.env
    fault = scene.choose.pick((env.metadata_fault, env.page_fault))
    fault.kth = scene.choose.number(6)
    pieces = 1 if fault is env.page_fault else 4
    chunk = _create(scene, 0 < fault.kth <= pieces, only=("LIST-1",))
    whole = chunk is None or chunk.populated.find(0) < 0
    claim("POP-5", whole, "a km chunk is not populated whole")


@with_mutex(
    "LIST-1",
    "VmBacking.destroy_chunk",
    words="a drained or undrained chunk of {pages} pages, free or used, owned or listed",
    sizes=((4, 1), (7, 1)),
    stats=True,
)
def destroy_on_vm(scene: Scene) -> None:
    """A chunk destroyed is in nobody's hands, counted no more, and takes no page along."""
    chunk = scene.chunk_of_pages()
    if scene.choose.bit():
        scene.put(chunk)
    else:
        scene.own(chunk)
    call(scene, "destroy_chunk", chunk)
    scene.judge(pages_too=True)


@with_mutex(
    "POP-4",
    "KmBacking.destroy_chunk depopulate_chunk",
    words="a km chunk of 1 to {pages} pages on 1 to 4 CPUs",
    sizes=((4, 4), (32, 4)),
    shape=any_pages,
    cpus=range(1, 5),
    backing="km",
)
def destroy_on_km(scene: Scene) -> None:
    """A km chunk's pages leave with it, neither before nor twice."""
    allocator = scene.allocator
    chunk = allocator.create_chunk()
    call(scene, "depopulate_chunk", chunk, 0, chunk.nr_pages, only=("POP-4",))
    allocator.lock = True
    allocator.chunk_depopulated(chunk, 0, chunk.nr_pages)
    allocator.lock = False
    call(scene, "destroy_chunk", chunk)
    scene.judge(pages_too=True)


@obligation(
    "MAP-5",
    "Chunks.alloc_chunk",
    words="units of 1 to {pages} pages of {bits} map bits, areas charged or not" + FAULTS,
    sizes=((6, 4), (32, 8)),
    shape=any_pages,
    memcg=[False, True],
)
def metadata_fit(scene: Scene) -> None:
    """Maps and blocks of a new chunk have the sizes its pages ask for; all of it or nothing."""
    fault = scene.allocator.env.metadata_fault
    fault.kth = scene.choose.number(7)
    failed = 0 < fault.kth <= 4 + scene.geometry.memcg
    made = call(scene, "alloc_chunk") is not None
    claim("MAP-5", made != failed, "metadata without memory for them, or none with it")


@obligation(
    "MAP-5",
    "Chunks.alloc_first_chunk",
    words="every part of a first unit of {pages} pages with {bits} map bits each",
    sizes=((3, 4), (5, 8)),
)
def first_chunk_hides_its_neighbours(scene: Scene) -> None:
    """What the first chunk shares with its neighbours is hidden as one used area a side."""
    geometry = scene.geometry
    start, end = scene.range_in(geometry.unit_bits)
    chunk = call(scene, "alloc_first_chunk", 0, start * 4, (end - start) * 4)
    first, last = chunk.start_offset // 4, chunk.map_bits - chunk.end_offset // 4
    wanted = bytearray(not first <= n < last for n in range(chunk.map_bits))
    free = chunk.alloc_map == wanted and last - first == end - start
    claim("MAP-5", free, f"bits {first}..{last} of {end - start} are free")
    for clause, predicate in (
        ("MAP-2", maps.free_bytes_are_counted),
        ("MAP-3", maps.bounds_delimit_areas),
        ("HINT-1", hints.hints_are_sound),
        ("HINT-2", hints.left_is_exact),
        ("HINT-5", hints.chunk_hint_is_close),
        ("HINT-7", hints.chunk_first_free_is_exact),
        ("POP-1", population.empty_pages_are_counted),
        ("POP-3", population.populated_pages_are_counted),
    ):
        ask(clause, predicate(chunk, geometry))


@obligation(
    "RCL-5",
    "VmBacking.should_reclaim_chunk",
    words=ANYWHERE + ", or the first or reserved chunk; up to 2 empty pages in the first and "
    "{pages} in a free chunk",
    sizes=((3, 2), (7, 1)),
    first_empty=range(3),
    empty_high=2,
)
def who_is_reclaimed(scene: Scene) -> None:
    """Never the first or reserved chunk; of others, isolated ones with empty pages always."""
    allocator = scene.allocator
    scene.put(scene.free_chunk())
    chunk = scene.chunk_of_pages()
    who = scene.choose.number(3)
    if who == 0:
        scene.put_somewhere(chunk)
    elif who == 1:
        allocator.first_chunk = scene.put(chunk)
    else:
        allocator.reserved_chunk = chunk
    qualifies = call(scene, "should_reclaim_chunk", chunk)
    left = chunk.isolated and chunk.nr_empty_pop_pages and not qualifies
    claim("RCL-3", not left, "an isolated chunk keeps its empty pages")


@obligation(
    "RCL-5",
    "KmBacking.should_reclaim_chunk",
    words="a km chunk of {pages} pages, each empty or used; up to 2 empty pages elsewhere",
    sizes=((4, 1), (8, 1)),
    first_empty=range(3),
    backing="km",
)
def km_is_never_reclaimed(scene: Scene) -> None:
    """A km chunk stays populated whole (POP-5)."""
    qualifies = call(scene, "should_reclaim_chunk", scene.put(scene.chunk_of_bits()))
    claim("POP-5", not qualifies, "a km chunk qualifies for reclaim")


@obligation(
    "RCL-1",
    "VmBacking.should_reclaim_chunk",
    words=PAGES + "; up to 2 empty pages elsewhere, HIGH is 2",
    sizes=((3, 2), (7, 1)),
    first_empty=range(3),
    empty_high=2,
)
def float_stays_high(scene: Scene) -> None:
    """A chunk qualifies for reclaim only if the float stays at HIGH without it."""
    call(scene, "should_reclaim_chunk", scene.put(scene.chunk_of_pages()))
