"""The balance work: free chunks are destroyed, the float is topped up, chunks are reclaimed."""

from __future__ import annotations

from percpu_contracts.clauses import balance, reclaim
from percpu_contracts.functions import fast
from percpu_proofs.prove.small.case import ask, claim
from percpu_proofs.prove.small.judging import IN_GAPS, Adversary, call
from percpu_proofs.prove.small.obligation import (
    BOTH,
    any_pages,
    with_both_locks,
    with_mutex,
    without_locks,
)
from percpu_proofs.prove.small.scene import ANYWHERE, PAGES, Scene
from percpu_proofs.run.choices import assume
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Gap

WAITING = PAGES.replace("a chunk", "an isolated chunk")
ELSEWHERE = "; up to 2 empty pages elsewhere"
ONE_ELSEWHERE = "; no or one empty page elsewhere"
PARTS = "Balance.reclaim_populated depopulate_empty"
FREES = "two fully free chunks of {pages} pages, each page populated or not, and one in use"


@with_both_locks(
    "BAL-2",
    "Balance.balance_free condemn_chunk VmBacking.destroy_chunk",
    words=FREES,
    sizes=((3, 2), (5, 1)),
)
@with_both_locks(
    "ISO-1",
    "Balance.balance_free condemn_chunk",
    words=FREES + IN_GAPS,
    sizes=((2, 2, 1), (2, 2, 2)),
    variants=BOTH,
    name="free-chunks-go-unseen",
)
def free_chunks_go(scene: Scene) -> None:
    """All free chunks but the first are destroyed, or those without pages; pages are freed.

    A chunk about to be destroyed cannot be allocated from, whatever others do.
    """
    chunks = [scene.put(scene.free_chunk(scene.some_pages())) for _ in range(2)]
    scene.put(scene.full_chunk())
    empty_only = scene.choose.bit()
    spared = {chunks[0]} | {c for c in chunks if empty_only and c.nr_empty_pop_pages}
    call(scene, "balance_free", empty_only, in_gap=Adversary(scene, scene.size.moves))
    scene.judge(pages_too=True)
    alive = list(scene.allocator.chunks())
    claim(
        "BAL-2",
        {c for c in chunks if any(c is a for a in alive)} == spared,
        "other chunks were destroyed than all but the first on the free list",
    )


def _top_up(scene: Scene) -> None:
    """Top the float up and judge: nothing is lost, and it is high unless something failed."""
    adversary = Adversary(scene, scene.size.moves)
    allocator = scene.allocator
    fault = allocator.env.page_fault
    armed = scene.choose.number(2)
    fault.kth = 3 * armed
    call(scene, "balance_populated", in_gap=adversary)
    scene.judge(pages_too=True)
    failed = armed and not fault.kth
    high = allocator.nr_empty_pop_pages >= scene.geometry.empty_high
    moved = allocator.monitor.history.concurrent and not adversary.left
    if not (failed or high or moved):
        scene.ask("BAL-1", f"the float is {allocator.nr_empty_pop_pages} after balance work")


@with_both_locks(
    "POP-4",
    "Balance.balance_populated populate_holes pages_to_populate first_unpopulated",
    words=ANYWHERE + "; after a failed atomic request or not; a population fails or not",
    sizes=((3, 2), (5, 1)),
    variants=BOTH,
    empty_high=2,
)
def float_is_topped_up(scene: Scene) -> None:
    """Pages populated are counted and held; fixed, the float is HIGH unless something failed."""
    scene.put_somewhere(scene.chunk_of_pages())
    scene.allocator.atomic_alloc_failed = scene.choose.bit()
    _top_up(scene)


@with_both_locks(
    "POP-2",
    "Balance.balance_populated populate_holes",
    words=PAGES + ", on its list" + IN_GAPS,
    sizes=((3, 2, 1), (3, 2, 2)),
    variants=BOTH,
)
def float_is_topped_up_meanwhile(scene: Scene) -> None:
    """Whatever others do while pages are populated, none is used without, nothing is lost."""
    scene.put(scene.chunk_of_pages())
    _top_up(scene)


@with_both_locks(
    "BAL-1",
    "Balance.enter_populated",
    words=ANYWHERE + "; every range of unpopulated pages",
    sizes=((4, 1), (6, 1)),
    fixed=True,
)
def populated_pages_raise_the_float(scene: Scene) -> None:
    """Pages that the balance work populates raise the float."""
    _enter_populated(scene, scene.put_somewhere(scene.chunk_of_pages()))


@with_both_locks(
    "POP-3",
    "Balance.enter_populated",
    words=PAGES + ", on its list; every range of unpopulated pages",
    sizes=((4, 1), (7, 1)),
)
def populated_pages_are_entered(scene: Scene) -> None:
    """Pages populated in a chunk in circulation raise the float and are counted."""
    _enter_populated(scene, scene.put(scene.chunk_of_pages()))


def _enter_populated(scene: Scene, chunk: Chunk) -> None:
    """Enter any range of unpopulated pages of a chunk as populated by the work."""
    start, end = scene.range_in(chunk.nr_pages)
    assume(chunk.populated.find(1, start, end) < 0)
    call(scene, "enter_populated", chunk, start, end, only=("BAL-1",))
    scene.judge()


@with_mutex(
    "LIST-1",
    "Balance.balance_create",
    words="units of 1 to {pages} pages; any one request of the kernel fails, or none",
    sizes=((4, 4), (16, 4)),
    shape=any_pages,
)
def created_chunk_is_listed(scene: Scene) -> None:
    """A chunk that the work creates is on the free list and in nobody's hands."""
    allocator = scene.allocator
    env = allocator.env
    scene.choose.pick((env.metadata_fault, env.vm_fault)).kth = scene.choose.number(6)
    call(scene, "balance_create", 0)
    scene.judge()
    listed = allocator.lock and not list(allocator.owned_chunks())
    claim("LIST-1", listed, "the chunk created is still owned, or pcpu_lock not held")


@without_locks(
    "BAL-3",
    "Balance.balance_workfn end_work balance_free balance_populated reclaim_populated",
    words=ANYWHERE + ", and a fully free one; a failed atomic request before or not",
    sizes=((2, 2), (4, 1)),
    variants=BOTH,
    first_empty=range(2),
)
def work_runs_to_its_end(scene: Scene) -> None:
    """The work ends, holds no lock, owns nothing; fixed, nothing is left for it to do."""
    allocator = scene.allocator
    scene.put_somewhere(scene.chunk_of_pages())
    scene.put(scene.free_chunk(scene.some_pages()))
    allocator.work_pending = True
    allocator.atomic_alloc_failed = scene.choose.bit()
    runs = 0
    while allocator.work_pending:
        runs += 1
        call(scene, "balance_workfn")
        scene.judge()
        scene.judge_locks()
        claim("BAL-3", runs <= 4, "the balance work asks for itself again and again")
    scene.ask("RCL-3", reclaim.reclaim_is_done(allocator))
    scene.ask("BAL-2", balance.one_free_chunk(allocator))
    scene.judge_pages()


@without_locks(
    "FLT-1",
    "Balance.balance",
    words=ANYWHERE + "; nothing else running",
    sizes=((2, 2), (4, 1)),
    variants=BOTH,
    first_empty=range(2),
)
def balance_alone(scene: Scene) -> None:
    """The work run as one step leaves the counters true, and does what was asked for."""
    scene.put_somewhere(scene.chunk_of_pages())
    scene.allocator.balance()
    for clause, wrong in fast.balance_holds(scene.allocator):
        scene.ask(clause, wrong)
    scene.judge(pages_too=True)


def _reclaim(scene: Scene) -> None:
    """Run reclaim and judge what it leaves: nothing waits, nothing is stale, nothing is lost."""
    allocator = scene.allocator
    history = allocator.monitor.history
    adversary = Adversary(scene, scene.size.moves)
    before = allocator.nr_empty_pop_pages

    def in_gap(gap: Gap) -> None:
        adversary(gap)
        if not history.concurrent:
            floating = allocator.nr_empty_pop_pages
            ask("RCL-1", reclaim.float_stays_high(before, floating, scene.geometry))

    call(scene, "reclaim_populated", in_gap=in_gap)
    claim("TLB-1", not history.stale, "pages were released and never flushed")
    scene.judge(pages_too=True)


def _reclaim_alone(scene: Scene, *chunks: Chunk) -> None:
    """Run reclaim with nothing else running, and ask RCL-4 of chunks that it has taken."""
    _reclaim(scene)
    for chunk in chunks:
        ask("RCL-4", reclaim.chunk_is_drained(scene.allocator, chunk))
        sidelined = chunk.isolated and chunk.free_bytes == scene.geometry.unit
        claim("BAL-2", not sidelined, "a fully free chunk was sidelined")


@with_both_locks(
    "RCL-4",
    f"{PARTS} enter_released sideline_chunk",
    words=WAITING + ELSEWHERE,
    sizes=((4, 1), (8, 1)),
    variants=BOTH,
    first_empty=range(3),
)
def reclaim_by_pages(scene: Scene) -> None:
    """Reclaim alone leaves no empty page, unless that would take the float below HIGH."""
    _reclaim_alone(scene, scene.isolate(scene.chunk_of_pages()))


@with_both_locks(
    "RCL-4",
    PARTS,
    words="an isolated chunk of {pages} pages with {bits} map bits each, any bits used, each empty "
    "page populated or not" + ONE_ELSEWHERE,
    sizes=((3, 2), (4, 2)),
    variants=BOTH,
    first_empty=range(2),
)
def reclaim_by_bits(scene: Scene) -> None:
    """Reclaim takes a page for empty exactly if none of its bits is used."""
    _reclaim_alone(scene, scene.isolate(scene.chunk_of_used_bits()))


@with_both_locks(
    "RCL-3",
    PARTS,
    words=WAITING.replace("an isolated chunk", "two isolated chunks") + ELSEWHERE,
    sizes=((2, 2), (3, 2)),
    variants=BOTH,
    first_empty=range(3),
)
def reclaim_of_two(scene: Scene) -> None:
    """Every chunk that waits is taken, and each gets its own flush."""
    _reclaim_alone(scene, *(scene.isolate(scene.chunk_of_pages()) for _ in range(2)))


@with_both_locks(
    "ISO-1",
    PARTS,
    words=WAITING + ONE_ELSEWHERE + IN_GAPS,
    sizes=((3, 2, 1), (4, 1, 1)),
    variants=BOTH,
    first_empty=range(2),
)
@with_both_locks(
    "ISO-1",
    PARTS,
    words=WAITING + ONE_ELSEWHERE + IN_GAPS,
    sizes=((2, 2, 2), (3, 2, 2)),
    variants=BOTH,
    first_empty=range(2),
    name="reclaim-with-two-moves",
)
def reclaim_with_one_move(scene: Scene) -> None:
    """Whatever others do in the gaps, no page is used unpopulated, nothing is lost."""
    chunk, allocator = scene.isolate(scene.chunk_of_pages()), scene.allocator
    _reclaim(scene)
    if "RCL-3" not in allocator.EXPECTED and not allocator.work_pending:
        ask("RCL-3", reclaim.reclaim_is_done(allocator))
    elif chunk.isolated:
        first = allocator.chunk_lists[allocator.sidelined_slot].next
        claim("ISO-2", first is chunk, "a chunk reclaimed is neither back nor sidelined")


@with_both_locks(
    "RCL-4",
    "Balance.depopulate_empty",
    words=WAITING + ELSEWHERE,
    sizes=((4, 1), (8, 1)),
    first_empty=range(3),
)
def released_span(scene: Scene) -> None:
    """What a release returns spans just the pages released, so that one flush covers them."""
    chunk = scene.isolate(scene.chunk_of_pages())
    before = list(chunk.populated)
    start, end, back = call(scene, "depopulate_empty", chunk)
    gone = [page for page, was in enumerate(before) if was and not chunk.populated[page]]
    spans = (start, end) == (gone[0], gone[-1] + 1) if gone else start >= end
    claim("TLB-1", spans, f"pages {start}..{end} are to be flushed of {gone}")
    high = scene.allocator.nr_empty_pop_pages >= scene.geometry.empty_high
    claim("RCL-4", not (back and high), "reclaim gave up although the float is high")
