"""Charging areas to object cgroups."""

from __future__ import annotations

from percpu_proofs.prove.small.adversary import Adversary
from percpu_proofs.prove.small.judging import MethodCall, Wrong
from percpu_proofs.prove.small.obligation import Size, obligation
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.variants import Allocator
from percpu_spec.gfp import ACCOUNT, ATOMIC, KERNEL

Cls = type[Allocator]

REQUESTS = "every size up to a unit of {pages} pages with {bits} map bits each, on 1 to 4 CPUs"
CHARGED = "; with and without cgroups"


def _scene(cls: Cls, choose: Choices, size: Size) -> Scene:
    """Return an allocator on 1 to 4 CPUs that charges or not."""
    cpus, memcg = 1 + choose.number(4), bool(choose.number(2))
    return Scene(cls, choose, size, lock=False, cpus=cpus, memcg=memcg)


@obligation(
    "ACC-1",
    "memcg.Memcg.memcg_pre_alloc_hook",
    "memcg.Memcg.obj_full_size",
    words=REQUESTS + CHARGED + ", accounted or not; the charge fails or not",
    small=Size(2, 4),
    large=Size(8, 8),
)
def charge_in_full(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A charged request pays for every unit and its share of the vector, others nothing."""
    scene = _scene(cls, choose, size)
    env = scene.allocator.env
    env.charge_fault.next = choose.number(2)
    env.has_objcg = bool(choose.number(2))
    failing = env.charge_fault.next
    gfp = (KERNEL, KERNEL | ACCOUNT)[choose.number(2)]
    bits = 1 + choose.number(scene.geometry.unit_bits)
    call = MethodCall(scene, "memcg_pre_alloc_hook", 4 * bits, gfp)
    wrong = call.run()
    due = scene.geometry.memcg and gfp & ACCOUNT and env.has_objcg
    if wrong is None and call.result[0] == bool(due and failing):
        return "ACC-1: a request goes on without its charge, or stops without a cause"
    return wrong


@obligation(
    "ACC-1",
    "memcg.Memcg.memcg_post_alloc_hook",
    words=REQUESTS + CHARGED + ", at every place, in a chunk with and without a vector, or failed",
    small=Size(2, 2),
    large=Size(4, 4),
)
def settle_charge(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A charge is noted at its area, or undone where there is no area or no vector."""
    scene = _scene(cls, choose, size)
    allocator = scene.allocator
    chunk = scene.put(scene.chunk([0] * (size.pages * size.bits), [1] * size.pages))
    start = choose.number(chunk.map_bits)
    bits = 1 + choose.number(chunk.map_bits - start)
    who = (chunk, allocator.first_chunk, None)[choose.number(3)]
    objcg = ("objcg", None)[choose.number(2)]
    allocator.env.charged = allocator.obj_full_size(4 * bits) if objcg else 0
    call = MethodCall(scene, "memcg_post_alloc_hook", objcg, who, 4 * start, 4 * bits)
    wrong = call.run()
    held = len(chunk.obj_exts or ())
    if wrong is None and allocator.env.objcg_refs != held:
        return f"ACC-1: {allocator.env.objcg_refs} references for {held} areas"
    return wrong


@obligation(
    "ACC-1",
    "memcg.Memcg.memcg_free_hook",
    words=REQUESTS + CHARGED + ", at every place, charged or not",
    small=Size(2, 2),
    large=Size(4, 4),
)
def uncharge(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """A free uncharges what its area was charged, once."""
    scene = _scene(cls, choose, size)
    allocator = scene.allocator
    chunk = scene.put(scene.chunk([0] * (size.pages * size.bits), [1] * size.pages))
    start = choose.number(chunk.map_bits)
    bits = 1 + choose.number(chunk.map_bits - start)
    allocator.env.charged = allocator.env.objcg_refs = 0
    if chunk.obj_exts is not None and choose.number(2):
        allocator.memcg_post_alloc_hook("objcg", chunk, 4 * start, 4 * bits)
        allocator.env.charged = allocator.obj_full_size(4 * bits)
    for _ in range(2):
        wrong = MethodCall(scene, "memcg_free_hook", chunk, 4 * start, 4 * bits).run()
        if wrong is None and (allocator.env.charged or allocator.env.objcg_refs):
            wrong = "ACC-1: a charge or a reference outlives its area"
        if wrong is not None:
            return wrong
    return None


@obligation(
    "ACC-1",
    "operations.Operations.alloc_percpu",
    "operations.Operations.free_percpu",
    words="accounted requests in a chunk of {pages} pages, each unpopulated, empty or used: every "
    "size, atomic or not; waits killed, pages refused, or nothing; then freed again",
    small=Size(2, 2),
    large=Size(3, 2),
    variants=("linux_6_12", "reference"),
)
def charged_round_trip(cls: Cls, choose: Choices, size: Size) -> Wrong:
    """Bytes charged are those of live areas after an allocation, and none after its free."""
    scene = Scene(cls, choose, size, lock=False, memcg=True)
    allocator = scene.allocator
    scene.put(scene.chunk_of_pages())
    cause = choose.number(4)
    assume(not scene.made[0].alloc_map.find(0) < 0 or cause == 0)
    allocator.env.killed_waits = int(cause == 1)
    allocator.env.page_fault.kth = int(cause == 2)
    allocator.env.charge_fault.next = int(cause == 3)
    gfp = ACCOUNT | (KERNEL, ATOMIC)[choose.number(2)]
    request = 4 * (1 + choose.number(scene.geometry.unit_bits))
    call = MethodCall(scene, "alloc_percpu", request, 4, False, gfp)
    wrong = call.steps(Adversary(scene, 0))
    if wrong is None and call.result is not None:
        wrong = MethodCall(scene, "free_percpu", call.result).steps(Adversary(scene, 0))
    if wrong is None and (allocator.env.charged or allocator.env.objcg_refs):
        return f"ACC-1: {allocator.env.charged} bytes stay charged and nothing is held"
    if wrong is None and (allocator.lock or allocator.alloc_mutex):
        return "LOCK-2: a lock is held after the operation"
    return wrong
