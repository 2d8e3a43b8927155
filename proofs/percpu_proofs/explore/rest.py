"""Coming to rest: the work that is still asked for when every caller is done."""

from __future__ import annotations

from typing import Any

from percpu_proofs.explore.world import World

MOST_RUNS = 64
"""Of the work, one after the other with nothing else to do, before it is taken to have no end."""

MOST_STEPS = 10_000
"""Of one run of the work alone."""


def drain(world: World) -> str | None:
    """Run the work that is still asked for when everybody is done, again and again, to rest.

    Return what is wrong if it comes to no rest (BAL-3): alone, it does the same every time.
    """
    allocator = world.allocator
    met: set[tuple[Any, ...]] = set()
    while allocator.work_pending:
        state = (*world.protected(), allocator.atomic_alloc_failed)
        if state in met:
            return "with nothing else to do, the work asks for itself again and changes nothing"
        met.add(state)
        if len(met) > MOST_RUNS:
            return f"with nothing else to do, the work asks for itself after {MOST_RUNS} runs"
        index = len(world.runners)
        world.works += 1
        runner = world.advance(index)
        for _ in range(MOST_STEPS):
            if runner.done or world.runaway:
                break
            world.advance(index)
        if not runner.done:
            return world.runaway or f"a run of the work has not ended after {MOST_STEPS} steps"
        world.drained += 1
    return None
