"""The frontrun package at work on a scenario; run under its command, prints one line of JSON."""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from collections.abc import Callable

from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.system import Start
from percpu_proofs.explore.world import World


class WorldLock:
    """A world, and a lock under which each step is taken: threads switch where actors may."""

    def __init__(self, start: Start) -> None:
        self.world = World(start)
        self.lock = threading.Lock()


def thread(actor: int) -> Callable[[WorldLock], None]:
    """Return what the thread of an actor does: its steps, as long as it can take any."""

    def run(shared: WorldLock) -> None:
        while True:
            with shared.lock:
                if actor not in shared.world.enabled():
                    return
                shared.world.step(actor)

    return run


def explore(start: Start, seconds: float) -> dict[str, float]:
    """Return how many schedules frontrun runs in about so many seconds."""
    frontrun = importlib.import_module("frontrun")  # of the extra `bench`, not always there
    began = time.perf_counter()
    found = frontrun.explore(
        setup=lambda: WorldLock(start),
        workers=[thread(actor) for actor in range(len(start.operations) + 1)],
        invariant=lambda shared: True,
        stop_on_first=False,
        preemption_bound=None,
        total_timeout=seconds,
        detect_io=False,
    )
    return {"schedules": found.num_explored, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    variant, scenario, limit = sys.argv[1:]
    print(json.dumps(explore(SCENARIOS[scenario].start(variant), float(limit))))
