"""Hypothesis draws operations and schedule; it and the explorer agree on which clauses fail."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from depth import deep_unless
from hypothesis import HealthCheck, find, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from percpu_proofs.explore.judges import StepJudge
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.search import Exploration
from percpu_proofs.explore.system import Start
from percpu_proofs.explore.world import World
from percpu_proofs.refine.allocator import checker_of
from percpu_reference import VARIANTS

SETUPS = ("reclaim-free", "reuse", "float-falls", "first-chunk", "second-free", "km-creates")
MORE = ("a 200 4096 4 A",)


@cache
def explored(scenario: Scenario, variant: str) -> Exploration:
    """Search all schedules of what was drawn."""
    result = search(scenario.start(variant), "matching", refine=True)
    assert result.complete
    return result


class Drawn(RuleBasedStateMachine):
    """One world, its operations and each of its steps drawn."""

    variant = ""
    asked: set[str]

    @initialize(name=st.sampled_from(SETUPS), data=st.data())
    def draw_operations(self, name: str, data: Any) -> None:
        base = SCENARIOS[name]
        more = () if "km" in base.geometry else MORE  # there chunks are created without end
        pool = st.sampled_from((*base.actors, *more))
        actors = data.draw(st.lists(pool, min_size=1, max_size=2, unique=True))
        self.scenario = replace(
            base, name="drawn", actors=tuple(sorted(actors)), works=1, verdicts={}
        )
        self.world = World(self.scenario.start(self.variant))
        self.result = Exploration("drawn")
        self.judge = StepJudge(self.result, checker_of(self.world.allocator, self.world.history))
        self.schedule: tuple[int, ...] = ()

    @rule(choices=st.lists(st.integers(0, 11), min_size=10, max_size=10))
    def run(self, choices: list[int]) -> None:
        """Let actors take steps, each time one of those that can."""
        for choice in choices:
            enabled = self.world.enabled()
            if enabled:
                step = enabled[choice % len(enabled)]
                self.schedule = (*self.schedule, step)
                self.judge.step(self.world, step, self.schedule)

    def teardown(self) -> None:
        """Let everything end; what was found here is found by the explorer."""
        if not hasattr(self, "judge"):
            return
        while self.world.enabled():
            self.run([0])
        self.judge.at_end(self.world, self.schedule)
        by_explorer = explored(self.scenario, self.variant)
        assert self.result.findings.keys() <= by_explorer.findings.keys()
        assert self.result.witnessed.keys() <= by_explorer.witnessed.keys()
        for clause, finding in self.result.findings.items():
            assert len(by_explorer.findings[clause].schedule) <= len(finding.schedule)
        self.asked.update(self.result.witnessed)


QUIET = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    max_examples=60,
    stateful_step_count=6,
)


@pytest.mark.parametrize(
    "variant", deep_unless(lambda variant: variant in ("linux_6_12", "reference"), VARIANTS)
)
def test_what_a_drawn_schedule_breaks_the_explorer_breaks(variant: str) -> None:
    asked: set[str] = set()
    machine = type(f"Drawn_{variant}", (Drawn,), {"variant": variant, "asked": asked})
    run_state_machine_as_test(machine, settings=QUIET)
    assert {"LIST-1", "FLT-1", "POP-2", "LOCK-1"} <= asked


def smallest(variant: str) -> dict[str, Scenario]:
    """Return for each clause that the explorer finds broken its smallest scenario."""
    by_size = sorted(SCENARIOS.values(), key=lambda s: -s.verdicts.get(variant, (10**9,))[0])
    pinned = [s for s in by_size if variant in s.verdicts]
    return {c: s for s in pinned for c in sorted(s.verdicts[variant].broken)}


Order = tuple[list[int], list[int], bool]
"""Who goes first; after how many steps each whoever is at work is put last; whether a request for
memory that may fail does. Preemptions are few, and mostly close together.
"""


def orders(start: Start) -> st.SearchStrategy[Order]:
    """Draw orders of the actors of a start and its runs of the work."""
    actors = range(len(start.operations) + start.works)
    waits = st.lists(st.integers(1, 2) | st.integers(1, 12), min_size=1, max_size=6)
    return st.tuples(st.permutations(actors), waits, st.booleans())


def broken(start: Start, order: Order) -> set[str]:
    """Return the clauses that a drawn schedule breaks."""
    first, waits, refused = list(order[0]), list(order[1]), order[2]
    result = Exploration("drawn")
    judge, world = StepJudge(result), World(start)
    schedule: tuple[int, ...] = ()
    while enabled := world.enabled():
        ranked = sorted(enabled, key=lambda s: (first.index(max(s, ~s)), (s < 0) != refused))
        step = ranked[0]
        if waits and not waits[0]:
            waits.pop(0)
            actor = max(step, ~step)
            first.remove(actor)
            first.append(actor)
            step = next((s for s in ranked if max(s, ~s) != actor), step)
        if waits:
            waits[0] -= 1
        schedule = (*schedule, step)
        judge.step(world, step, schedule)
    judge.at_end(world, schedule)
    return set(result.findings)


FAILING = [(variant, c, s) for variant in VARIANTS for c, s in smallest(variant).items()]
EASIEST = {c: v for v, c, s in sorted(FAILING, key=lambda row: -row[2].verdicts[row[0]].states)}
"""For each clause the variant with the smallest search that breaks it."""
LONG = ("shrink-race", "km-creates", "first-chunk")  # where few schedules show it


@pytest.mark.parametrize(
    ("variant", "clause", "scenario"),
    deep_unless(lambda v, clause, s: EASIEST[clause] == v and s.name not in LONG, FAILING),
    ids=lambda part: getattr(part, "name", part),
)
def test_what_the_explorer_breaks_a_drawn_schedule_breaks(
    variant: str, clause: str, scenario: Scenario
) -> None:
    start = scenario.start(variant)
    limits = settings(QUIET, max_examples=3000)
    drawn = find(orders(start), lambda order: clause in broken(start, order), settings=limits)
    assert clause in broken(start, drawn)
