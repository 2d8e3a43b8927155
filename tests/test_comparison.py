"""What `conform kernel` says: of trees that are equal, changed on purpose, broken, and mended."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from depth import deep_unless
from kernel_bugs import BUGS, Bug, seeded
from kernel_trees import FOUND, MISSING, PATCHES, tree_of
from widths import unfolded

from percpu_proofs.cli import main
from percpu_proofs.kernel import differential
from percpu_proofs.kernel.record import MEANINGS, OPERATION, meaning, sentence
from percpu_proofs.kernel.tree import BACKINGS, FILES, copy_tree
from percpu_proofs.run.state_record import Difference
from percpu_reference.kernel_names import FILES as FUNCTIONS
from percpu_spec.catalogue import clauses

needs_tree = pytest.mark.skipif(not FOUND, reason=MISSING)
if not FOUND:
    warnings.warn(MISSING, stacklevel=1)

NEWEST = FOUND[-1] if FOUND else Path()
HALF = Bug(
    "threshold of a half", "pcpu_should_reclaim_chunk", r"chunk->nr_pages / 4",
    "chunk->nr_pages / 2", file="mm/percpu-vm.c",
)  # fmt: skip
FLOAT = Bug("float of isolated chunks too", "pcpu_update_empty_pages", r"&& !chunk->isolated", "")


@pytest.fixture(autouse=True)
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differential, "TRIES", 60)
    monkeypatch.setattr(differential, "TRIES_OF_SCHEDULES", 5)


def changed(tmp_path: Path, *bugs: Bug) -> Path:
    """Return the top of the newest tree with some edits."""
    tree = copy_tree(tree_of(NEWEST), tmp_path / "tree")
    for bug in bugs:
        file = tree.top / bug.file
        file.write_text(seeded(file.read_text(), bug))
    return tree.top


def conform(top: Path, tmp_path: Path, *arguments: str) -> Result:
    save = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl.gz"  # none is overwritten
    base = ["conform", "kernel", "--source", str(top), "--save", str(save)]
    return CliRunner().invoke(main, [*base, *arguments])


def report_of(
    top: Path, tmp_path: Path, *arguments: str, differs: bool = False
) -> dict[str, Any]:
    result = conform(top, tmp_path, "--json", *arguments)
    assert result.exit_code == int(differs), result.output
    report: dict[str, Any] = json.loads(result.stdout)
    assert report["mismatches"] == differs
    return report


@needs_tree
@pytest.mark.parametrize("jobs", deep_unless(lambda jobs: jobs == "1", ["1", "2"]))
def test_schedules_are_drawn_at_every_count(jobs: str, tmp_path: Path) -> None:
    report = report_of(tree_of(NEWEST).top, tmp_path, "--count", "1", "--jobs", jobs)
    assert report["operations"] >= 1
    assert report["schedules"] >= 10
    assert report["schedule_steps"] > report["schedules"]
    assert sum(report["gaps_entered"].values()) > 0
    assert any("percpu-km.c: the run ended before" in what for what in report["not_run"])


@needs_tree
@pytest.mark.deep
def test_what_is_equal_is_named(tmp_path: Path) -> None:
    result = conform(tree_of(NEWEST).top, tmp_path, "--count", "600", "--jobs", "1")
    assert result.exit_code == 0, result.output
    lines = unfolded(result.stdout).splitlines()
    equal = next(line for line in lines if "is equal" in line)
    for part in ("operations", "geometries", "schedules", "gaps entered of"):
        assert part in equal
    said = lines[lines.index(equal) + 1 :]
    assert any(line.startswith("not run: ") for line in said)
    assert "newly broken" not in result.stdout
    assert "compiler warning" not in result.stdout


@needs_tree
@pytest.mark.deep
def test_harmless_change_differs_agrees_again_and_breaks_nothing(tmp_path: Path) -> None:
    arguments = ("--count", "1500", "--jobs", "1", "--backing", "vm")
    report = report_of(changed(tmp_path, HALF), tmp_path, *arguments, differs=True)
    assert report["clauses_newly_broken"] == {}
    assert report["operations"] + report["operations_behind_differences"] >= 1500
    assert report["states_judged"] >= 1500
    assert 1 <= report["agree_again"] <= report["cases_that_differ"]
    first = report["partings"][-1]  # the last one says when both agree
    assert first["agree_again_after"] > first["differs_after"]
    assert first["agree_again_by"]
    assert 0 < first["states_that_agree"] <= first["operations_behind"]
    found = report["first_mismatch"]
    assert found["function"] in OPERATION.values()
    everything = [found, *found["others"]]
    assert any(one["words"].endswith(": isolated") for one in everything)
    assert "pcpu_isolate_chunk" in {name for one in everything for name in one["set_by"]}
    assert found["equal_with_fix"] == []


@needs_tree
@pytest.mark.deep
def test_broken_clause_is_told_from_a_difference(tmp_path: Path) -> None:
    top = changed(tmp_path, FLOAT)
    arguments = ("--count", "600", "--jobs", "1", "--backing", "vm")
    report = report_of(top, tmp_path, *arguments, differs=True)
    assert {"FLT-1"} <= set(report["clauses_newly_broken"]) <= {"FLT-1", "BAL-7"}
    assert "chunks' counters sum to" in report["clauses_newly_broken"]["FLT-1"]
    assert report["clauses_broken"]["FLT-1"] > 10
    found = report["first_mismatch"]
    assert any("FLT-1" in one["clauses"] for one in (found, *found["others"]))
    result = conform(top, tmp_path, *arguments)
    assert "newly broken, not by linux_6_12: FLT-1, " in result.stdout
    assert "differs after operation " in result.stdout
    assert "the float, pcpu_nr_empty_pop_pages: kernel " in result.stdout
    assert "percpu-spec review --source TREE --patch FILE" in result.stdout


@needs_tree
@pytest.mark.deep
def test_fix_is_known_again(tmp_path: Path) -> None:
    (patch,) = PATCHES.glob("L5-*.patch")
    arguments = ("--count", "600", "--jobs", "1", "--backing", "vm", "--patch", str(patch))
    report = report_of(tree_of(NEWEST).top, tmp_path, *arguments, differs=True)
    assert report["first_mismatch"]["equal_with_fix"] == ["L5"]
    assert report["clauses_newly_broken"] == {}
    report = report_of(tree_of(NEWEST).top, tmp_path, *arguments, "--fix", "L5")
    assert report["cases_that_differ"] == 0


@pytest.mark.deep
@needs_tree
def test_kernel_that_stops_ends_the_run(tmp_path: Path) -> None:
    bug = next(bug for bug in BUGS if bug.name == "search stops before the free list")
    report = report_of(
        changed(tmp_path, bug), tmp_path, "--count", "50000", "--jobs", "1", differs=True
    )
    assert report["operations"] < 50_000
    assert any("of 50,000 operations to draw" in what for what in report["not_run"])


@needs_tree
@pytest.mark.deep
def test_tree_without_km_is_compared_with_vm(tmp_path: Path) -> None:
    top = changed(tmp_path)
    (top / BACKINGS["km"]).unlink()
    report = report_of(top, tmp_path, "--count", "100", "--jobs", "1")
    said = "cases with mm/percpu-km.c: the tree does not have it"
    assert said in report["not_run"]
    result = conform(top, tmp_path, "--count", "100", "--backing", "km")
    assert result.exit_code == 2
    assert "expected mm/percpu-km.c" in result.output
    archive = tmp_path / "linux-6.12.tar"
    shutil.make_archive(str(archive.with_suffix("")), "tar", tmp_path, "tree")
    (tmp_path / "linux-6.12.tar").rename(tmp_path / "tree.tar")
    report = report_of(tmp_path / "tree.tar", tmp_path, "--count", "100", "--jobs", "1")
    assert said in report["not_run"]


WARNS = """\
--- a/mm/percpu.c
+++ b/mm/percpu.c
@@ -{line},4 +{line},5 @@
 static inline void pcpu_update_empty_pages(struct pcpu_chunk *chunk, int nr)
 {{
+\tint unused_by_all;
 \tchunk->nr_empty_pop_pages += nr;
 \tif (chunk != pcpu_reserved_chunk && !chunk->isolated)
"""


@needs_tree
@pytest.mark.deep
def test_compiler_warnings_are_shown_those_of_the_patch_first(tmp_path: Path) -> None:
    extra = Bug("", "pcpu_size_to_slot", r"if \(size ==", "int of_the_tree; if (size ==")
    top = changed(tmp_path, extra)
    lines = (top / "mm/percpu.c").read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "void pcpu_update_empty_pages(" in text)
    patch = tmp_path / "warns.patch"
    patch.write_text(WARNS.format(line=line))
    arguments = ("--count", "1", "--jobs", "1", "--patch", str(patch))
    first, second = report_of(top, tmp_path, *arguments)["compiler_warnings"]
    assert first.startswith(f"{patch}:6: int unused_by_all; (unused variable")
    assert second.startswith("mm/percpu.c:")
    assert "of_the_tree" in second
    result = conform(top, tmp_path, *arguments)
    assert unfolded(result.stdout).count("compiler warning: ") == 2


# differences in words


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("chunks[3].blk[2][5]", "chunk 3, block 2: right_free"),
        ("chunks[-1].md[2]", "chunk -1: contig_hint of its own hints"),
        ("chunks[0].iso", "chunk 0: isolated"),
        ("chunks[7]", "chunk 7"),
        ("g.nr_empty", "the float, pcpu_nr_empty_pop_pages"),
        ("slots[16][0]", "list 16: chunks, head to tail"),
        ("clause FLT-1", "FLT-1 is broken"),
        ("locks taken wrongly", "locks taken or released wrongly"),
        ("x.something new", "x.something new"),
    ],
)
def test_field_in_words(field: str, said: str) -> None:
    assert sentence(Difference(field, 1, 2)) == f"{said}: kernel 1, model 2"


def test_table_of_fields_names_what_there_is() -> None:
    known = {name for names in FUNCTIONS.values() for name in names} | {
        "pcpu_alloc", "pcpu_free_chunk", "percpu_enable_async",
    }  # fmt: skip
    for name in MEANINGS:
        of = meaning(Difference(name, 0, 1))
        assert set(of.functions.split()) <= known
        assert set(of.clauses.split()) <= clauses().keys()


def test_files_of_a_tree_are_those_of_backings_too() -> None:
    assert set(BACKINGS.values()) <= set(FILES)
