"""Charging areas to object cgroups."""

from __future__ import annotations

from percpu_proofs.prove.small.case import claim
from percpu_proofs.prove.small.judging import call
from percpu_proofs.prove.small.obligation import BOTH, without_locks
from percpu_proofs.prove.small.scene import PAGES, Scene
from percpu_proofs.run.choices import assume
from percpu_spec.gfp import ACCOUNT, ATOMIC, KERNEL

REQUESTS = (
    "every size up to a unit of {pages} pages with {bits} map bits each, on 1 to 4 CPUs; with and "
    "without cgroups"
)


@without_locks(
    "ACC-1",
    "Memcg.memcg_pre_alloc_hook obj_full_size",
    words=REQUESTS + ", accounted or not; the charge fails or not",
    sizes=((2, 4), (8, 8)),
    cpus=range(1, 5),
    memcg=[False, True],
)
def charge_in_full(scene: Scene) -> None:
    """A charged request pays for every unit and its share of the vector, others nothing."""
    env = scene.allocator.env
    env.charge_fault.next = failing = scene.choose.number(2)
    env.has_objcg = scene.choose.bit()
    gfp = scene.choose.pick((KERNEL, KERNEL | ACCOUNT))
    goes_on = call(scene, "memcg_pre_alloc_hook", scene.request(), gfp)[0]
    due = scene.geometry.memcg and gfp & ACCOUNT and env.has_objcg
    wrong = "a request goes on without its charge, or stops without a cause"
    claim("ACC-1", goes_on != bool(due and failing), wrong)


@without_locks(
    "ACC-1",
    "Memcg.memcg_post_alloc_hook",
    words=REQUESTS + ", at every place, in a chunk with and without a vector, or failed",
    sizes=((2, 2), (4, 4)),
    cpus=range(1, 5),
    memcg=[False, True],
)
def settle_charge(scene: Scene) -> None:
    """A charge is noted at its area, or undone where there is no area or no vector."""
    allocator, choose = scene.allocator, scene.choose
    chunk = scene.put(scene.free_chunk())
    off, size = scene.area_in(chunk)
    who = choose.pick((chunk, allocator.first_chunk, None))
    objcg = choose.pick(("objcg", None))
    allocator.env.charged = allocator.obj_full_size(size) if objcg else 0
    call(scene, "memcg_post_alloc_hook", objcg, who, off, size)
    references, areas = allocator.env.objcg_refs, len(chunk.obj_exts or ())
    claim("ACC-1", references == areas, f"{references} references for {areas} areas")


@without_locks(
    "ACC-1",
    "Memcg.memcg_free_hook",
    words=REQUESTS + ", at every place, charged or not",
    sizes=((2, 2), (4, 4)),
    cpus=range(1, 5),
    memcg=[False, True],
)
def uncharge(scene: Scene) -> None:
    """A free uncharges what its area was charged, once."""
    allocator, env = scene.allocator, scene.allocator.env
    chunk = scene.put(scene.free_chunk())
    off, size = scene.area_in(chunk)
    env.charged = env.objcg_refs = 0
    if chunk.obj_exts is not None and scene.choose.bit():
        allocator.memcg_post_alloc_hook("objcg", chunk, off, size)
        env.charged = allocator.obj_full_size(size)
    for _ in range(2):
        call(scene, "memcg_free_hook", chunk, off, size)
        gone = not (env.charged or env.objcg_refs)
        claim("ACC-1", gone, "a charge or a reference outlives its area")


@without_locks(
    "ACC-1",
    "Operations.alloc_percpu free_percpu",
    words="accounted requests in " + PAGES + ": every size, atomic or not; waits killed, pages "
    "refused, or nothing; then freed again",
    sizes=((2, 2), (3, 2)),
    variants=BOTH,
    memcg=True,
)
def charged_round_trip(scene: Scene) -> None:
    """Bytes charged are those of live areas after an allocation, and none after its free."""
    env = scene.allocator.env
    chunk = scene.put(scene.chunk_of_pages())
    cause = scene.choose.number(4)
    assume(chunk.alloc_map.find(0) >= 0 or cause == 0)
    env.killed_waits = int(cause == 1)
    env.page_fault.kth = int(cause == 2)
    env.charge_fault.next = int(cause == 3)
    gfp = ACCOUNT | scene.choose.pick((KERNEL, ATOMIC))
    area = call(scene, "alloc_percpu", scene.request(), 4, False, gfp)
    if area is not None:
        call(scene, "free_percpu", area)
    settled = not (env.charged or env.objcg_refs)
    claim("ACC-1", settled, f"{env.charged} bytes stay charged and nothing is held")
    scene.judge_locks()
