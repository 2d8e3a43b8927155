"""Reclaim: the empty pages of a chunk on to_depopulate are released, whatever runs meanwhile."""

from __future__ import annotations

from percpu_contracts.clauses import reclaim
from percpu_proofs.prove.small.adversary import IN_GAPS, Adversary
from percpu_proofs.prove.small.judging import MethodCall, Wrong
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Gap
from percpu_reference.variants import Allocator

Cls = type[Allocator]

BOTH = ("linux_6_12", "reference")
WAITING = "an isolated chunk of {pages} pages, each unpopulated, empty or used"
ELSEWHERE = "; up to 2 empty pages elsewhere"

PARTS = ("balance.Balance.reclaim_populated", "balance.Balance.depopulate_empty")


def _waiting(scene: Scene, chunk: Chunk) -> Chunk:
    """Put a chunk on to_depopulate, from where nothing is hidden."""
    return scene.put(chunk, scene.allocator.to_depopulate_slot, isolated=True)


def _reclaimed(scene: Scene, adversary: Adversary) -> Wrong:
    """Run reclaim and judge what it leaves: nothing waits, nothing is stale, nothing is lost."""
    allocator = scene.allocator
    before = allocator.nr_empty_pop_pages

    def in_gap(gap: Gap) -> Wrong:
        wrong = adversary(gap)
        if wrong is None and not adversary.left and not allocator.monitor.history.concurrent:
            wrong = reclaim.float_stays_high(before, allocator.nr_empty_pop_pages, scene.geometry)
            return wrong and f"RCL-1: {wrong}"
        return wrong

    wrong = MethodCall(scene, "reclaim_populated").steps(in_gap)
    if wrong is None and allocator.monitor.history.stale:
        return "TLB-1: pages were released and never flushed"
    return wrong or scene.wrong() or scene.pages_wrong()


def _drained(scene: Scene, chunk: Chunk) -> Wrong:
    """RCL-4 for a chunk just reclaimed with nothing else running."""
    wrong = reclaim.chunk_is_drained(scene.allocator, chunk)
    if wrong is None and chunk.isolated and chunk.free_bytes == scene.geometry.unit:
        return "BAL-2: a fully free chunk was sidelined"
    return wrong and f"RCL-4: {wrong}"


@obligation(
    "RCL-4",
    *PARTS,
    "balance.Balance.enter_released",
    "balance.Balance.sideline_chunk",
    words=WAITING + ELSEWHERE,
    small=Size(4, 1),
    large=Size(8, 1),
    variants=BOTH,
)
def reclaim_by_pages(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Reclaim alone leaves no empty page, unless that would take the float below HIGH."""
    scene = Scene(cls, choose, size, first_empty=choose.number(3), mutex=True)
    chunk = _waiting(scene, scene.chunk_of_pages())
    return _reclaimed(scene, Adversary(scene, 0)) or _drained(scene, chunk)


@obligation(
    "RCL-4",
    *PARTS,
    words=(
        "an isolated chunk of {pages} pages with {bits} map bits each, any bits used, each empty "
        "page populated or not; no or one empty page elsewhere"
    ),
    small=Size(3, 2),
    large=Size(4, 2),
    variants=BOTH,
)
def reclaim_by_bits(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Reclaim takes a page for empty exactly if none of its bits is used."""
    scene = Scene(cls, choose, size, first_empty=choose.number(2), mutex=True)
    chunk = _waiting(scene, scene.chunk_of_used_bits())
    return _reclaimed(scene, Adversary(scene, 0)) or _drained(scene, chunk)


@obligation(
    "RCL-3",
    *PARTS,
    words="two " + WAITING.removeprefix("an ").replace("chunk", "chunks", 1) + ELSEWHERE,
    small=Size(2, 2),
    large=Size(3, 2),
    variants=BOTH,
)
def reclaim_of_two(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Every chunk that waits is taken, and each gets its own flush."""
    scene = Scene(cls, choose, size, first_empty=choose.number(3), mutex=True)
    chunks = [_waiting(scene, scene.chunk_of_pages()) for _ in range(2)]
    wrong = _reclaimed(scene, Adversary(scene, 0))
    return wrong or _drained(scene, chunks[0]) or _drained(scene, chunks[1])


def _with_adversary(cls: Cls, choose: Choices, size: Size) -> Wrong:
    scene = Scene(cls, choose, size, first_empty=choose.number(2), mutex=True)
    chunk = _waiting(scene, scene.chunk_of_pages())
    wrong = _reclaimed(scene, Adversary(scene, size.moves))
    allocator = scene.allocator
    if wrong is None and "RCL-3" not in allocator.EXPECTED and not allocator.work_pending:
        wrong = reclaim.reclaim_is_done(allocator)
        return wrong and f"RCL-3: {wrong}"
    if wrong is None and chunk.isolated and allocator.chunk_lists[allocator.sidelined_slot].next \
            is not chunk:
        return "ISO-2: a chunk reclaimed is neither back nor sidelined"
    return wrong


@obligation(
    "ISO-1",
    *PARTS,
    words=WAITING + "; no or one empty page elsewhere" + IN_GAPS,
    small=Size(3, 2, 1),
    large=Size(4, 1, 1),
    variants=BOTH,
)
def reclaim_with_one_move(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Whatever one other does in any gap, no page is used unpopulated, nothing is lost."""
    return _with_adversary(cls, choose, size)


@obligation(
    "ISO-1",
    *PARTS,
    words=WAITING + "; no or one empty page elsewhere" + IN_GAPS,
    small=Size(2, 2, 2),
    large=Size(3, 2, 2),
    variants=BOTH,
)
def reclaim_with_two_moves(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Whatever others do twice in the gaps, no page is used unpopulated, nothing is lost."""
    return _with_adversary(cls, choose, size)


@obligation(
    "RCL-4",
    "balance.Balance.depopulate_empty",
    words=WAITING + ELSEWHERE,
    small=Size(4, 1),
    large=Size(8, 1),
)
def released_span(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """What a release returns spans just the pages released, so that one flush covers them."""
    scene = Scene(cls, choose, size, first_empty=choose.number(3), mutex=True)
    allocator = scene.allocator
    chunk = _waiting(scene, scene.chunk_of_pages())
    before = list(chunk.populated)
    call = MethodCall(scene, "depopulate_empty", chunk)
    wrong = call.steps(Adversary(scene, 0))
    gone = [page for page in range(size.pages) if before[page] and not chunk.populated[page]]
    start, end, back = call.result
    if wrong is None and gone and (start, end) != (gone[0], gone[-1] + 1):
        return f"TLB-1: pages {start}..{end} are to be flushed of {gone}"
    if wrong is None and not gone and start < end:
        return f"TLB-1: pages {start}..{end} are to be flushed, none was released"
    if wrong is None and back and allocator.nr_empty_pop_pages >= scene.geometry.empty_high:
        return "RCL-4: reclaim gave up although the float is high"
    return wrong
