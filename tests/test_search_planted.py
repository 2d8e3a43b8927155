"""What the search of a compiled kernel sees: each fault, planted, is told under its clause."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from kernel_trees import FOUND, MISSING
from planted import PLANTS, SETUP, SIZES, Plant, plant_all, with_field
from searched_trees import FEWEST, changed, search_library

from percpu_proofs.explore.scenario import KERNEL_32K, Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.kernel.build import compile_search
from percpu_proofs.kernel.instance import USUAL, Library
from percpu_proofs.kernel.search.compiled import LOCKS, CompiledSearch, SearchPlan
from percpu_proofs.kernel.search.job import TreeJob, run_here
from percpu_proofs.kernel.search.judge import SearchJudge
from percpu_proofs.kernel.search.plans import QUICK, TreeSearch, of_scenario, search_named
from percpu_proofs.run.operations import parse_operations

pytestmark = pytest.mark.skipif(not FOUND, reason=MISSING)


@pytest.fixture(scope="module")
def library(built: Path) -> Library:
    tree = changed(built / "tree", plant_all)
    header = tree.top / "mm/percpu-internal.h"
    header.write_text(with_field(header.read_text()))
    return compile_search(tree, built)


@pytest.fixture(scope="module")
def noting(library: Library, built: Path) -> Library:
    tree = changed(built / "noted", plant_all)
    header = tree.top / "mm/percpu-internal.h"
    header.write_text(with_field(header.read_text()))
    return compile_search(tree, built, notes_accesses=True, shared=built)


def _plan(name: str, plant: Plant) -> SearchPlan:
    names = [plant.after, name] if plant.after else [name]
    flags = "G" if "sizes" in plant.search else "-"
    texts = [f"a 1 {SIZES[each]} 4 {flags}" for each in names]
    requests = tuple(parse_operations(Path("alphabet"), texts).operations)
    if plant.scenario:
        plan = of_scenario(SCENARIOS[plant.scenario], fine=False).plan
        return replace(plan, operations=(("a", 999, *requests[0][2:]), *plan.operations))
    setup = tuple(parse_operations(Path("setup"), list(SETUP)).operations)
    plan = SearchPlan(KERNEL_32K, requests, setup, longest=len(names))
    more = dict(plant.search)
    if "sizes" in more:
        more["sizes"] = f"{KERNEL_32K},{more['sizes']}"
    return replace(plan, **more)


def _said(library: Library, plan: SearchPlan) -> set[tuple[str, str]]:
    """Return all that is broken: clauses, with what is said."""
    with CompiledSearch(library, plan) as search:
        while search.go(10_000):
            pass
        return {(broken.clause, broken.wrong) for broken in SearchJudge(search).look()}


@pytest.mark.parametrize("name", [n for n, p in PLANTS.items() if ": writes" not in p.found])
def test_what_is_planted_is_told(name: str, library: Library) -> None:
    plant = PLANTS[name]
    said = _said(library, _plan(name, plant))
    clause, _, part = plant.found.partition(": ")
    if not clause:
        assert {clause for clause, _ in said} <= {*FEWEST, "API-9"}, said
    else:
        assert any(c == clause and part in wrong for c, wrong in said), said


STOPPING = ("freed twice", "written behind", "never allocated")


@pytest.mark.parametrize("name", [*STOPPING, "nothing", "warning"])
def test_nothing_counts_as_searched_behind_a_stop(name: str, library: Library) -> None:
    search = TreeSearch("planted", "", _plan(name, PLANTS[name]))
    outcome = run_here(TreeJob("base", library, search))
    assert outcome.complete == (name not in STOPPING)
    assert ("in which the kernel stops" in outcome.bound) == (name in STOPPING)


@pytest.mark.parametrize("refusal", ["page", "metadata", "fourth metadata"])
def test_what_is_refused_is_named(refusal: str, library: Library) -> None:
    name = f"refused {refusal.split()[0]}"
    search = TreeSearch("planted", "", _plan(name, PLANTS[name]))
    example = run_here(TreeJob("base", library, search)).examples["BUG"]
    assert [step.refused for step in example.trace.steps] == [refusal]


@pytest.mark.parametrize("name", [n for n, p in PLANTS.items() if ": writes" in p.found])
def test_an_access_without_a_lock_is_told(name: str, noting: Library) -> None:
    plant = PLANTS[name]
    search = TreeSearch("planted", "", _plan(name, plant), notes_accesses=True)
    examples = run_here(TreeJob("base", noting, search)).examples
    clause, _, part = plant.found.partition(": ")
    assert part in examples[clause].message
    without = replace(search, plan=_plan("nothing", PLANTS["nothing"]))
    assert clause not in run_here(TreeJob("base", noting, without)).examples


@pytest.mark.parametrize(
    "search", [s for s in QUICK if s.plan.longest and s.form == USUAL], ids=lambda s: s.name
)
def test_nothing_else_is_told_of_the_tree(search: TreeSearch, built: Path) -> None:
    """No judge cries wolf at the tree as it is: refusals, charges, reserves, waits given up."""
    library = search_library(FOUND[-1], built / FOUND[-1].name)
    plan = replace(search.plan, longest=min(search.plan.longest - 1, 3))
    outcome = run_here(TreeJob("base", library, replace(search, plan=plan)))
    assert outcome.complete
    assert outcome.examples.keys() <= FEWEST.keys(), outcome.examples


@pytest.mark.parametrize(
    "scenario", [s for s in SCENARIOS.values() if s.sizes.backing == "vm"], ids=lambda s: s.name
)
def test_scenarios_have_their_verdict(scenario: Scenario, built: Path) -> None:
    """Where actors stand as the model's do, what reclaim decides is judged too."""
    library = search_library(FOUND[-1], built / FOUND[-1].name)
    outcome = run_here(TreeJob("base", library, of_scenario(scenario, fine=False)))
    verdict = scenario.expected("linux_6_12")
    assert verdict is not None
    assert outcome.examples.keys() == verdict.broken


def test_a_search_of_a_scenario_stops_wherever_the_kernel_may(built: Path) -> None:
    library = search_library(FOUND[-1], built / FOUND[-1].name)
    search = of_scenario(SCENARIOS["reuse"])
    at_locks = search.with_plan(points=LOCKS)
    finer, coarser = (run_here(TreeJob("base", library, one)) for one in (search, at_locks))
    assert finer.states > coarser.states
    assert finer.examples.keys() == coarser.examples.keys()


def test_a_state_counts_by_the_fewest_operations(built: Path) -> None:
    """States met first by more operations than it takes are left as if met by the fewest."""
    library = search_library(FOUND[-1], built / FOUND[-1].name)
    found = []
    for longest in (3, 4):
        plan = replace(search_named("pages").plan, longest=longest)
        with CompiledSearch(library, plan) as compiled:
            while compiled.go(50_000):
                pass
            nodes, count = compiled.lib.percpu_nodes, compiled.tally.states
            found.append(sum(nodes[i].operations <= 3 for i in range(count)))
    assert found[0] == found[1]
