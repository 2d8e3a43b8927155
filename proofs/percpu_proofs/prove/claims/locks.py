"""The two locks: who takes them, who releases them, and what is touched under them.

A guard looks at every taking and release, and at every look at populated bits and change of them.
"""

from __future__ import annotations

from percpu_proofs.prove.small.case import claim
from percpu_proofs.prove.small.judging import call
from percpu_proofs.prove.small.obligation import BOTH, with_both_locks, without_locks
from percpu_proofs.prove.small.scene import ANYWHERE, Scene
from percpu_spec.gfp import ATOMIC, KERNEL

LOCKS = ("LOCK-1", "LOCK-2")


@without_locks(
    "LOCK-1",
    "Operations.alloc_percpu populate_area undo_area add_chunk alloc_failed",
    words=ANYWHERE + "; every size up to a unit, atomic or not; any one request for pages fails, "
    "or none",
    sizes=((2, 2), (3, 2)),
    variants=BOTH,
    guarded=True,
)
def locks_of_alloc(scene: Scene) -> None:
    """An allocation takes each lock when it is free and releases it, and sleeps with neither."""
    scene.put_somewhere(scene.chunk_of_pages())
    request, gfp = scene.request(), scene.choose.pick((KERNEL, ATOMIC))
    if gfp == KERNEL:
        scene.allocator.env.page_fault.kth = scene.choose.number(4)
    call(scene, "alloc_percpu", request, 4, False, gfp, only=LOCKS)
    scene.judge_locks()


@without_locks(
    "LOCK-1",
    "Operations.free_percpu check_freed_chunk",
    words=ANYWHERE + "; every page's area freed",
    sizes=((3, 2), (5, 1)),
    variants=BOTH,
    guarded=True,
)
def locks_of_free(scene: Scene) -> None:
    """A free does all that it does under pcpu_lock, and takes no other."""
    chunk = scene.put_somewhere(scene.chunk_of_pages())
    page = scene.choose.number(chunk.nr_pages)
    call(scene, "free_percpu", (chunk, page * scene.geometry.page), only=LOCKS)
    scene.judge_locks()


@without_locks(
    "LOCK-2",
    "Balance.balance_workfn end_work balance_free balance_populated populate_holes "
    "reclaim_populated",
    words=ANYWHERE + ", beside a fully free one, each page populated or not; the float below LOW "
    "or above HIGH",
    sizes=((2, 2), (3, 2)),
    variants=BOTH,
    guarded=True,
)
def locks_of_work(scene: Scene) -> None:
    """The balance work holds pcpu_alloc_mutex throughout, and pcpu_lock in no gap."""
    scene.put_somewhere(scene.chunk_of_pages())
    scene.put(scene.free_chunk(scene.some_pages()))
    call(scene, "balance_workfn", only=LOCKS)
    scene.judge_locks()


@with_both_locks(
    "LOCK-2",
    "Chunks.chunk_populated chunk_depopulated",
    words=ANYWHERE + "; every range of its pages entered or given up",
    sizes=((2, 2), (4, 2)),
    variants=BOTH,
    guarded=True,
)
def locks_of_populated_bits(scene: Scene) -> None:
    """Populated bits change with both locks held, and both are held afterwards."""
    chunk, allocator = scene.put_somewhere(scene.chunk_of_pages()), scene.allocator
    name = scene.choose.pick(("chunk_populated", "chunk_depopulated"))
    call(scene, name, chunk, *scene.range_in(chunk.nr_pages), only=LOCKS)
    held = allocator.lock and allocator.alloc_mutex
    claim("LOCK-2", held, "a lock is released that the caller holds")
