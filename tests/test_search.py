"""The compiled kernel searched by itself, on the Linux trees that Debian's packages bring."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import unified_diff
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner
from depth import deep_unless
from kernel_bugs import seeded
from kernel_trees import FOUND, MISSING, PATCHES, tree_of
from search_bugs import EDITS, HARMLESS, HIGH, Edit

from percpu_proofs.cli import main
from percpu_proofs.explore.ladder import replayed
from percpu_proofs.explore.modes import search as model_search
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.token import read_token
from percpu_proofs.kernel.build import Library, compile_search
from percpu_proofs.kernel.search.compiled import CompiledSearch
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome, searched, with_model
from percpu_proofs.kernel.search.judge import Judge
from percpu_proofs.kernel.search.plans import QUICK, TreeSearch, noting, of_scenario
from percpu_proofs.kernel.search.records import State
from percpu_proofs.kernel.search.trees import CompiledTree
from percpu_proofs.kernel.tree import Tree, apply_patch, copy_tree
from percpu_reference.variants.linux_6_12 import Linux612

pytestmark = pytest.mark.skipif(not FOUND, reason=MISSING)
SEARCHES = {search.name: search for search in (*QUICK, *noting())}
SOURCE = "mm/percpu.c"
FREES = "size = pcpu_free_area(chunk, off);"
"""The statement of free_percpu under pcpu_lock that frees."""
NESTED = (
    "{ static DEFINE_SPINLOCK(inner); spin_lock(&inner); barrier(); spin_unlock(&inner); }"
)
"""A lock taken within pcpu_lock: nobody else runs where it is released."""
FEWEST = {
    "HINT-3": ("quarters", 3), "HINT-4": ("quarters", 4), "HINT-5": ("crumbs", 3),
    "LIST-2": ("crumbs", 4), "BAL-1": ("pages", 5), "BAL-2": ("pages", 3), "RCL-3": ("pages", 6),
}  # fmt: skip
"""What 6.12.117 and 6.1 break: which search shows it, with how many operations."""
SAME = ("reclaim-free", "reclaim-frees", "reuse", "freed-whole", "shrink-race", "first-chunk")
"""Scenarios in which nobody creates a chunk: the model has gaps there where the C has no stop."""
_DEAD_WORDS = 1.2
FIXES = sorted(p for p in PATCHES.iterdir() if not p.name.startswith("L5"))
"""The fixes of `reference` that apply beside each other."""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


@cache
def _library(archive: Path, into: Path) -> Library:
    into.mkdir(exist_ok=True)
    return compile_search(tree_of(archive), into)


def _outcome(tree: Tree, into: Path, search: TreeSearch) -> TreeOutcome:
    """Search a tree; what is the same for all trees is compiled once into the folder above."""
    compiled = CompiledTree("base", tree, into, None)
    return searched(TreeJob("base", compiled.library(search), search))


def _edited(into: Path, edit: Edit) -> Tree:
    return _changed(into, lambda text: seeded(text, edit.bug), edit.bug.file)


def _changed(into: Path, change: Callable[[str], str], file: str = SOURCE) -> Tree:
    """Return a copy of the newest tree, with one file changed."""
    tree = copy_tree(tree_of(FOUND[-1]), into)
    path = tree.top / file
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    return tree


def _freeing(added: str) -> Callable[[str], str]:
    """Return the change that adds a statement to free_percpu, behind the free itself."""
    return lambda text: text.replace(FREES, f"{FREES}\n\t{added}")


def _patch(path: Path, change: Callable[[str], str]) -> Path:
    """Write a change of the newest tree's allocator as a patch."""
    text = (tree_of(FOUND[-1]).top / SOURCE).read_text()
    lines, changed = text.splitlines(True), change(text).splitlines(True)
    path.write_text("".join(unified_diff(lines, changed, f"a/{SOURCE}", f"b/{SOURCE}")))
    return path


@pytest.mark.parametrize("archive", FOUND, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "name",
    deep_unless(lambda name: name != "pages", sorted({name for name, _ in FEWEST.values()})),
)
def test_breaks_what_is_known_with_the_fewest_operations(
    archive: Path, name: str, folder: Path
) -> None:
    library = _library(archive, folder / archive.name)
    outcome = searched(TreeJob("base", library, SEARCHES[name]))
    assert outcome.complete
    found = {clause: example.length for clause, example in outcome.examples.items()}
    wanted = {clause: n for clause, (search, n) in FEWEST.items() if search == name}
    assert found.keys() <= FEWEST.keys()
    assert {clause: found.get(clause) for clause in wanted} == wanted


@pytest.mark.parametrize("name", SAME)
def test_states_edges_and_schedules_are_those_of_the_model(name: str, folder: Path) -> None:
    library = _library(FOUND[-1], folder / FOUND[-1].name)
    scenario = SCENARIOS[name]
    ours = searched(TreeJob("base", library, of_scenario(scenario, fine=False)))
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
        judge = Judge(compiled)
        while compiled.go(50_000):
            pass
        list(judge.look())
        found = set()
        for number in range(compiled.tally.allocator_states):
            state: State = judge.state(number)
            chunks = [(s, c.alloc_map, c.populated, c.isolated) for s, c in zip(
                state.slots, state.chunks, strict=True)]
            flags = compiled.lib.percpu_states[number].flags
            found.add((flags, state.nr_empty_pop_pages, state.work_pending, *chunks))
        return found


@pytest.mark.parametrize(("name", "operations"), [("pages", 3), ("reclaim-free", 0)])
def test_keys_of_all_memory_reach_the_same_states(
    name: str, operations: int, folder: Path
) -> None:
    """A key that left something out would merge states that go on differently."""
    library = _library(FOUND[-1], folder / FOUND[-1].name)
    search = SEARCHES[name]
    search = replace(search, plan=replace(search.plan, longest=operations))
    raw = replace(search, plan=replace(search.plan, raw=True))
    assert _states(library, search) == _states(library, raw)


@pytest.mark.parametrize(
    "edit",
    deep_unless(lambda edit: edit.search == "reserved", EDITS),
    ids=lambda edit: edit.bug.name,
)
def test_an_edit_is_found_under_its_clause(edit: Edit, folder: Path, tmp_path: Path) -> None:
    into = folder / tmp_path.name
    outcome = _outcome(_edited(tmp_path / "tree", edit), into, SEARCHES[edit.search])
    new = outcome.examples.keys() - FEWEST.keys()
    assert edit.clauses & new, {c: e.message for c, e in outcome.examples.items()}
    if edit.clauses & {"LOCK-1"} and SEARCHES[edit.search].noted:
        assert "without pcpu_lock" in outcome.examples["LOCK-1"].message


def _harmless(tmp_path: Path) -> Iterator[Tree]:
    for number, edit in enumerate(HARMLESS):
        yield _edited(tmp_path / f"tree-{number}", edit)
    yield _changed(tmp_path / "high", lambda text: re.sub(*HIGH, text))
    yield _changed(tmp_path / "nested", _freeing(NESTED))


@pytest.mark.deep
@pytest.mark.parametrize("name", ["crumbs", "pages", "reclaim-frees"])
def test_harmless_edits_break_nothing_new(name: str, tmp_path: Path) -> None:
    for number, tree in enumerate(_harmless(tmp_path)):
        outcome = _outcome(tree, tmp_path / f"out-{number}", SEARCHES[name])
        assert outcome.examples.keys() <= FEWEST.keys(), tree.top


@pytest.mark.deep
@pytest.mark.parametrize("name", ["quarters", "crumbs", "pages", "pairs", "reclaim-frees", "km"])
def test_nothing_is_broken_with_the_fixes(name: str, tmp_path: Path) -> None:
    tree = copy_tree(tree_of(FOUND[-1]), tmp_path / "tree")
    for patch in FIXES:
        apply_patch(tree, patch)
    outcome = _outcome(tree, tmp_path, SEARCHES[name])
    assert outcome.complete
    assert not outcome.examples


_DEADLY = {
    "BAL-3": "while (chunk->free_bytes == pcpu_unit_size) barrier();",
    "BUG": "if (chunk->free_bytes == pcpu_unit_size) *(volatile int *)0 = 1;",
    "LIST-1": "chunk->list.next = chunk->list.next->next;",
    "BAL-3 with the lock dropped": "while (chunk->free_bytes == pcpu_unit_size) { "
    "spin_unlock_irqrestore(&pcpu_lock, flags); spin_lock_irqsave(&pcpu_lock, flags); }",
}


@pytest.mark.parametrize("what", deep_unless(lambda what: what == "BAL-3", _DEADLY))
def test_a_patch_that_loops_or_crashes_is_a_finding(
    what: str, folder: Path, tmp_path: Path
) -> None:
    """Neither hangs the tool nor takes it down; the operations that lead there are named."""
    tree = _changed(tmp_path / "tree", _freeing(_DEADLY[what]))
    search = replace(SEARCHES["pages"], plan=replace(SEARCHES["pages"].plan, longest=3))
    outcome = _outcome(tree, folder / tmp_path.name, search)
    assert outcome.examples.keys() & {what.partition(" ")[0], "BUG"}
    assert not outcome.complete
    assert all(e.retraced.operations for e in outcome.examples.values())


@pytest.mark.deep
@pytest.mark.parametrize("name", sorted({name for name, _ in FEWEST.values()}))
def test_what_the_tree_breaks_the_model_breaks(name: str, folder: Path) -> None:
    """Each counterexample of the compiled code has a token of the model that breaks the clause."""
    library = _library(FOUND[-1], folder / FOUND[-1].name)
    search = SEARCHES[name]
    outcome = searched(TreeJob("base", library, search))
    assert outcome.examples
    for clause, example in outcome.examples.items():
        token = with_model(example, search.plan).on_model.token
        assert token is not None, clause
        broken = {broken for rung in replayed(read_token(token)) for broken, _ in rung.broken}
        assert clause in broken


def _review(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(main, ["review", "--json", "--jobs", "1", *arguments])
    return done.exit_code, json.loads(done.stdout) if done.stdout else {"error": done.output}


@pytest.mark.deep
def test_review_of_a_patch(tmp_path: Path) -> None:
    """What it newly breaks comes first, what it mends is named, and the token replays."""
    line = "\tpcpu_nr_empty_pop_pages -= chunk->nr_empty_pop_pages;\n"
    patch = _patch(tmp_path / "float.patch", lambda text: text.replace(line, "", 1))
    base = ("--source", str(tree_of(FOUND[-1]).top))
    source = (*base, "--patch", str(patch))
    code, found = _review(*source, "--fix", "R3", "--search", "crumbs", "--search", "pages")
    assert code == 1, found
    assert found["changes"]["new"] == ["FLT-1"]
    assert "LIST-2" in found["changes"]["mended"]
    example = found["trees"]["patched"]["FLT-1"]["counterexample"]
    assert any(step["function"].startswith("pcpu_") and step["line"] for step in example["steps"])
    replayed = CliRunner().invoke(main, ["replay", example["token"], *source, "--json"])
    assert replayed.exit_code == 0, replayed.output
    assert "FLT-1" in json.loads(replayed.stdout)["broken"]
    sound = CliRunner().invoke(main, ["replay", example["token"], *base, "--json"])
    assert sound.exit_code == 1  # the base does not break it


@pytest.mark.deep
def test_a_patch_that_does_not_compile_is_named_with_its_line(tmp_path: Path) -> None:
    patch = _patch(tmp_path / "typo.patch", _freeing("size += no_such_variable;"))
    number = next(n for n, text in enumerate(patch.open(), 1) if "no_such" in text)
    source = str(tree_of(FOUND[-1]).top)
    done = CliRunner().invoke(
        main, ["review", "--source", source, "--patch", str(patch), "--jobs", "1"]
    )
    assert done.exit_code == 2
    assert f"typo.patch:{number}" in done.output
    assert "no_such_variable" in done.output


@pytest.mark.parametrize("command", [["review"], ["explore", "reuse"], ["replay", "percpu1.x"]])
def test_a_patch_wants_a_tree(command: list[str]) -> None:
    done = CliRunner().invoke(main, [*command, "--patch", "some.patch"])
    assert done.exit_code == 2
    assert "--source TREE" in done.output


def _with_field(text: str) -> str:
    return text.replace("\tbool\t\t\tisolated;", "\tbool\t\t\tisolated;\n\tint turn;", 1)


@pytest.mark.deep
@pytest.mark.parametrize("where", ["variable", "field"])
def test_what_no_description_shows_is_part_of_the_key(
    where: str, folder: Path, tmp_path: Path
) -> None:
    """What a patch adds tells states apart, or they would be merged wrongly."""
    if where == "variable":
        change = _freeing("{ static int turn; turn = (turn + 1) % 3; }")
        tree = _changed(tmp_path / "tree", change)
    else:
        tree = _changed(tmp_path / "tree", _with_field, "mm/percpu-internal.h")
        path = tree.top / SOURCE
        path.write_text(_freeing("chunk->turn = (chunk->turn + 1) % 3;")(path.read_text()))
    search = replace(SEARCHES["pages"], plan=replace(SEARCHES["pages"].plan, longest=4))
    ours = _outcome(tree, folder / tmp_path.name, search)
    plain = searched(TreeJob("base", _library(FOUND[-1], folder / FOUND[-1].name), search))
    assert ours.states > plain.states


def test_declared_findings_of_the_model_are_those_of_the_tree() -> None:
    assert set(FEWEST) == set(Linux612.EXPECTED)
