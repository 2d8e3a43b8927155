"""Pages coming and going: the book-keeping, the backing, and the chunks themselves."""

from __future__ import annotations

from percpu_contracts.clauses import hints, maps, population
from percpu_proofs.prove.small.judging import MethodCall, Wrong
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator

Cls = type[Allocator]

RANGES = (
    "a chunk of {pages} pages, each unpopulated, empty or used, wherever it may be; every range "
    "of its pages"
)
FAULTS = "; any one request of the kernel fails, or none"


def page_range(choose: Choices, size: Size) -> tuple[int, int]:
    """Choose a range of pages that is not empty."""
    start = choose.number(size.pages)
    return start, start + 1 + choose.number(size.pages - start)


@obligation(
    "POP-3",
    "chunks.Chunks.chunk_populated",
    words=RANGES,
    small=Size(4, 1),
    large=Size(6, 1),
)
def pages_populated(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Populated pages are counted, in the chunk and in all, and enter the float."""
    scene = Scene(cls, choose, size)
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    return MethodCall(
        scene, "chunk_populated", chunk, *page_range(choose, size)
    ).run() or scene.wrong()


@obligation(
    "POP-1",
    "chunks.Chunks.chunk_depopulated",
    words=RANGES,
    small=Size(4, 1),
    large=Size(6, 1),
)
def pages_depopulated(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Released pages are counted no more, in the chunk, in all, and in the float."""
    scene = Scene(cls, choose, size)
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    start, end = page_range(choose, size)
    call = MethodCall(
        scene, "chunk_depopulated", chunk, start, end, only=("POP-1", "POP-3")
    )
    return call.run() or scene.wrong()


@obligation(
    "RCL-1",
    "chunks.Chunks.chunk_depopulated",
    "balance.Balance.enter_released",
    words="an isolated chunk of {pages} pages, each unpopulated, empty or used; every range",
    small=Size(4, 1),
    large=Size(6, 1),
)
def released_pages_spare_the_float(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Pages that reclaim releases were not in the float, so it stays."""
    scene = Scene(cls, choose, size, mutex=True, first_empty=1)
    allocator = scene.allocator
    chunk = scene.chunk_of_pages()
    scene.put(chunk, allocator.to_depopulate_slot, isolated=True)
    start, end = page_range(choose, size)
    inner = MethodCall(scene, "chunk_depopulated", chunk, start, end)
    return (
        MethodCall(scene, "enter_released", chunk, start, end).run()
        or inner.judged()
        or scene.wrong()
    )


@obligation(
    "POP-4",
    "backing.VmBacking.populate_chunk",
    words="every range of {pages} pages on 2 CPUs" + FAULTS,
    small=Size(3, 2),
    large=Size(8, 2),
)
def populate_all_or_nothing(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A population backs every page of every unit, or none; it fails only for a cause."""
    scene = Scene(cls, choose, size, lock=False, mutex=True)
    allocator = scene.allocator
    chunk = scene.put(scene.chunk([0] * (size.pages * size.bits), [0] * size.pages))
    start, end = page_range(choose, size)
    env = allocator.env
    allocator.pages_array = bool(choose.number(2))
    fault = (env.page_fault, env.map_fault, env.metadata_fault)[choose.number(3)]
    fault.kth = choose.number(2 * (end - start) + 1)
    armed = fault.kth
    call = MethodCall(scene, "populate_chunk", chunk, start, end)
    wrong = call.run()
    if wrong is None and not armed and not call.result:
        return "POP-4: a population failed for nothing"
    if wrong is None and fault is env.page_fault and armed and call.result:
        return "POP-4: a population went through a failed request"
    return wrong


@obligation(
    "POP-4",
    "backing.VmBacking.depopulate_chunk",
    words="a hidden chunk of {pages} pages, each unpopulated, empty or used; every range",
    small=Size(4, 1),
    large=Size(7, 1),
)
def depopulate_gives_back(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A release gives back every page of every unit, and remembers them as stale (TLB-1)."""
    scene = Scene(cls, choose, size, lock=False, mutex=True)
    allocator = scene.allocator
    chunk = scene.chunk_of_pages()
    scene.put(chunk, allocator.to_depopulate_slot, isolated=True)
    start, end = page_range(choose, size)
    wrong = MethodCall(scene, "depopulate_chunk", chunk, start, end).run()
    stale = {(chunk, page) for page in range(start, end)}
    if wrong is None and allocator.monitor.history.stale != stale:
        return "TLB-1: other pages are stale than were released"
    return wrong


@obligation(
    "TLB-1",
    "backing.VmBacking.post_unmap_tlb_flush",
    words="every range of {pages} stale pages",
    small=Size(6, 1),
    large=Size(16, 1),
)
def flush_clears(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A flush is asked of the machine, once, and the pages outside its range stay stale."""
    scene = Scene(cls, choose, size, lock=False, mutex=True)
    allocator = scene.allocator
    chunk = scene.chunk([0] * (size.pages * size.bits), [0] * size.pages)
    scene.put(chunk, allocator.to_depopulate_slot, isolated=True)
    history = allocator.monitor.history
    history.released(chunk, range(size.pages))
    start, end = page_range(choose, size)
    held, flushes = allocator.env.live_pages, allocator.env.tlb_flushes
    wrong = MethodCall(scene, "post_unmap_tlb_flush", chunk, start, end).run()
    left = {(chunk, p) for p in range(size.pages) if not start <= p < end}
    if wrong is None and (history.stale != left or allocator.env.tlb_flushes != flushes + 1):
        return f"TLB-1: {len(history.stale)} pages stale after a flush, expected {len(left)}"
    if wrong is None and allocator.env.live_pages != held:
        return "POP-4: a flush gives back pages"
    return wrong


def _created(scene: Scene, result: Chunk | None, failed: bool) -> Wrong:
    """Judge a creation: it succeeds unless something failed, and nothing leaks."""
    if (result is None) != failed:
        return f"LIST-1: a chunk was {'' if result else 'not '}made, failed request: {failed}"
    stats = scene.allocator.stats
    if stats is not None and stats.nr_chunks != (result is not None):
        return f"STAT-1: {stats.nr_chunks} chunks are counted"
    return scene.wrong() or scene.pages_wrong()


@obligation(
    "LIST-1",
    "backing.VmBacking.create_chunk",
    "backing.VmBacking.enter_chunk",
    "chunks.Chunks.chunk_created",
    "chunks.Chunks.alloc_chunk",
    words="a chunk of 1 to {pages} pages of {bits} map bits" + FAULTS,
    small=Size(4, 4),
    large=Size(32, 4),
)
def create_on_vm(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A new chunk is blank, owned by its creator, counted; after a failure nothing is left."""
    shape = Size(1 + choose.number(size.pages), size.bits)
    memcg = bool(choose.number(2))
    scene = Scene(cls, choose, shape, lock=False, mutex=True, memcg=memcg, stats=True)
    env = scene.allocator.env
    fault = (env.metadata_fault, env.vm_fault)[choose.number(2)]
    fault.kth = choose.number(7)
    pieces = 1 if fault is env.vm_fault else 4 + memcg
    failed = 0 < fault.kth <= pieces
    call = MethodCall(scene, "create_chunk")
    return call.run() or _created(scene, call.result, failed)


@obligation(
    "POP-5",
    "backing.KmBacking.create_chunk",
    words="a km chunk of 1 to {pages} pages on 1 to 4 CPUs" + FAULTS,
    small=Size(4, 4),
    large=Size(32, 4),
)
def create_on_km(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A km chunk is born whole: one allocation of a power of two of pages, all populated."""
    shape = Size(1 + choose.number(size.pages), size.bits)
    cpus = 1 + choose.number(4)
    scene = Scene(cls, choose, shape, lock=False, mutex=True, backing="km", cpus=cpus)
    env = scene.allocator.env
    fault = (env.metadata_fault, env.page_fault)[choose.number(2)]
    fault.kth = choose.number(6)
    failed = 0 < fault.kth <= (1 if fault is env.page_fault else 4)
    call = MethodCall(scene, "create_chunk", only=("LIST-1",))
    wrong = call.run()
    if wrong is None and call.result and call.result.populated.find(0) >= 0:
        return "POP-5: a km chunk is not populated whole"
    return wrong or _created(scene, call.result, failed)


@obligation(
    "LIST-1",
    "backing.VmBacking.destroy_chunk",
    words="a drained or undrained chunk of {pages} pages, free or used, owned or listed",
    small=Size(4, 1),
    large=Size(7, 1),
)
def destroy_on_vm(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A chunk destroyed is in nobody's hands, counted no more, and takes no page along."""
    scene = Scene(cls, choose, size, lock=False, mutex=True, stats=True)
    chunk = scene.chunk_of_pages()
    if choose.number(2):
        scene.put(chunk)
    else:
        scene.own(chunk)
    return (
        MethodCall(scene, "destroy_chunk", chunk).run()
        or scene.wrong()
        or scene.pages_wrong()
    )


@obligation(
    "POP-4",
    "backing.KmBacking.destroy_chunk",
    "backing.KmBacking.depopulate_chunk",
    words="a km chunk of 1 to {pages} pages on 1 to 4 CPUs",
    small=Size(4, 4),
    large=Size(32, 4),
)
def destroy_on_km(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A km chunk's pages leave with it, neither before nor twice."""
    shape = Size(1 + choose.number(size.pages), size.bits)
    cpus = 1 + choose.number(4)
    scene = Scene(cls, choose, shape, lock=False, mutex=True, backing="km", cpus=cpus)
    allocator = scene.allocator
    chunk = allocator.create_chunk()
    wrong = MethodCall(scene, "depopulate_chunk", chunk, 0, shape.pages, only=("POP-4",)).run()
    allocator.lock = True
    allocator.chunk_depopulated(chunk, 0, shape.pages)
    allocator.lock = False
    return (
        wrong
        or MethodCall(scene, "destroy_chunk", chunk).run()
        or scene.wrong()
        or scene.pages_wrong()
    )


@obligation(
    "MAP-5",
    "chunks.Chunks.alloc_chunk",
    words="units of 1 to {pages} pages of {bits} map bits, areas charged or not" + FAULTS,
    small=Size(6, 4),
    large=Size(32, 8),
)
def metadata_fit(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Maps and blocks of a new chunk have the sizes its pages ask for; all of it or nothing."""
    shape = Size(1 + choose.number(size.pages), size.bits)
    memcg = bool(choose.number(2))
    scene = Scene(cls, choose, shape, memcg=memcg)
    fault = scene.allocator.env.metadata_fault
    fault.kth = choose.number(7)
    failed = 0 < fault.kth <= 4 + memcg
    call = MethodCall(scene, "alloc_chunk")
    wrong = call.run()
    if wrong is None and (call.result is None) != failed:
        return "MAP-5: metadata without memory for them, or none with it"
    return wrong


@obligation(
    "MAP-5",
    "chunks.Chunks.alloc_first_chunk",
    words="every part of a first unit of {pages} pages with {bits} map bits each",
    small=Size(3, 4),
    large=Size(5, 8),
)
def first_chunk_hides_its_neighbours(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """What the first chunk shares with its neighbours is hidden as one used area a side."""
    scene = Scene(cls, choose, size)
    geometry = scene.geometry
    start = choose.number(geometry.unit_bits)
    length = 1 + choose.number(geometry.unit_bits - start)
    call = MethodCall(scene, "alloc_first_chunk", 0, start * 4, length * 4)
    wrong = call.run()
    if wrong is not None:
        return wrong
    with choose.plain():
        chunk = call.result
        first, last = chunk.start_offset // 4, chunk.map_bits - chunk.end_offset // 4
        wanted = bytearray(not first <= n < last for n in range(chunk.map_bits))
        if chunk.alloc_map != wanted or last - first != length:
            return f"MAP-5: bits {first}..{last} of {length} are free"
        for clause, found in (
            ("MAP-2", maps.free_bytes_are_counted(chunk, geometry)),
            ("MAP-3", maps.bounds_delimit_areas(chunk, geometry)),
            ("HINT-1", hints.hints_are_sound(chunk, geometry)),
            ("HINT-2", hints.left_is_exact(chunk, geometry)),
            ("HINT-5", hints.chunk_hint_is_close(chunk, geometry)),
            ("HINT-7", hints.chunk_first_free_is_exact(chunk, geometry)),
            ("POP-1", population.empty_pages_are_counted(chunk, geometry)),
            ("POP-3", population.populated_pages_are_counted(chunk, geometry)),
        ):
            if found is not None:
                return f"{clause}: {found}"
    return None


@obligation(
    "RCL-5",
    "backing.VmBacking.should_reclaim_chunk",
    words=(
        "a chunk of {pages} pages, each unpopulated, empty or used, wherever it may be, or the "
        "first or reserved chunk; up to 2 empty pages in the first and {pages} in a free chunk"
    ),
    small=Size(3, 2),
    large=Size(7, 1),
)
def who_is_reclaimed(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Never the first or reserved chunk; of others, isolated ones with empty pages always."""
    scene = Scene(cls, choose, size, first_empty=choose.number(3), empty_high=2)
    scene.put(scene.chunk([0] * (size.pages * size.bits), [1] * size.pages))
    allocator = scene.allocator
    chunk = scene.chunk_of_pages()
    who = choose.number(3)
    if who == 0:
        scene.put_somewhere(chunk)
    elif who == 1:
        allocator.first_chunk = chunk
        scene.put(chunk)
    else:
        allocator.reserved_chunk = chunk
    call = MethodCall(scene, "should_reclaim_chunk", chunk)
    wrong = call.run()
    if wrong is None and chunk.isolated and chunk.nr_empty_pop_pages and not call.result:
        return "RCL-3: an isolated chunk keeps its empty pages"
    return wrong


@obligation(
    "RCL-5",
    "backing.KmBacking.should_reclaim_chunk",
    words="a km chunk of {pages} pages, each empty or used; up to 2 empty pages elsewhere",
    small=Size(4, 1),
    large=Size(8, 1),
)
def km_is_never_reclaimed(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A km chunk stays populated whole (POP-5)."""
    scene = Scene(cls, choose, size, first_empty=choose.number(3), backing="km")
    bits = [choose.number(2) for _ in range(size.pages * size.bits)]
    chunk = scene.put(scene.chunk(bits, [1] * size.pages))
    call = MethodCall(scene, "should_reclaim_chunk", chunk)
    wrong = call.run()
    return wrong or ("POP-5: a km chunk qualifies for reclaim" if call.result else None)
