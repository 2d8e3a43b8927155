"""The balance work around reclaim: free chunks are destroyed, the float is topped up."""

from __future__ import annotations

from percpu_contracts.clauses import balance, reclaim
from percpu_contracts.functions import fast
from percpu_proofs.prove.small.adversary import IN_GAPS, Adversary
from percpu_proofs.prove.small.judging import MethodCall, Wrong, broken
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator

Cls = type[Allocator]

BOTH = ("linux_6_12", "reference")
PAGES = "a chunk of {pages} pages, each unpopulated, empty or used"
ANYWHERE = PAGES + ", wherever it may be"
FREES = "two fully free chunks of {pages} pages, each page populated or not, and one in use"


def _free_chunk(scene: Scene) -> Chunk:
    """Return a fully free chunk on the free list; each page is populated or not."""
    size = scene.size
    populated = [scene.choose.number(2) for _ in range(size.pages)]
    return scene.put(scene.chunk([0] * (size.pages * size.bits), populated))


def _balance_free(cls: Cls, choose: Choices, size: Size) -> Wrong:
    scene = Scene(cls, choose, size, mutex=True)
    allocator = scene.allocator
    chunks = [_free_chunk(scene) for _ in range(2)]
    scene.put(scene.chunk([1] * (size.pages * size.bits), [1] * size.pages))
    empty_only = bool(choose.number(2))
    spared = {chunks[0]} | {c for c in chunks if empty_only and c.nr_empty_pop_pages}
    call = MethodCall(scene, "balance_free", empty_only)
    wrong = call.steps(Adversary(scene, size.moves)) or scene.wrong() or scene.pages_wrong()
    alive = list(allocator.chunks())
    if wrong is None and {c for c in chunks if any(c is a for a in alive)} != spared:
        return "BAL-2: other chunks were destroyed than all but the first on the free list"
    return wrong


@obligation(
    "BAL-2",
    "balance.Balance.balance_free",
    "balance.Balance.condemn_chunk",
    "backing.VmBacking.destroy_chunk",
    words=FREES,
    small=Size(3, 2),
    large=Size(5, 1),
)
def free_chunks_go(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """All free chunks but the first are destroyed, or those without pages; pages are freed."""
    return _balance_free(cls, choose, size)


@obligation(
    "ISO-1",
    "balance.Balance.balance_free",
    "balance.Balance.condemn_chunk",
    words=FREES + IN_GAPS,
    small=Size(2, 2, 1),
    large=Size(2, 2, 2),
    variants=BOTH,
)
def free_chunks_go_unseen(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A chunk about to be destroyed cannot be allocated from, whatever others do."""
    return _balance_free(cls, choose, size)


def _populated(scene: Scene, adversary: Adversary) -> Wrong:
    """Top the float up and judge: nothing is lost, and it is high unless something failed."""
    allocator = scene.allocator
    fault = allocator.env.page_fault
    armed = scene.choose.number(2)
    fault.kth = 3 * armed
    wrong = MethodCall(scene, "balance_populated").steps(adversary)
    wrong = wrong or scene.wrong() or scene.pages_wrong()
    failed = armed and not fault.kth
    high = allocator.nr_empty_pop_pages >= scene.geometry.empty_high
    moved = allocator.monitor.history.concurrent and not adversary.left
    if wrong is None and not (failed or high or moved) and "BAL-1" not in allocator.EXPECTED:
        return f"BAL-1: the float is {allocator.nr_empty_pop_pages} after balance work"
    return wrong


@obligation(
    "POP-4",
    "balance.Balance.balance_populated",
    "balance.Balance.populate_holes",
    "balance.Balance.pages_to_populate",
    "balance.Balance.first_unpopulated",
    words=ANYWHERE + "; after a failed atomic request or not; a population fails or not",
    small=Size(3, 2),
    large=Size(5, 1),
    variants=BOTH,
)
def float_is_topped_up(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Pages populated are counted and held; fixed, the float is HIGH unless something failed."""
    scene = Scene(cls, choose, size, mutex=True, empty_high=2)
    scene.put_somewhere(scene.chunk_of_pages())
    scene.allocator.atomic_alloc_failed = bool(choose.number(2))
    return _populated(scene, Adversary(scene, 0))


@obligation(
    "POP-2",
    "balance.Balance.balance_populated",
    "balance.Balance.populate_holes",
    words=PAGES + ", on its list" + IN_GAPS,
    small=Size(3, 2, 1),
    large=Size(3, 2, 2),
    variants=BOTH,
)
def float_is_topped_up_meanwhile(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Whatever others do while pages are populated, none is used without, nothing is lost."""
    scene = Scene(cls, choose, size, mutex=True)
    scene.put(scene.chunk_of_pages())
    return _populated(scene, Adversary(scene, size.moves))


@obligation(
    "BAL-1",
    "balance.Balance.enter_populated",
    words=ANYWHERE + "; every range of unpopulated pages",
    small=Size(4, 1),
    large=Size(6, 1),
    variants=("reference",),
    refuted=("linux_6_12",),
)
def populated_pages_raise_the_float(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Pages that the balance work populates raise the float."""
    scene = Scene(cls, choose, size, mutex=True)
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    start = choose.number(size.pages)
    end = start + 1 + choose.number(size.pages - start)
    assume(chunk.populated.find(1, start, end) < 0)
    call = MethodCall(scene, "enter_populated", chunk, start, end, only=("BAL-1",))
    return call.run() or scene.wrong()


@obligation(
    "POP-3",
    "balance.Balance.enter_populated",
    words=PAGES + ", on its list; every range of unpopulated pages",
    small=Size(4, 1),
    large=Size(7, 1),
)
def populated_pages_are_entered(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Pages populated in a chunk in circulation raise the float and are counted."""
    scene = Scene(cls, choose, size, mutex=True)
    chunk = scene.put(scene.chunk_of_pages())
    start = choose.number(size.pages)
    end = start + 1 + choose.number(size.pages - start)
    assume(chunk.populated.find(1, start, end) < 0)
    call = MethodCall(scene, "enter_populated", chunk, start, end, only=("BAL-1",))
    return call.run() or scene.wrong()


@obligation(
    "LIST-1",
    "balance.Balance.balance_create",
    words="units of 1 to {pages} pages; any one request of the kernel fails, or none",
    small=Size(4, 4),
    large=Size(16, 4),
)
def created_chunk_is_listed(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A chunk that the work creates is on the free list and in nobody's hands."""
    shape = Size(1 + choose.number(size.pages), size.bits)
    scene = Scene(cls, choose, shape, lock=False, mutex=True)
    env = scene.allocator.env
    (env.metadata_fault, env.vm_fault)[choose.number(2)].kth = choose.number(6)
    call = MethodCall(scene, "balance_create", 0)
    wrong = call.run() or scene.wrong()
    allocator = scene.allocator
    if wrong is None and (not allocator.lock or list(allocator.owned_chunks())):
        return "LIST-1: the chunk created is still owned, or pcpu_lock not held"
    return wrong


@obligation(
    "BAL-3",
    "balance.Balance.balance_workfn",
    "balance.Balance.end_work",
    *(f"balance.Balance.{n}" for n in ("balance_free", "balance_populated", "reclaim_populated")),
    words=ANYWHERE + ", and a fully free one; a failed atomic request before or not",
    small=Size(2, 2),
    large=Size(4, 1),
    variants=BOTH,
)
def work_runs_to_its_end(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The work ends, holds no lock, owns nothing; fixed, nothing is left for it to do."""
    scene = Scene(cls, choose, size, lock=False, first_empty=choose.number(2))
    allocator = scene.allocator
    scene.put_somewhere(scene.chunk_of_pages())
    _free_chunk(scene)
    allocator.work_pending = True
    allocator.atomic_alloc_failed = bool(choose.number(2))
    adversary = Adversary(scene, 0)
    runs = 0
    while allocator.work_pending:
        runs += 1
        wrong = MethodCall(scene, "balance_workfn").steps(adversary) or scene.wrong()
        if wrong is None and (allocator.lock or allocator.alloc_mutex):
            wrong = "LOCK-2: a lock is held after the balance work"
        if wrong is not None:
            return wrong
        if runs > 4:
            return "BAL-3: the balance work asks for itself again and again"
    for clause, found in (
        ("RCL-3", reclaim.reclaim_is_done(allocator)),
        ("BAL-2", balance.one_free_chunk(allocator)),
    ):
        if found and clause not in allocator.EXPECTED:
            return f"{clause}: {found}"
    return scene.pages_wrong()


@obligation(
    "FLT-1",
    "balance.Balance.balance",
    words=ANYWHERE + "; nothing else running",
    small=Size(2, 2),
    large=Size(4, 1),
    variants=BOTH,
)
def balance_alone(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The work run as one step leaves the counters true, and does what was asked for."""
    scene = Scene(cls, choose, size, lock=False, first_empty=choose.number(2))
    allocator = scene.allocator
    scene.put_somewhere(scene.chunk_of_pages())
    allocator.balance()
    held = allocator.EXPECTED
    found = ((c, w) for c, w in fast.balance_holds(allocator) if c not in held)
    return broken(found) or scene.wrong() or scene.pages_wrong()
