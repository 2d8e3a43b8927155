"""Reclaim: the empty pages of a chunk on to_depopulate are released, whatever runs meanwhile."""

from __future__ import annotations

from percpu_contracts.clauses import reclaim
from percpu_proofs.prove.small.adversary import IN_GAPS, Adversary
from percpu_proofs.prove.small.case import ask, claim
from percpu_proofs.prove.small.judging import call
from percpu_proofs.prove.small.obligation import BOTH, obligation
from percpu_proofs.prove.small.scene import PAGES, Scene
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Gap

WAITING = PAGES.replace("a chunk", "an isolated chunk")
ELSEWHERE = "; up to 2 empty pages elsewhere"
ONE_ELSEWHERE = "; no or one empty page elsewhere"

PARTS = ("balance.Balance.reclaim_populated", "balance.Balance.depopulate_empty")


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


@obligation(
    "RCL-4",
    *PARTS,
    "balance.Balance.enter_released",
    "balance.Balance.sideline_chunk",
    words=WAITING + ELSEWHERE,
    sizes=((4, 1), (8, 1)),
    variants=BOTH,
    first_empty=range(3),
    mutex=True,
)
def reclaim_by_pages(scene: Scene) -> None:
    """Reclaim alone leaves no empty page, unless that would take the float below HIGH."""
    _reclaim_alone(scene, scene.isolate(scene.chunk_of_pages()))


@obligation(
    "RCL-4",
    *PARTS,
    words="an isolated chunk of {pages} pages with {bits} map bits each, any bits used, each empty "
    "page populated or not" + ONE_ELSEWHERE,
    sizes=((3, 2), (4, 2)),
    variants=BOTH,
    first_empty=range(2),
    mutex=True,
)
def reclaim_by_bits(scene: Scene) -> None:
    """Reclaim takes a page for empty exactly if none of its bits is used."""
    _reclaim_alone(scene, scene.isolate(scene.chunk_of_used_bits()))


@obligation(
    "RCL-3",
    *PARTS,
    words=WAITING.replace("an isolated chunk", "two isolated chunks") + ELSEWHERE,
    sizes=((2, 2), (3, 2)),
    variants=BOTH,
    first_empty=range(3),
    mutex=True,
)
def reclaim_of_two(scene: Scene) -> None:
    """Every chunk that waits is taken, and each gets its own flush."""
    _reclaim_alone(scene, *(scene.isolate(scene.chunk_of_pages()) for _ in range(2)))


@obligation(
    "ISO-1",
    *PARTS,
    words=WAITING + ONE_ELSEWHERE + IN_GAPS,
    sizes=((3, 2, 1), (4, 1, 1)),
    variants=BOTH,
    first_empty=range(2),
    mutex=True,
)
def reclaim_with_one_move(scene: Scene) -> None:
    """Whatever one other does in any gap, no page is used unpopulated, nothing is lost."""
    chunk, allocator = scene.isolate(scene.chunk_of_pages()), scene.allocator
    _reclaim(scene)
    if "RCL-3" not in allocator.EXPECTED and not allocator.work_pending:
        ask("RCL-3", reclaim.reclaim_is_done(allocator))
    elif chunk.isolated:
        first = allocator.chunk_lists[allocator.sidelined_slot].next
        claim("ISO-2", first is chunk, "a chunk reclaimed is neither back nor sidelined")


@obligation(
    "ISO-1",
    *PARTS,
    words=WAITING + ONE_ELSEWHERE + IN_GAPS,
    sizes=((2, 2, 2), (3, 2, 2)),
    variants=BOTH,
    first_empty=range(2),
    mutex=True,
)
def reclaim_with_two_moves(scene: Scene) -> None:
    """Whatever others do twice in the gaps, no page is used unpopulated, nothing is lost."""
    reclaim_with_one_move(scene)


@obligation(
    "RCL-4",
    "balance.Balance.depopulate_empty",
    words=WAITING + ELSEWHERE,
    sizes=((4, 1), (8, 1)),
    first_empty=range(3),
    mutex=True,
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
