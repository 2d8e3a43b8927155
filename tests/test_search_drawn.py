"""Programs drawn at random on compiled code: found, made small, tried on the other tree."""

from __future__ import annotations

from pathlib import Path

import pytest
from kernel_trees import FOUND, MISSING, tree_of
from searched_trees import FEWEST, SEARCHES, changed, freeing, search_library

from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.schedulers.random_order import Pct, Uniform
from percpu_proofs.explore.system import Scheduler, scheduled
from percpu_proofs.kernel.search.compiled import CompiledSearch, CompiledSystem
from percpu_proofs.kernel.search.example import broken_by, follow
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome, run_here
from percpu_proofs.kernel.search.judge import SearchJudge
from percpu_proofs.kernel.search.plans import deeper, of_scenario, shallower
from percpu_proofs.kernel.search.trees import CompiledTree, crosses
from percpu_proofs.run.choices import drawn

pytestmark = pytest.mark.skipif(not FOUND, reason=MISSING)
DRAWN = SEARCHES["drawn"]
LATE = "if (pcpu_nr_populated > 60) pcpu_nr_empty_pop_pages--;"
"""Goes wrong once there are eight full chunks: with more operations than lists are tried of."""


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory, built: Path) -> TreeOutcome:
    into = tmp_path_factory.mktemp("late")
    tree = CompiledTree(
        changed(into / "tree", freeing(LATE)), built / into.name, name="patched"
    )
    search = DRAWN.with_plan(programs=100)
    library = tree.search_library(search)
    return run_here(TreeJob(tree.name, library, search, known=frozenset(FEWEST)))


@pytest.mark.deep
def test_a_bug_that_comes_late_is_found_and_made_small(late: TreeOutcome) -> None:
    assert late.complete
    assert late.examples.keys() - FEWEST.keys() == {"FLT-1"}
    example = late.examples["FLT-1"]
    assert example.length > SEARCHES["pages"].plan.longest
    library = late.job.library
    with CompiledSearch(library, example.plan) as search:
        assert "FLT-1" in broken_by(search, library, example.labels, accesses=False)
    for left_out in range(len(example.labels)):
        labels = example.labels[:left_out] + example.labels[left_out + 1 :]
        with CompiledSearch(library, example.plan) as search:
            judge = SearchJudge(search)
            follow(search, labels)
            assert "FLT-1" not in {broken.clause for broken in judge.look()}, left_out


@pytest.mark.deep
def test_what_chance_finds_on_one_tree_is_tried_on_the_other(
    late: TreeOutcome, built: Path
) -> None:
    sound = CompiledTree(tree_of(FOUND[-1]), built / "sound")
    library = late.job.library
    same = CompiledTree(sound.tree, built, searchable={(library.form, False): library})
    broken = []
    for other in (sound, same):
        (job,) = crosses([other], [late])
        assert job.schedule == late.examples["FLT-1"].labels
        outcome = run_here(job)
        assert outcome.complete
        broken.append("FLT-1" in outcome.examples)
    assert broken == [False, True]
    assert not crosses([same], [late, outcome])


@pytest.mark.deep
def test_the_tree_itself_breaks_what_is_known(built: Path) -> None:
    library = search_library(FOUND[-1], built / FOUND[-1].name)
    search = DRAWN.with_plan(programs=20)
    outcome = run_here(TreeJob("base", library, search))
    assert {"BAL-2", "HINT-4"} <= outcome.examples.keys() <= FEWEST.keys()
    again = run_here(TreeJob("base", library, search))
    assert again.examples == outcome.examples  # drawn from a seed
    assert "20 drawn programs" in outcome.bound


@pytest.mark.parametrize("strategy", ["uniform", "pct"])
def test_schedulers_of_the_model_drive_the_compiled_kernel(strategy: str, built: Path) -> None:
    """They are one interface; a state that was saved is come back to."""
    plan = of_scenario(SCENARIOS["reclaim-frees"]).plan
    with CompiledSearch(search_library(FOUND[-1], built / FOUND[-1].name), plan) as search:
        judge = SearchJudge(search)
        system = CompiledSystem(search)
        begin, first = system.node, system.enabled()
        broken = set()
        for number in range(150):
            choices = drawn(f"{strategy}/{number}")
            pick: Scheduler = Uniform(choices) if strategy == "uniform" else Pct(choices, 3, 12)
            for step in scheduled(system, pick):
                assert system.step(step)
            assert not system.enabled()
            broken |= {found.clause for found in judge.look()}
            system.load(begin)
            assert system.enabled() == first
        assert broken == {"RCL-3"}


def test_more_and_fewer_programs() -> None:
    fewer, more = shallower(DRAWN).plan, deeper(DRAWN).plan
    assert fewer.programs < DRAWN.plan.programs < more.programs
    assert fewer.longest == DRAWN.plan.longest == more.longest
