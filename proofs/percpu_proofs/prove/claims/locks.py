"""The two locks: who takes them, who releases them, and what is touched under them.

A guard looks at every taking and release, and at every look at populated bits and change of them.
"""

from __future__ import annotations

from percpu_proofs.prove.claims.population import page_range
from percpu_proofs.prove.small.adversary import Adversary
from percpu_proofs.prove.small.judging import MethodCall, Wrong
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices
from percpu_reference.variants import Allocator
from percpu_spec.gfp import ATOMIC, KERNEL

Cls = type[Allocator]

BOTH = ("linux_6_12", "reference")
ANYWHERE = "a chunk of {pages} pages, each unpopulated, empty or used, wherever it may be"
LOCKS = ("LOCK-1", "LOCK-2")


def _scene(cls: Cls, choose: Choices, size: Size, *, locked: bool) -> Scene:
    scene = Scene(cls, choose, size, lock=locked, mutex=locked, guarded=True)
    scene.put_somewhere(scene.chunk_of_pages())
    return scene


def _kept(scene: Scene, wrong: Wrong) -> Wrong:
    """Judge the locks after an operation from outside."""
    allocator = scene.allocator
    if wrong is None and (allocator.lock or allocator.alloc_mutex):
        return "LOCK-2: a lock is held after the operation"
    return wrong


@obligation(
    "LOCK-1",
    "operations.Operations.alloc_percpu",
    "operations.Operations.populate_area",
    "operations.Operations.undo_area",
    "operations.Operations.add_chunk",
    "operations.Operations.alloc_failed",
    words=ANYWHERE + "; every size up to a unit, atomic or not; any one request for pages fails, "
    "or none",
    small=Size(2, 2),
    large=Size(3, 2),
    variants=BOTH,
)
def locks_of_alloc(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """An allocation takes each lock when it is free and releases it, and sleeps with neither."""
    scene = _scene(cls, choose, size, locked=False)
    request = 4 * (1 + choose.number(scene.geometry.unit_bits))
    gfp = (KERNEL, ATOMIC)[choose.number(2)]
    if gfp == KERNEL:
        scene.allocator.env.page_fault.kth = choose.number(4)
    call = MethodCall(scene, "alloc_percpu", request, 4, False, gfp, only=LOCKS)
    return _kept(scene, call.steps(Adversary(scene, 0)))


@obligation(
    "LOCK-1",
    "operations.Operations.free_percpu",
    "operations.Operations.check_freed_chunk",
    words=ANYWHERE + "; every page's area freed",
    small=Size(3, 2),
    large=Size(5, 1),
    variants=BOTH,
)
def locks_of_free(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A free does all that it does under pcpu_lock, and takes no other."""
    scene = _scene(cls, choose, size, locked=False)
    chunk, page = scene.made[0], choose.number(size.pages)
    call = MethodCall(scene, "free_percpu", (chunk, page * scene.geometry.page), only=LOCKS)
    return _kept(scene, call.steps(Adversary(scene, 0)))


@obligation(
    "LOCK-2",
    "balance.Balance.balance_workfn",
    "balance.Balance.end_work",
    "balance.Balance.balance_free",
    "balance.Balance.balance_populated",
    "balance.Balance.populate_holes",
    "balance.Balance.reclaim_populated",
    words=ANYWHERE + ", beside a fully free one, each page populated or not; the float below LOW "
    "or above HIGH",
    small=Size(2, 2),
    large=Size(3, 2),
    variants=BOTH,
)
def locks_of_work(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """The balance work holds pcpu_alloc_mutex throughout, and pcpu_lock in no gap."""
    scene = _scene(cls, choose, size, locked=False)
    empty = [choose.number(2) for _ in range(size.pages)]
    scene.put(scene.chunk([0] * (size.pages * size.bits), empty))
    call = MethodCall(scene, "balance_workfn", only=LOCKS)
    return _kept(scene, call.steps(Adversary(scene, 0)))


@obligation(
    "LOCK-2",
    "chunks.Chunks.chunk_populated",
    "chunks.Chunks.chunk_depopulated",
    words=ANYWHERE + "; every range of its pages entered or given up",
    small=Size(2, 2),
    large=Size(4, 2),
    variants=BOTH,
)
def locks_of_populated_bits(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Populated bits change with both locks held, and both are held afterwards."""
    scene = _scene(cls, choose, size, locked=True)
    name = ("chunk_populated", "chunk_depopulated")[choose.number(2)]
    wrong = MethodCall(scene, name, scene.made[0], *page_range(choose, size), only=LOCKS).run()
    if wrong is None and not (scene.allocator.lock and scene.allocator.alloc_mutex):
        return "LOCK-2: a lock is released that the caller holds"
    return wrong
