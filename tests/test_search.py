"""The compiled kernel searched by itself, on the Linux trees that Debian's packages bring."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from depth import deep_unless
from kernel_trees import FOUND, MISSING, PATCHES, tree_of
from search_bugs import EDITS, HARMLESS, HIGH, Edit
from searched_trees import (
    FEWEST,
    SEARCHES,
    SOURCE,
    changed,
    edited,
    freeing,
    outcome_of,
    search_library,
)

from percpu_proofs.counterexample.mail import mail
from percpu_proofs.counterexample.of_model import of_token
from percpu_proofs.counterexample.of_tree import of_tree
from percpu_proofs.counterexample.text import text
from percpu_proofs.explore.modes import search as model_search
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.kernel import build
from percpu_proofs.kernel.instance import Library
from percpu_proofs.kernel.search.compiled import CompiledSearch
from percpu_proofs.kernel.search.job import TreeJob, run_here
from percpu_proofs.kernel.search.judge import SearchJudge
from percpu_proofs.kernel.search.plans import (
    TreeSearch,
    deeper,
    of_scenario,
    shallower,
)
from percpu_proofs.kernel.search.records import SearchState
from percpu_proofs.kernel.search.tree_token import found_by
from percpu_proofs.kernel.tree import Tree, apply_patch, copy_tree
from percpu_proofs.show.mail import LINES, WIDTH
from percpu_reference.variants.linux_6_12 import Linux612

pytestmark = pytest.mark.skipif(not FOUND, reason=MISSING)
NESTED = "{ static DEFINE_SPINLOCK(inner); spin_lock(&inner); barrier(); spin_unlock(&inner); }"
"""A lock taken within pcpu_lock: nobody else runs where it is released."""
SAME = ("reclaim-free", "reclaim-frees", "reuse", "freed-whole", "shrink-race", "first-chunk")
"""Scenarios in which nobody creates a chunk: the model has gaps there where the C has no stop."""
_DEAD_WORDS = 1.2
FIXES = sorted(p for p in PATCHES.iterdir() if not p.name.startswith("L5"))
"""The fixes of `reference` that apply beside each other."""


@pytest.mark.parametrize("archive", FOUND, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "name",
    deep_unless(lambda name: name == "quarters", sorted({name for name, _ in FEWEST.values()})),
)
def test_breaks_what_is_known_with_the_fewest_operations(
    archive: Path, name: str, built: Path
) -> None:
    library = search_library(archive, built / archive.name)
    outcome = run_here(TreeJob("base", library, SEARCHES[name]))
    assert outcome.complete
    found = {clause: example.length for clause, example in outcome.examples.items()}
    wanted = {clause: n for clause, (search, n) in FEWEST.items() if search == name}
    assert found.keys() <= FEWEST.keys()
    assert {clause: found.get(clause) for clause in wanted} == wanted


@pytest.mark.parametrize("name", SAME)
def test_states_edges_and_schedules_are_those_of_the_model(name: str, built: Path) -> None:
    library = search_library(FOUND[-1], built / FOUND[-1].name)
    scenario = SCENARIOS[name]
    ours = run_here(TreeJob("base", library, of_scenario(scenario, fine=False)))
    model = model_search(scenario.start("linux_6_12"), "matching")
    assert int(ours.schedules) == model.schedules
    # where an actor stands is told by its live stack, in which words that nobody reads may differ:
    # that tells apart what goes on alike, and leaves the number of paths as it is
    assert model.states <= ours.states <= model.states * _DEAD_WORDS
    assert model.steps <= ours.edges <= model.steps * _DEAD_WORDS
    assert ours.examples.keys() == model.findings.keys()


def _states(library: Library, search: TreeSearch) -> set[tuple[object, ...]]:
    """Return the states of the allocator that a search meets, chunks by content."""
    with CompiledSearch(library, search.plan) as compiled:
        judge = SearchJudge(compiled)
        while compiled.go(50_000):
            pass
        list(judge.look())
        found = set()
        for number in range(compiled.tally.allocator_states):
            state: SearchState = judge.state(number)
            chunks = [
                (s, c.alloc_map, c.populated, c.isolated)
                for s, c in zip(state.slots, state.chunks, strict=True)
            ]
            flags = compiled.lib.percpu_states[number].flags
            found.add((flags, state.nr_empty_pop_pages, state.work_pending, *chunks))
        return found


@pytest.mark.parametrize(("name", "operations"), [("pages", 3), ("reclaim-free", 0)])
def test_keys_of_all_memory_reach_the_same_states(name: str, operations: int, built: Path) -> None:
    """A key that left something out would merge states that go on differently."""
    library = search_library(FOUND[-1], built / FOUND[-1].name)
    search = SEARCHES[name]
    search = search.with_plan(longest=operations)
    raw = search.with_plan(raw=True)
    assert _states(library, search) == _states(library, raw)


@pytest.mark.deep
def test_on_machines_without_a_switch_of_our_own_the_search_is_the_same(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_SEARCH", (*build._SEARCH, "-DPERCPU_UCONTEXT"))
    library = build.compile_search(tree_of(FOUND[-1]), tmp_path)
    switching = search_library(FOUND[-1], built / FOUND[-1].name)
    search = SEARCHES["reclaim-frees"]
    assert _states(library, search) == _states(switching, search)
    ours, theirs = (run_here(TreeJob("base", each, search)) for each in (library, switching))
    assert ours.schedules == theirs.schedules
    stands = [
        [(step.function, step.line) for step in outcome.examples["RCL-3"].trace.steps]
        for outcome in (ours, theirs)
    ]
    assert stands[0] == stands[1]


@pytest.mark.parametrize(
    "edit",
    deep_unless(lambda edit: edit.search == "reserved", EDITS),
    ids=lambda edit: edit.bug.name,
)
def test_an_edit_is_found_under_its_clause(edit: Edit, built: Path, tmp_path: Path) -> None:
    into = built / tmp_path.name
    search, wanted = SEARCHES[edit.search], edit.clauses - FEWEST.keys()
    outcome = outcome_of(edited(tmp_path / "tree", edit), into, search, wanted)
    new = outcome.examples.keys() - FEWEST.keys()
    assert edit.clauses & new, {c: e.message for c, e in outcome.examples.items()}
    if edit.clauses & {"LOCK-1"} and SEARCHES[edit.search].notes_accesses:
        assert "without pcpu_lock" in outcome.examples["LOCK-1"].message


def _harmless(tmp_path: Path) -> Iterator[Tree]:
    for number, edit in enumerate(HARMLESS):
        yield edited(tmp_path / f"tree-{number}", edit)
    yield changed(tmp_path / "high", lambda text: re.sub(*HIGH, text))
    yield changed(tmp_path / "nested", freeing(NESTED))


@pytest.mark.deep
@pytest.mark.parametrize("name", ["crumbs", "pages", "reclaim-frees"])
def test_harmless_edits_break_nothing_new(name: str, tmp_path: Path) -> None:
    for number, tree in enumerate(_harmless(tmp_path)):
        outcome = outcome_of(tree, tmp_path / f"out-{number}", SEARCHES[name])
        assert outcome.examples.keys() <= FEWEST.keys(), tree.top


@pytest.mark.deep
@pytest.mark.parametrize("name", ["quarters", "crumbs", "pages", "pairs", "reclaim-frees", "km"])
def test_nothing_is_broken_with_the_fixes(name: str, tmp_path: Path) -> None:
    tree = copy_tree(tree_of(FOUND[-1]), tmp_path / "tree")
    for patch in FIXES:
        apply_patch(tree, patch)
    outcome = outcome_of(tree, tmp_path, SEARCHES[name])
    assert outcome.complete
    assert not outcome.examples


def test_bounds_are_told_and_go_further_or_less_far() -> None:
    search = SEARCHES["pages"]
    lengths = [change(search).plan.longest for change in (shallower, deeper)]
    assert lengths == [search.plan.longest - 1, search.plan.longest + 2]
    assert f"up to {search.plan.longest} operations" in search.bound
    scenario = of_scenario(SCENARIOS["reuse"])
    assert [change(scenario) for change in (shallower, deeper)] == [scenario, scenario]


def test_a_search_that_is_full_says_how_far_it_came(built: Path) -> None:
    search = SEARCHES["pages"].with_plan(most_states=2000)
    library = search_library(FOUND[-1], built / FOUND[-1].name)
    outcome = run_here(TreeJob("base", library, search))
    assert not outcome.complete
    assert outcome.states == 2000
    assert f"whole up to {outcome.operations} operations" in outcome.bound
    assert 0 < outcome.operations < search.plan.longest


@pytest.mark.parametrize(
    "name",
    deep_unless(lambda name: name == "quarters", sorted({name for name, _ in FEWEST.values()})),
)
def test_what_the_tree_breaks_the_model_breaks(name: str, built: Path) -> None:
    """Each counterexample of the compiled code has a token of the model that breaks the clause.

    Its steps name the lines of the tree where they end.
    """
    tree = tree_of(FOUND[-1])
    library = search_library(FOUND[-1], built / FOUND[-1].name)
    search = SEARCHES[name]
    outcome = run_here(TreeJob("base", library, search))
    assert outcome.examples
    for clause, example in outcome.examples.items():
        token = example.with_model("linux_6_12").on_model.token
        assert token is not None, clause
        assert clause in of_token(token).broken
        released = [step for step in example.trace.steps if "released" in step.stands]
        assert released
        for file, _, number in (step.line.partition(":") for step in released):
            assert "unlock" in tree.text(file).split("\n")[int(number) - 1]
        shown = of_tree(example, "Linux 6.12", found_by(name, outcome.bound))
        assert all(f"{s.function}(" in tree.text(SOURCE) for s in shown.steps if s.function)
        block = mail(shown, f"percpu-spec replay {shown.token} --source TREE")
        assert len(block) <= LINES and max(map(len, block)) <= WIDTH
        assert f"search {name} of the compiled code" in " ".join(block)
        assert "-> " in "\n".join(block) and f"{clause} broken" in "\n".join(block)
        assert max(len(line) for _, line in text(shown, WIDTH)) <= WIDTH


def test_declared_findings_of_the_model_are_those_of_the_tree() -> None:
    assert set(FEWEST) == set(Linux612.EXPECTED)
