"""What `review` prints, when, in which order and how wide; and what it keeps."""

from __future__ import annotations

import io
import json
import os
import signal
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from processes import COMMAND, started
from rich.console import Console

from percpu_proofs.cli import main
from percpu_proofs.commands import output
from percpu_proofs.commands.review import SERIES
from percpu_proofs.commands.review_lines import FindingLines
from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_proofs.explore.token import Token
from percpu_proofs.review import cache, jobs
from percpu_proofs.review.cache import OutcomeCache, OutcomeSources
from percpu_proofs.review.job import Engine, Job, JobOutcome, ReviewExample
from percpu_proofs.review.jobs import jobs_for
from percpu_proofs.review.matrix import Cell, changes, matrix
from percpu_reference.variants import variant_class
from percpu_spec.catalogue import clauses

MINE = """\
from percpu_reference.variants.linux_6_12 import Linux612

LIMIT = 2


class Mine(Linux612):
    __slots__ = ()

    def should_reclaim_chunk(self, chunk):
        return chunk.nr_empty_pop_pages >= LIMIT
"""


def example(length: int = 3, *, shortest: bool = True, **changed: Any) -> ReviewExample:
    """Return a counterexample of so many operations."""
    setup = tuple(f"a {n} 4096 4 -" for n in range(1, length))
    return replace(ReviewExample("wrong", setup, ("f 1",), (), length, shortest, None), **changed)


def outcome(variant: str, engine: Engine, what: str, **examples: ReviewExample) -> JobOutcome:
    """Return what a job found; `HINT_5=` for HINT-5."""
    found = {clause.replace("_", "-"): one for clause, one in examples.items()}
    judged = dict.fromkeys(clauses(), 1)
    return JobOutcome(Job(variant, engine, what), "fuzzed", "so far", "so", judged, found)


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return str(path)


def canned(monkeypatch: pytest.MonkeyPatch, *outcomes: JobOutcome) -> None:
    """Have jobs found to be what these say, each in turn as it is planned, the rest nothing."""
    known = {one.job: one for one in outcomes}

    def found(job: Job) -> JobOutcome:
        bare = replace(job, examples=())
        return known.get(job) or known.get(bare) or outcome(job.variant, job.engine, job.what)

    def spread(tasks: list[Job], run: object, *, keep: Any, **_: object) -> Any:
        done = [found(job) for job in tasks]
        done = [replace(one, job=job) for one, job in zip(done, tasks, strict=True)]
        for one in reversed(done):  # the order in which they end is not that of the plan
            keep(one)
        return done, False

    monkeypatch.setattr(jobs, "spread", spread)


def reviewed(*words: str) -> tuple[int, str, str]:
    """Run a review without kept results; return the exit status and what it prints."""
    done = CliRunner().invoke(main, ["review", "--no-cache", *words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def declared(variant: str, length: int = 6) -> JobOutcome:
    """Return a search that finds all that a variant declares."""
    broken = variant_class(variant).EXPECTED
    found = {clause.replace("-", "_"): example(length) for clause in broken}
    return outcome(variant, "sequences", "pages", **found)


# how much, how wide


def test_a_screen_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all that the series declares; what variants share is shown once."""
    canned(monkeypatch, *(declared(name, 5) for name in SERIES))
    code, printed, _ = reviewed()
    lines = printed.splitlines()
    assert code == 0 and "all as declared" in lines[-1]
    assert len(lines) < 120
    assert all(len(line) <= output.PIPED_WIDTH and line == line.rstrip() for line in lines)
    assert printed.count("unit=32768") == 1  # the geometry is said once
    named = {name for line in lines for name in line.split()}
    assert set(SERIES) <= named and {"RCL-3", "TLB-1", "HINT-5"} <= named
    (holds,) = (n for n, line in enumerate(lines) if line.startswith("holds: ACC-1, "))
    row = next(line for line in lines if line.startswith("RCL-3    "))
    assert row.split()[-5:] == ["5", "-", "-", "5", "."]
    assert "MAP-1" in "".join(lines[holds : holds + 5])
    assert not any(line.startswith("MAP-1") for line in lines)


@pytest.mark.parametrize(("length", "shown"), [(12, True), (21, False)])
def test_long_counterexamples_are_for_another_command(
    length: int, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    canned(monkeypatch, outcome("linux_7_1", "hunt", "race", LIST_2=example(length)))
    _, printed, _ = reviewed("--variant", "linux_7_1")
    assert ("a 9 4096 4 -" in printed) == shown
    assert ("--clause LIST-2" in printed) != shown


def test_tables_of_all_commands_are_as_wide_as_a_mail() -> None:
    out = io.StringIO()
    with redirect_stdout(out):
        console: Console = output.console()
        assert console.width == output.PIPED_WIDTH == 76
        console.print(output.table("t", ("a", "b"), [("x", "long " * 40), ("", "")]))
    lines = out.getvalue().splitlines()
    assert len(lines) > 4 and all(len(line) <= 76 and line == line.rstrip() for line in lines)


# in which order


def test_findings_are_told_when_a_stage_is_done() -> None:
    out = io.StringIO()
    lines = FindingLines(Console(file=out, width=76), lambda *of: True)

    def told(one: JobOutcome, following: JobOutcome | None) -> str:
        at = out.tell()
        lines(one, following and following.job)
        return out.getvalue()[at:]

    long = example(34, shortest=False)
    found = [
        outcome("linux_7_1", "scenario", "reuse", RCL_3=long, BAL_2=example(2)),
        outcome("linux_7_1", "sequences", "pages", HINT_5=example(4)),
        outcome("linux_7_1", "sequences", "crumbs", HINT_5=example(3)),
        outcome("linux_7_1", "hunt", "race", BAL_2=example(3), RCL_3=example(5)),
        outcome("linux_7_1", "fuzz", "pages", HINT_4=example(24, shortest=False)),
    ]
    first, second, third, fourth, last = map(told, found, [*found[1:], None])
    assert not first and not second  # there may be shorter ones
    assert "linux_7_1" in third and "BAL-2   2" in third and "HINT-5  3" in third
    assert "RCL-3" not in third  # hunts may have a shorter one
    assert fourth.split()[:2] == ["RCL-3", "5"] and "BAL-2" not in fourth
    assert not last  # it is made small before
    cells = matrix(["linux_7_1"], [*found, outcome("linux_7_1", "hunt", "x", HINT_5=example(2))])
    at = out.tell()
    lines.end(cells)
    last = out.getvalue()[at:]
    assert "HINT-4 24" in last and "HINT-5  2 shorter" in last and "BAL-2" not in last


def test_each_mechanism_has_a_line() -> None:
    out = io.StringIO()
    lines = FindingLines(Console(file=out, width=76), lambda *of: True)
    lines(outcome("linux_7_1", "sequences", "pages", RCL_3=example(5)), None)
    lines(outcome("linux_7_1", "mechanism", "RCL-3 R1", RCL_3=example(7)), None)
    lines(outcome("linux_7_1", "mechanism", "RCL-3 R2", RCL_3=example(5)), None)
    lines(replace(outcome("linux_7_1", "mechanism", "HINT-5 L4"), reach="3 lists"), None)
    lines(outcome("linux_mm", "mechanism", "RCL-3 R1", RCL_3=example(7)), None)
    lines.end([])
    printed = out.getvalue()
    assert "RCL-3   7 R1: a 1 4096" in printed and "RCL-3   5 R2: as above" in printed
    assert "HINT-5  - L4: no counterexample of it alone: 3 lists" in printed
    assert "linux_mm as linux_7_1: RCL-3 R1 7" in printed


def test_clauses_that_are_broken_by_the_same_have_one_line() -> None:
    out = io.StringIO()
    lines = FindingLines(Console(file=out, width=76), lambda *of: True)
    lines(outcome("rfc_1", "hunt", "race", ISO_1=example(4), LIST_1=example(4)), None)
    lines(outcome("rfc_series", "hunt", "race", ISO_1=example(4), RCL_1=example(5)), None)
    lines.end([])
    printed = out.getvalue().splitlines()
    assert printed[:2] == ["rfc_1", "  ISO-1, LIST-1  4 " + "; ".join(example(4).setup) + "; f 1"]
    assert printed[2] == "rfc_series" and printed[-1] == "  as rfc_1: ISO-1 4"


def test_what_is_new_comes_first(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"HINT_5": example(3), "LIST_2": example(4), "BAL_2": example(3)}
    new = example(2, message="float fell")
    canned(
        monkeypatch,
        outcome(mine, "sequences", "pages", **both | {"RCL_1": new, "BAL_2": example(2)}),
        outcome("linux_6_12", "sequences", "pages", **both, BAL_1=example(5)),
    )
    code, printed, _ = reviewed("--variant", mine)
    assert code == 1
    order = [
        "NOT DECLARED", "NEW in mine, not in linux_6_12", "float fell", "mended, broken by",
        "fewer operations than", "broken as by linux_6_12: HINT-5, LIST-2", "1 mine",
    ]  # fmt: skip
    at = [printed.index(text) for text in order]
    assert at == sorted(at)
    code, printed, _ = reviewed("--variant", mine, "--json")
    found = json.loads(printed)
    assert found["changes"] == {
        "new": ["RCL-1"], "mended": ["BAL-1"], "shorter": ["BAL-2"], "longer": [],
        "unchanged": ["HINT-5", "LIST-2"], "open": [], "otherwise": [],
    }  # fmt: skip
    assert found["variants"].keys() == {mine} and found["bases"] == {mine: "linux_6_12"}
    assert found["variants"][mine]["RCL-1"]["counterexample"]["length"] == 2
    assert code == 1 and found["not_asked"].keys() <= set(clauses())


def test_mechanisms_of_a_variant_begin_with_those_of_its_base(
    mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that what the base shows and the variant does not is none of its searches' chance."""
    token = Token("linux_6_12", "RCL-3", KERNEL_32K, ("a 1 4096 4 -",), ("f 1",), 1, ())
    base = ReviewExample.of("wrong", token, shortest=True)
    canned(monkeypatch, outcome("linux_6_12", "mechanism", "RCL-3 R1", RCL_3=base))
    rounds: list[list[Job]] = []
    spread = jobs.spread

    def recording(tasks: list[Job], *given: Any, **options: Any) -> Any:
        rounds.append(tasks)
        return spread(tasks, *given, **options)

    monkeypatch.setattr(jobs, "spread", recording)
    jobs.ReviewRun((mine, "linux_6_12")).run(jobs.Workers(1))
    _, second, third = rounds
    assert {job.variant for job in second} == {"linux_6_12"}
    known = {job.what: job.examples for job in third if job.variant == mine}
    assert known["RCL-3 R1"] == (base,) and known["RCL-3 R2"] == ()


FIXED = """\
from percpu_reference.variants.linux_7_1 import Linux71


class Fixed(Linux71):
    __slots__ = ()
    {}

    def sideline_chunk(self, chunk):
        if not chunk.nr_empty_pop_pages:
            super().sideline_chunk(chunk)
"""


@pytest.fixture(params=["", 'EXPECTED = Linux71.EXPECTED | {"RCL-3": "R2"}'])
def fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A variant that breaks RCL-3 by R2 still, no longer by R1, and may declare so."""
    path = tmp_path / "fixed.py"
    path.write_text(FIXED.format(request.param))
    by_r1, by_r2 = (ReviewExample.of("left over", token, shortest=False) for token in (R1, R2))
    canned(
        monkeypatch,
        outcome("linux_7_1", "hunt", "race", RCL_3=by_r2),
        outcome(str(path), "hunt", "race", RCL_3=by_r2),
        outcome("linux_7_1", "mechanism", "RCL-3 R1", RCL_3=by_r1),
        outcome("linux_7_1", "mechanism", "RCL-3 R2", RCL_3=by_r2),
        outcome(str(path), "mechanism", "RCL-3 R2", RCL_3=by_r2),
        replace(outcome(str(path), "mechanism", "RCL-3 R1"), reach="11 known counterexamples"),
    )
    monkeypatch.chdir(tmp_path)
    return str(path)


def test_a_finding_of_several_that_is_mended_is_told(fixed: str, tmp_path: Path) -> None:
    _, printed, wrong = reviewed("--variant", fixed, "--json")
    assert printed, wrong
    changed = json.loads(printed)["changes"]
    assert "RCL-3 by R1" in changed["mended"] and "RCL-3 by R2" not in changed["mended"]
    assert "RCL-3" not in changed["unchanged"] and not changed["new"]
    _, printed, _ = reviewed("--variant", fixed)
    whole = " ".join(printed.split())
    of_r1 = whole.partition("mended, broken by linux_7_1 ")[2]
    assert "RCL-3 by R1: Quiescent" in of_r1 and "6~ operations: " in of_r1
    assert "looked for in fixed: 11 known counterexamples" in of_r1
    assert "broken as by linux_7_1 but for these findings: RCL-3" in whole
    last = whole.partition(" searches in ")[2]
    assert "new: nothing; mended: " in last and "fixed RCL-3 by R1" in last
    _, printed, _ = reviewed("--variant", fixed, "--mail")
    lines = printed.splitlines()
    assert "breaks RCL-3" in lines[0] and "Known: R1," in printed
    assert all(len(line) <= 76 for line in lines) and len(lines) <= 40
    assert "Mended by fixed.py, as far as was searched: " in printed and "RCL-3 by R1" in printed
    page = tmp_path / "review.html"
    reviewed("--variant", fixed, "--html", str(page))
    html = page.read_text()
    assert "No longer broken by a finding" in html and "no longer by R1" in html
    assert "Broken by the class that it extends." not in html


def test_a_finding_that_what_is_extended_does_not_have_is_new() -> None:
    def cell(variant: str, **found: ReviewExample | None) -> Cell:
        made = Cell(variant, "RCL-3", "violated", "violated", example=example(2))
        return replace(made, mechanisms=found)

    before = cell("linux_6_12", R1=example(4), R2=None)
    more = cell("linux_6_12+L2", R1=example(4), R2=example(5), R3=example(3))
    found = changes("linux_6_12+L2", [before, more])
    assert (found.new, found.open, found.mended) == (["RCL-3 by R3"], ["RCL-3 by R2"], [])
    assert found.by_finding == ["RCL-3"] and not found.unchanged
    unasked = changes("linux_6_12+L2", [before, cell("linux_6_12+L2")])  # part of a review
    assert unasked.unchanged == ["RCL-3"] and not unasked.by_finding


def test_only_what_was_searched_as_far_is_new_or_mended(mine: str) -> None:
    def cell(variant: str, clause: str, length: int | None, reach: float) -> Cell:
        found = None if length is None else example(length)
        verdict = "holds" if found is None else "violated"
        made = Cell(variant, clause, "holds", "holds", example=found, engine="hunt race")
        return replace(made, verdict=verdict, reach={"hunt race": reach})

    cases = [("RCL-1", 5, None, 5), ("RCL-2", 5, None, 4), ("BAL-1", None, 5, 5)]
    both = [cell(mine, clause, mine_at, reach) for clause, mine_at, _, reach in cases]
    both += [cell("linux_6_12", clause, base_at, reach) for clause, _, base_at, reach in cases]
    found = changes(mine, both)
    assert (found.new, found.open, found.mended) == (["RCL-1"], ["RCL-2"], ["BAL-1"])
    alone = changes(mine, both[:3])  # then what the base declares counts
    assert (alone.new, alone.mended) == (["RCL-1", "RCL-2"], ["BAL-1"])


# what is asked for


def test_a_clause_is_shown_alone_and_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    canned(monkeypatch, declared("linux_7_1"))
    words = ("--variant", "linux_7_1", "--clause", "LIST-2", "--clause", "MAP-1")
    code, printed, _ = reviewed(*words)
    assert code == 0 and "LIST-2" in printed and "HINT-5" not in printed
    assert "holds: MAP-1" in printed and "linux_7_1 LIST-2 violated, as declared" in printed
    _, printed, _ = reviewed(*words, "--json")
    assert json.loads(printed)["variants"]["linux_7_1"].keys() == {"LIST-2", "MAP-1"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--clause", "HINT-55"], "HINT-5"),
        (["--search", "raze"], "expected one of"),
        (["--variant", "7.1", "--search", "nope"], " more, found 'nope'"),
        (["--variant", "7.1", "--finding", "R1", "--clause", "FLT-1"],
         "expected no finding: linux_7_1 declares none of FLT-1, found 'R1'"),
        (["--variant", "7.1", "--finding", "R4", "--clause", "RCL-3"],
         "expected one that linux_7_1 declares of RCL-3 (R1, R2), found 'R4'"),
        (["--search", "hunt rac"], "hunt race"),
        (["--geometry", "page=16384"], "--source TREE beside it"),
        (["--quick", "--deep"], "one of them"),
        (["--variant", "linux_7_1+R9"], "R9: expected some of"),
    ],
)
def test_a_word_that_is_none_is_told_with_those_near_it(words: list[str], says: str) -> None:
    code, printed, told = reviewed(*words)
    assert code == 2 and not printed
    (line,) = told.splitlines()
    assert says in line and len(line) < 260


def test_searches_are_chosen_by_name() -> None:
    every = jobs_for(("linux_7_1",))
    assert {job.name for job in jobs_for(("linux_7_1",), searches=("hunt race",))} == {"hunt race"}
    pages = {job.name for job in jobs_for(("linux_7_1",), searches=("pages",))}
    assert pages == {"hunt pages", "sequences pages", "fuzz pages"}
    assert {job.engine for job in jobs_for(("linux_7_1",), searches=("scenario",))} == {"scenario"}
    telling = [job.engine not in ("fuzz", "workload") for job in every]
    assert telling == sorted(telling, reverse=True)  # what finds the shortest comes first


def test_a_search_alone_and_a_quick_one_give_no_verdict_that_they_cannot() -> None:
    """In processes of their own: what is declared and does not show in so little is no fault."""
    code, printed, _ = reviewed(
        "--variant", "linux_7_1", "--search", "limits", "--quick", "--jobs", "1", "--json"
    )
    found = json.loads(printed)
    assert code == 0 and found["jobs"] == {"planned": 1, "done": 1, "kept": 0}
    cells = found["variants"]["linux_7_1"]
    assert cells["RCL-3"]["verdict"] == "unchecked" and cells["MAP-1"]["verdict"] == "holds"
    assert "all lists of up to 1 operation" in cells["MAP-1"]["evidence"][0]["bound"]


def test_a_block_for_a_mail_is_about_what_is_new(
    mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = Token(mine, "RCL-1", KERNEL_32K, ("a 1 28672 4 -", "a 2 28672 4 -", "a 3 4096 4 -"),
                  ("f 2",), 1, ())  # fmt: skip
    new = ReviewExample.of("float fell", token, shortest=True)
    known = replace(new, length=2)
    canned(monkeypatch, outcome(mine, "sequences", "pages", RCL_1=new, RCL_5=new, HINT_5=known))
    monkeypatch.chdir(tmp_path)  # where names of tokens are entered
    code, printed, _ = reviewed("--variant", mine, "--mail")
    lines = printed.splitlines()
    assert code == 1 and len(lines) <= 40 and all(len(line) <= 76 for line in lines)
    assert "breaks RCL-1" in lines[0] and "RCL-5 broken too" in printed
    canned(monkeypatch, outcome(mine, "sequences", "pages"))
    _, printed, told = reviewed("--variant", "linux_7_1", "--search", "limits", "--mail")
    assert not printed and "nothing to report" in told
    asked = ("--variant", "linux_7_1", "--search", "limits", "--clause", "HINT-6", "--mail")
    _, printed, told = reviewed(*asked)  # said of that clause alone, and of the variant alone
    assert not printed and "HINT-6 of linux_7_1: not applicable (" in told
    assert told.count(" of linux_") == 1


R1 = Token("linux_7_1", "RCL-3", KERNEL_32K,
           ("a 1 8192 4 -", "a 2 24576 4 -", "a 3 4 4 -", "a 4 4096 4 -", "f 2"), ("f 4",), 2,
           (1, 0, 0, 1, 1, 2))  # fmt: skip
R2 = Token("linux_7_1", "RCL-3", KERNEL_32K, ("a 1 8192 4 -", "a 2 28672 4 -", "a 3 4096 4 -"),
           ("a 4 8192 4 -", "f 2"), 1, (1, 2, 1, 2, 2, 0, 0))  # fmt: skip


def two_mechanisms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have linux_7_1 break RCL-3 by R2 in fewer operations than by R1."""
    by_r2, by_r1 = ReviewExample.of("", R2, shortest=True), ReviewExample.of("", R1, shortest=False)
    hunt = outcome("linux_7_1", "hunt", "race", RCL_3=by_r2)
    alone = [
        outcome("linux_7_1", "mechanism", f"RCL-3 {name}", RCL_3=one)
        for name, one in (("R1", by_r1), ("R2", by_r2))
    ]
    canned(monkeypatch, hunt, *(
        replace(one, reach="known", job=replace(one.job, examples=(by_r2,))) for one in alone
    ))  # fmt: skip


def test_each_finding_has_a_block_for_a_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    two_mechanisms(monkeypatch)
    asked = ("--variant", "linux_7_1", "--clause", "RCL-3", "--mail")
    _, shortest, _ = reviewed(*asked)
    assert "Known: R2," in shortest and "5 operations" not in shortest
    whole = " ".join(shortest.split())
    line = "percpu-spec review --variant 7.1 --clause RCL-3 --finding R1"
    assert f"Also by R1: {line} " in whole
    _, printed, _ = reviewed(*line.split()[2:], "--mail")
    assert "Known: R1," in printed and "free d: " in printed and len(printed.splitlines()) <= 40
    whole = " ".join(printed.split())
    assert "Also by R2: " in whole and "--finding R2 " in whole and "left out:" not in whole
    assert "Searched: R1 alone, the others mended: known; made small, maybe not" in whole
    assert reviewed("--variant", "linux_7_1", "--finding", "R1", "--mail")[1] == printed


def test_a_finding_is_shown_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    two_mechanisms(monkeypatch)
    _, printed, _ = reviewed("--variant", "linux_7_1", "--clause", "RCL-3", "--finding", "R1")
    assert "by R1, 6 operations" in printed and "| beside the work: f 4 | then: b" in printed
    assert "RCL-3   6~ R1: a 1 8192" in printed and "R2" not in printed.split("\nlinux_7_1 RCL")[0]
    assert "a 2 28672" not in printed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--finding", "R11"], "R1"),
        (["--finding", "R3", "--clause", "RCL-3"], "(R1, R2)"),
        (["--finding", "R1", "--variant", "reference"], "declares none"),
        (["--finding", "R1", "--quick"], "the whole review"),
        (["--finding", "R1", "--search", "race"], "the whole review"),
        (["--finding", "R1", "--source", "nowhere"], "of a tree no finding"),
    ],
)
def test_a_finding_that_is_none_is_told(words: list[str], says: str) -> None:
    code, printed, told = reviewed(*words)
    (line,) = told.splitlines()
    assert code == 2 and not printed and says in line


def test_a_heading_is_printed_once(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    new = example(2, message="float fell")
    canned(monkeypatch, outcome(mine, "sequences", "pages", RCL_1=new))
    _, printed, _ = reviewed("--variant", mine)
    told = printed.partition("NEW in mine")[2].partition("1 mine")[0]
    assert told.count("RCL-1") == 1 and "    2 operations: a 1 4096" in told
    out = io.StringIO()
    lines = FindingLines(Console(file=out, width=76), lambda *of: True)
    for one in (outcome("rfc_1", "hunt", "race", ISO_1=example(4)),
                outcome("linux_6_12", "hunt", "race", BAL_1=example(5)),
                outcome("rfc_1", "hunt", "race", ISO_1=example(3))):  # fmt: skip
        lines(one, None)
    heads = [line for line in out.getvalue().splitlines() if line[:1].isalpha()]
    assert heads == ["rfc_1", "linux_6_12", "rfc_1, more of it"]


# what is kept


def test_outcomes_are_kept_while_nothing_changes(
    mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(mine, "hunt", "race")
    kept = JobOutcome(job, "fuzzed", "so far", "so")
    folder = tmp_path / "kept"
    OutcomeCache(folder).keep(kept)
    assert OutcomeCache(folder).find(job) == kept
    assert OutcomeCache(folder).find(replace(job, quick=True)) is None
    OutcomeCache(folder).keep(replace(kept, job=replace(job, what="pages"), complete=False))
    assert OutcomeCache(folder).find(replace(job, what="pages")) is None
    (file,) = folder.glob("*/*")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert OutcomeCache(folder).find(job) is None  # cut off
    file.write_bytes(whole)
    Path(mine).write_text(MINE.replace("LIMIT = 2", "LIMIT = 3"))
    assert OutcomeCache(folder).find(job) is None
    Path(mine).write_text(MINE)
    monkeypatch.setattr(cache.OutcomeSources, "unchanged", False)
    other = replace(kept, job=replace(job, what="window"))
    OutcomeCache(folder).keep(other)
    assert OutcomeCache(folder).find(other.job) is None  # the packages were written to while it ran
    monkeypatch.setattr(cache, "_DAYS", -1)
    OutcomeCache(folder)._drop_old()
    assert not list(folder.iterdir())


def test_what_a_file_imports_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "inner_limits.py").write_text("LIMIT = 2\n")
    (tmp_path / "outer_limits.py").write_text("from inner_limits import LIMIT\n")
    path = tmp_path / "mine.py"
    path.write_text("from outer_limits import LIMIT\n" + MINE.replace("LIMIT = 2\n", ""))
    sources = OutcomeSources()
    before = sources.hash_of(str(path))
    assert sources.unchanged and before != sources.hash_of(f"{path}+R1")
    (tmp_path / "inner_limits.py").write_text("LIMIT = 3\n")
    assert OutcomeSources().hash_of(str(path)) != before


def test_kept_outcomes_are_not_searched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canned(monkeypatch, declared("linux_7_1"))
    kept = OutcomeCache(tmp_path)
    first, again, other = map(jobs.ReviewRun, [("linux_7_1",), ("linux_7_1",), ("linux_6_12",)])
    first.run(jobs.Workers(1, cache=kept))
    monkeypatch.setattr(jobs, "spread", lambda tasks, *_, **__: ([], bool(tasks)))
    again.run(jobs.Workers(1, cache=kept))
    assert again.cells() == first.cells() and again.cached == again.planned
    other.run(jobs.Workers(1, cache=kept))
    assert other.interrupted and not other.cached


# as it runs


@pytest.mark.deep
def test_findings_are_there_before_the_end_and_a_signal_leaves_nothing(tmp_path: Path) -> None:
    """Piped: the first finding is read while workers run; SIGTERM then ends them."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path)
    with started(*COMMAND, "review", "--variant", "linux_7_1", "--no-cache") as run:
        assert run.stdout is not None
        seen = next(line for line in run.stdout if line.startswith("  HINT-5"))
        assert "a 1 28656 4 -" in seen
        run.send_signal(signal.SIGTERM)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "interrupted: " in out and "HINT-5" in out and "Traceback" not in err


@pytest.mark.deep
def test_the_whole_review_is_a_screen() -> None:
    done = CliRunner().invoke(main, ["review"])  # what another test has searched is kept
    lines = done.stdout.splitlines()
    assert done.exit_code == 0 and len(lines) < 120
    assert all(len(line) <= 76 and line == line.rstrip() for line in lines)
    for finding in ("HINT-5  3 L1", "L2:", "L4:", "L5:", "R1:", "R2:"):
        assert any(finding in line for line in lines), finding
