"""Concrete runs at random in which the actions of a machine fire, each step held against it."""

from __future__ import annotations

import functools
from collections import Counter
from random import Random
from typing import Any

from percpu_proofs.refine.allocator import refined
from percpu_reference.variants import variant_class
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ACCOUNT, KERNEL
from percpu_spec.protocol.variants import MACHINES

# blocks of 16 bits, units of 12 pages; with a hidden chunk; and of the kernel's size
_GEOMETRIES = (
    Geometry(page=64, unit=768, static=72, reserved=0, dyn=376, least_unit=384, cpus=2, memcg=True),
    Geometry(page=64, unit=768, static=38, reserved=132, dyn=310, least_unit=384, cpus=3),
    Geometry(unit=32768, static=4096, reserved=0, dyn=20480, cpus=2),
)
_SEEDS = 7
_STEPS = 2500


@functools.cache
def fired(variant: str) -> Counter[str]:
    """Return how often each action of a variant's machine fires in runs of its allocator.

    Raises StepMismatch at a step that is no action.
    """
    cls = refined(variant_class(variant), MACHINES[variant])
    found: Counter[str] = Counter()
    for seed in range(_SEEDS):
        for geometry in _GEOMETRIES:
            found += run_randomly(cls, geometry, seed, _STEPS, actors=2 + seed % 6)
    return found


SHARE = {True: 0.55, False: 0.25}  # of allocations, while the population grows and shrinks


def run_randomly(
    cls: type[Any], geometry: Geometry, seed: int, steps: int, actors: int = 4
) -> Counter[str]:
    """Let actors take random steps; return how often each action of the machine was taken."""
    rng = Random(seed)
    allocator: Any = cls(geometry, stats=True)
    allocator.spin_lock()
    allocator.setup_first_chunk()
    allocator.spin_unlock()
    page, largest = geometry.page, geometry.largest
    sizes = (4, page // 4, page, page + 4, 2 * page, 3 * page, largest // 2, largest)
    live: list[Any] = []
    running: list[tuple[str, Any]] = []
    fired: Counter[str] = Counter()
    for number in range(steps):
        if len(running) < actors and rng.random() < 0.6:
            kind = rng.random()
            if kind < SHARE[number // 300 % 2 == 0]:
                size = sizes[int(rng.random() * (2, 4, 6, 8)[int(rng.random() * 4)])]
                gfp = (KERNEL, KERNEL, 0, ACCOUNT | KERNEL)[int(rng.random() * 4)]
                reserved = geometry.reserved > 0 and rng.random() < 0.1
                running.append(("a", allocator.alloc_percpu(size, 4, reserved, gfp)))
            elif kind < 0.9 and live:
                area = live.pop(int(rng.random() * len(live)))
                running.append(("f", allocator.free_percpu(area)))
            elif "b" not in [what for what, _ in running]:
                running.append(("b", allocator.balance_workfn()))
        if rng.random() < 0.04:
            allocator.env.page_fault.next = 1
        if not running:
            continue
        chosen = running[int(rng.random() * len(running))]
        try:
            next(chosen[1])
        except StopIteration as stop:
            running.remove(chosen)
            if chosen[0] == "a" and stop.value is not None:
                live.append(stop.value)
        fired.update(allocator.checker.taken)
    return fired
