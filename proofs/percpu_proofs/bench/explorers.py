"""How fast the explorer is, beside a general explorer of threads on the same small scenario.

Both run on the real allocator: one free and one atomic allocation while a chunk is reclaimed. The
frontrun package traces threads at every access, the explorer steps generators at gaps, so this is
not like for like; it says what a search costs either way.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from percpu_proofs.explore.modes import Spread, search
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.search import Exploration, Mode
from percpu_proofs.kernel.search.job import TreeJob, run_here
from percpu_proofs.kernel.search.plans import TreeSearch, deeper, of_scenario, search_named
from percpu_proofs.kernel.search.trees import CompiledTree
from percpu_proofs.run.processes import default_jobs

SCENARIO, SMALL = "reclaim-frees", "reclaim-free"
STEPS = 60_000  # judged one by one where every schedule is run
SHARED_STEPS = 600_000  # and where processes share them, so that their start counts for little
SECONDS = 5.0  # for frontrun


@dataclass(frozen=True, slots=True)
class Rate:
    """One way to search: what it ran, in CPU seconds; in seconds where processes share it."""

    way: str
    scenario: str
    schedules: int
    steps: int  # judged
    covered: int  # steps of all the schedules that were counted
    states: int
    seconds: float

    @property
    def schedules_per_second(self) -> float:
        """Schedules from the start to an end, counted or run."""
        return self.schedules / self.seconds

    def as_json(self) -> dict[str, Any]:
        """Return plain values only."""
        return asdict(self) | {
            "schedules_per_second": round(self.schedules_per_second, 1),
            "steps_per_second": round(self.steps / self.seconds, 1),
            "steps_in_effect_per_second": round(self.covered / self.seconds, 1),
        }


def measure(variant: str) -> list[Rate]:
    """Return the rates of the explorer, and of frontrun if it is installed."""
    rates = [
        _timed("every schedule, run again", variant, SCENARIO, "all"),
        _shared(variant),
        _timed("states matched", variant, SCENARIO, "matching"),
        _timed("every schedule, run again", variant, SMALL, "all"),
    ]
    other = _frontrun(variant)
    return rates if other is None else [*rates, other]


def _timed(way: str, variant: str, name: str, mode: Mode) -> Rate:
    start = SCENARIOS[name].start(variant)
    began = time.process_time()
    result: Exploration = search(start, mode, max_steps=STEPS)
    seconds = time.process_time() - began
    return Rate(way, name, result.schedules, result.steps, result.covered, result.states, seconds)


def _shared(variant: str) -> Rate:
    jobs = default_jobs()
    result = Spread(jobs).every_schedule(SCENARIOS[SCENARIO], variant, max_steps=SHARED_STEPS)
    counts = result.schedules, result.steps, result.covered, 0
    return Rate(f"every schedule, {jobs} processes", SCENARIO, *counts, result.seconds)


def _frontrun(variant: str) -> Rate | None:
    """Let frontrun run the same operations for some seconds; None if it does not run here.

    It has to be in place before threads and locks are made, so it runs a process of its own.
    """
    command = shutil.which("frontrun", path=os.path.dirname(sys.executable))
    if command is None:
        return None
    inner = [sys.executable, "-m", "percpu_proofs.bench.frontrun", variant, SMALL, str(SECONDS)]
    done = subprocess.run([command, *inner], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    found = json.loads(done.stdout.splitlines()[-1])
    return Rate("frontrun, threads", SMALL, found["schedules"], 0, 0, 0, found["seconds"])


def _compiled(tree: CompiledTree, search: TreeSearch) -> Rate:
    """Return the rate of a search of compiled code, every state and step judged."""
    library = tree.search_library(search)
    began = time.process_time()
    found = run_here(TreeJob(tree.name, library, search))
    seconds = time.process_time() - began
    return Rate(
        "compiled kernel, states matched", search.name, int(max(found.schedules, 0)), found.edges,
        found.edges, found.states, seconds,
    )  # fmt: skip


def of_tree(tree: CompiledTree) -> list[Rate]:
    """Return the rates of two searches of a tree: a scenario, and lists to a million states."""
    million = deeper(search_named("whole")).with_plan(most_states=1_000_000)
    return [
        _compiled(tree, of_scenario(SCENARIOS[SCENARIO], fine=False)),
        _compiled(tree, million),
    ]
