"""A random scheduler over the three kinds of operations; what a class checks itself is checked."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from workloads import boot

from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ACCOUNT, KERNEL

SHARE = {True: 0.55, False: 0.25}  # of allocations, while the population grows and shrinks


def run_randomly(
    cls: type[Any], geometry: Geometry, seed: int, steps: int, actors: int = 4
) -> Counter[str]:
    """Let actors take random steps; return how often each action of the machine was taken."""
    rng = Random(seed)
    allocator: Any = boot(cls, geometry, None)
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
