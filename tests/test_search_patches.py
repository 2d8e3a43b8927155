"""What a patch may do to the compiled kernel under search, and what a review then says."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from click.testing import CliRunner
from depth import deep_unless
from distributed import LocalCluster
from kernel_trees import FOUND, MISSING, tree_of
from processes import COMMAND, IN_BACKGROUND, is_ready, started
from searched_trees import (
    SEARCHES,
    SOURCE,
    changed,
    first_in_work,
    freeing,
    outcome_of,
    search_library,
    write_patch,
)

from percpu_proofs.cli import main
from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome, run, run_here
from percpu_proofs.kernel.search.trees import CompiledTree
from percpu_proofs.run.inputs import InputError

pytestmark = pytest.mark.skipif(not FOUND, reason=MISSING)


FREED_TWICE = "{ void *p = kzalloc(64, GFP_KERNEL); kfree(p); kfree(p); }"
WRITTEN_BEHIND = (
    "{ char *p = kzalloc(64, GFP_KERNEL); kfree(p); p[8] = 1; kfree(kzalloc(64, GFP_KERNEL)); }"
)


@pytest.mark.parametrize(
    ("change", "clause", "said"),
    deep_unless(
        lambda change, clause, said: said == "freed twice",
        [
            (first_in_work(FREED_TWICE), "POP-4", "freed twice"),
            (first_in_work(WRITTEN_BEHIND), "POP-4", "written after it was freed"),
            (first_in_work("for (;;) cond_resched();"), "BAL-3", "does not end"),
            (first_in_work("pcpu_nr_populated += 0;"), "LOCK-1", "writes pcpu_nr_populated"),
            (
                lambda text: text.replace(
                    "mutex_lock(&pcpu_alloc_mutex);\n\tspin_lock_irq(&pcpu_lock);",
                    "spin_lock_irq(&pcpu_lock);\n\tpcpu_nr_populated += 0;\n\t"
                    "spin_unlock_irq(&pcpu_lock);\n\tmutex_lock(&pcpu_alloc_mutex);\n\t"
                    "spin_lock_irq(&pcpu_lock);",
                ),
                "LOCK-2",
                "writes pcpu_nr_populated",
            ),
        ],
    ),
)
def test_what_the_stubs_see_has_a_clause(
    change: Callable[[str], str], clause: str, said: str, built: Path, tmp_path: Path
) -> None:
    tree = changed(tmp_path / "tree", change)
    name = "accesses in pages" if clause.startswith("LOCK") else "pages"
    search = SEARCHES[name].with_plan(longest=3)
    examples = outcome_of(tree, built / tmp_path.name, search).examples
    assert clause in examples, examples.keys()
    assert said in examples[clause].message


def _ending(by: str, header: str, built: Path, tmp_path: Path) -> TreeOutcome:
    """Return the outcome of a search in which the work ends its process."""
    tree = changed(tmp_path / "tree", first_in_work(by))
    (tmp_path / "stub.h").write_text(f"#include <{header}>\n")
    compiled = CompiledTree(tree, built / tmp_path.name, tmp_path / "stub.h")
    return run(TreeJob("base", compiled.search_library(SEARCHES["pages"]), SEARCHES["pages"]))


@pytest.mark.deep
def test_a_kernel_that_takes_its_process_down_is_a_finding(built: Path, tmp_path: Path) -> None:
    outcome = _ending("_exit(3);", "unistd.h", built, tmp_path)
    assert "exit status 3" in outcome.examples["BUG"].message
    assert not outcome.complete


@pytest.mark.deep
def test_a_search_that_is_killed_is_no_finding(built: Path, tmp_path: Path) -> None:
    """Linux does so to a process when memory ends."""
    outcome = _ending("raise(9);", "signal.h", built, tmp_path)
    assert not outcome.examples
    assert outcome.killed
    assert outcome.reach == 0
    assert outcome.bound.endswith("its process was killed")


DEEP = """static noinline int pcpu_deep(int n)
{
	volatile char big[1000];

	big[n % 1000] = 1;
	return pcpu_deep(n + 1) + big[n % 1000];
}

"""


def deep_in_work(text: str) -> str:
    """Return the allocator with a recursion without end in its work."""
    head = "static void pcpu_balance_workfn"
    return first_in_work("pcpu_deep(0);")(text).replace(head, DEEP + head, 1)


@pytest.mark.deep
def test_a_stack_that_overflows_is_told_with_its_line(built: Path, tmp_path: Path) -> None:
    tree = changed(tmp_path / "tree", deep_in_work)
    search = SEARCHES["pages"].with_plan(longest=2)
    example = outcome_of(tree, built / tmp_path.name, search).examples["BUG"]
    assert example.message == "a stack overflow"
    assert example.trace.steps[-1].function == "pcpu_deep"


_DEADLY = {
    "BAL-3": "while (chunk->free_bytes == pcpu_unit_size) barrier();",
    "BUG": "if (chunk->free_bytes == pcpu_unit_size) *(volatile int *)0 = 1;",
    "LIST-1": "chunk->list.next = chunk->list.next->next;",
    "BAL-3 with the lock dropped": "while (chunk->free_bytes == pcpu_unit_size) { "
    "spin_unlock_irqrestore(&pcpu_lock, flags); spin_lock_irqsave(&pcpu_lock, flags); }",
}


@pytest.mark.deep
@pytest.mark.parametrize("what", _DEADLY)
def test_a_patch_that_loops_or_crashes_is_a_finding(what: str, built: Path, tmp_path: Path) -> None:
    """Neither hangs the tool nor takes it down; the operations that lead there are named."""
    tree = changed(tmp_path / "tree", freeing(_DEADLY[what]))
    search = SEARCHES["pages"].with_plan(longest=3)
    outcome = outcome_of(tree, built / tmp_path.name, search)
    assert outcome.examples.keys() & {what.partition(" ")[0], "BUG"}
    assert not outcome.complete
    assert all(e.trace.operations for e in outcome.examples.values())
    for clause in outcome.examples.keys() & {"BAL-3", "BUG"}:
        step = outcome.examples[clause].trace.steps[-1]
        assert step.function and step.line.startswith("mm/percpu"), step


def _review(*arguments: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(main, ["review", "--json", "--jobs", "1", *arguments])
    return done.exit_code, json.loads(done.stdout) if done.stdout else {"error": done.output}


@pytest.mark.deep
def test_review_of_a_patch(tmp_path: Path) -> None:
    """What it newly breaks comes first, what it mends is named, and the token replays."""
    line = "\tpcpu_nr_empty_pop_pages -= chunk->nr_empty_pop_pages;\n"
    patch = write_patch(tmp_path / "float.patch", lambda text: text.replace(line, "", 1))
    base = ("--source", str(tree_of(FOUND[-1]).top))
    source = (*base, "--patch", str(patch))
    code, found = _review(*source, "--fix", "R3", "--search", "crumbs", "--search", "pages")
    assert code == 1, found
    assert found["changes"]["new"] == ["FLT-1"]
    assert "LIST-2" in found["changes"]["mended"]
    assert found["trees"]["patched"]["LOCK-1"]["verdict"] == "unchecked"  # none notes accesses
    assert not found["changes"]["otherwise"]
    example = found["trees"]["patched"]["FLT-1"]["counterexample"]
    assert any(step["function"].startswith("pcpu_") and step["line"] for step in example["steps"])
    replayed = CliRunner().invoke(main, ["replay", example["token"], *source, "--json"])
    assert replayed.exit_code == 0, replayed.output
    assert "FLT-1" in json.loads(replayed.stdout)["broken"]
    sound = CliRunner().invoke(main, ["replay", example["token"], *base, "--json"])
    assert sound.exit_code == 1  # the base does not break it


@pytest.mark.deep
def test_a_second_way_to_break_a_clause_is_told(tmp_path: Path) -> None:
    """Both trees break it, the base by other schedules alone."""
    line = "\tpcpu_chunk_relocate(chunk, oslot);\n\n\treturn freed;"
    patch = write_patch(tmp_path / "p", lambda text: text.replace(line, "\treturn freed;"))
    source = ("--source", str(tree_of(FOUND[-1]).top), "--patch", str(patch))
    _, found = _review(*source, "--search", "crumbs", "--search", "pages")
    assert "LIST-2" in found["changes"]["otherwise"]


@pytest.mark.deep
def test_review_on_a_cluster() -> None:
    """Its workers get the library, and bring home what processes of this machine do."""
    source = ("--source", str(tree_of(FOUND[-1]).top), "--search", "crumbs", "--search", "drawn")
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        _, there = _review(*source, "--dask", cluster.scheduler_address)
    _, here = _review(*source)
    shown = [
        {clause: (cell["verdict"], cell["counterexample"]) for clause, cell in of.items()}
        for of in (there["trees"]["base"], here["trees"]["base"])
    ]
    assert shown[0] == shown[1]
    assert shown[0]["LIST-2"][0] == "violated"


@pytest.mark.deep
def test_a_patch_that_does_not_compile_is_named_with_its_line(tmp_path: Path) -> None:
    patch = write_patch(tmp_path / "typo.patch", freeing("size += no_such_variable;"))
    number = next(n for n, text in enumerate(patch.open(), 1) if "no_such" in text)
    source = str(tree_of(FOUND[-1]).top)
    done = CliRunner().invoke(
        main, ["review", "--source", source, "--patch", str(patch), "--jobs", "1"]
    )
    assert done.exit_code == 2
    assert f"typo.patch:{number}" in done.output
    assert "no_such_variable" in done.output


@pytest.mark.parametrize("wrong", ["chunk->nowhere = 1;", "pcpu_chunk_relocate(chunk);"])
def test_no_stub_is_wanted_for_what_is_the_trees_own(wrong: str, tmp_path: Path) -> None:
    tree = changed(tmp_path / "tree", freeing(wrong))
    with pytest.raises(InputError) as raised:
        compile_tree(tree, tmp_path)
    assert "stubs" not in str(raised.value)
    assert "expected a tree that compiles" in str(raised.value)


@pytest.mark.parametrize("command", [["review"], ["explore", "reuse"], ["replay", "p2.x"]])
def test_a_patch_wants_a_tree(command: list[str]) -> None:
    done = CliRunner().invoke(main, [*command, "--patch", "some.patch"])
    assert done.exit_code == 2
    assert "--source TREE" in done.output


def _with_field(text: str) -> str:
    return text.replace("\tbool\t\t\tisolated;", "\tbool\t\t\tisolated;\n\tint turn;", 1)


@pytest.mark.deep
@pytest.mark.parametrize("where", ["variable", "field"])
def test_what_no_description_shows_is_part_of_the_key(
    where: str, built: Path, tmp_path: Path
) -> None:
    """What a patch adds tells states apart, or they would be merged wrongly."""
    if where == "variable":
        change = freeing("{ static int turn; turn = (turn + 1) % 3; }")
        tree = changed(tmp_path / "tree", change)
    else:
        tree = changed(tmp_path / "tree", _with_field, "mm/percpu-internal.h")
        path = tree.top / SOURCE
        path.write_text(freeing("chunk->turn = (chunk->turn + 1) % 3;")(path.read_text()))
    search = SEARCHES["pages"].with_plan(longest=4)
    ours = outcome_of(tree, built / tmp_path.name, search)
    plain = run_here(TreeJob("base", search_library(FOUND[-1], built / FOUND[-1].name), search))
    assert ours.states > plain.states


@pytest.mark.deep
def test_a_review_that_is_stopped_prints_its_bounds() -> None:
    """SIGTERM ends it and all its processes, with what was searched so far."""
    source = str(tree_of(FOUND[-1]).top)
    words = (*COMMAND, "review", "--source", source, "--search", "whole", "--json", "--jobs", "2")
    with started(*IN_BACKGROUND, *words, "--no-cache") as stopped:
        assert is_ready(stopped.pid)
        sleep(4.0)
        stopped.send_signal(signal.SIGTERM)
        out, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, err
    found = json.loads(out)
    assert found["interrupted"]
    assert all("interrupted" in bound["bound"] for bound in found["bounds"])
