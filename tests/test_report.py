"""The report: what stands in its pages, and that they need nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from kernel_trees import FOUND, MISSING, tree_of
from pages import Page

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.commands import output
from percpu_proofs.counterexample.of_model import of_token
from percpu_proofs.report.book import book
from percpu_proofs.report.document import Code, Places, Prose
from percpu_proofs.report.entries import citations, kernel_functions
from percpu_proofs.report.pictures import LEGEND, ChunkBars, part
from percpu_proofs.report.reviews import report_of_variants
from percpu_proofs.report.walks import walk, walks
from percpu_proofs.review.job import Job, JobOutcome, run
from percpu_proofs.review.matrix import Cell, matrix
from percpu_proofs.show.chart import Panel, Series, Style, chart_svg
from percpu_reference.variants import VARIANTS
from percpu_spec.catalogue import clauses, findings


@cache
def cells() -> list[Cell]:
    """Return the verdicts of two short searches."""
    jobs = [Job("linux_6_12", "sequences", "quarters"), Job("linux_6_12", "scenario", "reuse")]
    return matrix(["linux_6_12"], [run(job) for job in jobs])


def test_a_book_is_whole_and_needs_nothing_else() -> None:
    html, counts = book(cells())
    page = Page(html)
    assert page.problems() == []
    assert {*clauses(), *findings()} <= page.ids.keys()
    assert counts["clauses"] == len(clauses()) and counts["walks"] == 3
    assert {"walk-HINT-3-linux_6_12", "walk-RCL-3-linux_6_12"} <= page.ids.keys()
    found = {place for place, *_ in page.index}
    assert {*clauses(), *findings(), *(f.name for f in kernel_functions())} <= found
    assert len(html.encode()) < 5_000_000
    # a clause stands with its predicate, its contracts, its claims and its tests
    entries = dict(re.findall(r'<h3 id="([^"]+)">(.*?)(?=<h3 id=)', html, re.DOTALL))
    for part_of_it in ("isolated_are_apart", "isolate_chunk", "claim-isolate-by-bits",
                       next(iter(citations()["ISO-2"])), "5.17 to 6.12"):  # fmt: skip
        assert part_of_it in entries["ISO-2"], part_of_it
    # every kernel function leads to its clauses, and they to it
    for function in kernel_functions():
        for clause in function.clauses:
            assert f'href="#{clause}"' in entries[function.name]
            assert f'href="#{function.name}"' in entries[clause]


def test_every_kernel_function_leads_to_clauses_and_back() -> None:
    functions = kernel_functions()
    assert all(one.functions for one in functions)
    isolate = next(one for one in functions if one.name == "pcpu_isolate_chunk")
    assert {"ISO-2", "FLT-1", "RCL-5"} <= set(isolate.clauses)
    assert "count-isolate" in isolate.functions[0].claims
    page_for = next(one for one in functions if one.name == "pcpu_block_update_hint_free")
    assert page_for.findings[0] == "L1"


def test_each_clause_is_cited_by_tests() -> None:
    assert clauses().keys() <= citations().keys()
    assert "test_lock_guard.py" in citations()["LOCK-1"]


def test_an_installed_package_has_no_tests_to_cite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "REPOSITORY", tmp_path)
    assert citations.__wrapped__() == {}
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert "tests" not in shipped["only-include"] and "tests" not in shipped["sources"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see HINT-5", '<p>see <a href="#HINT-5">HINT-5</a></p>\n'),
        ("`pcpu_alloc()` <b>", '<p><a href="#place"><code>pcpu_alloc()</code></a> &lt;b&gt;</p>\n'),
        ("HINT-99 and pcpu_other", "<p>HINT-99 and pcpu_other</p>\n"),
        ("L1", "<p>L1</p>\n"),  # here
    ],
)
def test_names_in_texts_are_links(text: str, shown: str) -> None:
    prose = Prose(Places({"pcpu_alloc_noprof": "place"}), {})
    assert prose.markdown(text, "L1") == shown


def test_names_in_docstrings_and_calls_in_code_are_links() -> None:
    places = Places({"held": "here"})
    said = Prose(places, {}).docstring("`held` or *not* (L2), held")
    code = '<a href="#here"><code>held</code></a> or *not* (<a href="#L2">L2</a>), held'
    assert said == code
    shown = Code(places).text("def held(x):\n    return held(held)  # held\n")
    assert shown.count('<a href="#here">held</a>(held)') == shown.count("<a") == 1


def test_a_word_of_the_glossary_is_a_link_where_it_first_stands() -> None:
    html = Prose(Places(), {"float": "term-float"}).statement("The float, a floating float.")
    link = '<a class="term" href="#term-float">float</a>'
    assert html == f"<p>The {link}, a floating float.</p>\n"


def test_a_walk_tells_what_each_step_changes() -> None:
    example = next(cell.example for cell in cells() if cell.clause == "RCL-3")
    assert example is not None and example.token is not None
    bars = ChunkBars()
    shown = walk(of_token(example.token), bars, "here")
    numbers = [0 if panel.step is None else panel.step.number for panel in shown.panels]
    assert numbers == list(range(len(shown.panels)))
    floats = [
        (before, now) for panel in shown.panels for name, before, now in panel.counters
        if name == "pcpu_nr_empty_pop_pages"
    ]  # fmt: skip
    assert all(was[1] == now[0] for was, now in pairwise(floats))
    assert len({was for was, _ in floats}) > 1
    assert shown.mechanism.startswith("R1, ")
    last = shown.panels[-1]
    assert last.step is not None and "RCL-3" in dict(last.step.broken)
    drawn = str(bars.symbols())
    used = re.findall(r'href="#(\w+)"', "".join(r.bar for p in shown.panels for r in p.rows))
    assert used and set(used) == set(re.findall(r'<g id="(\w+)"', drawn))
    assert '<path class="e" d="M0 0h100v24h-100z' in drawn
    style = (files("percpu_proofs.report") / "templates/style.css").read_text("utf-8")
    # what is drawn once and used elsewhere has no ancestors there
    assert all(f"\npath.{name} {{" in style.replace("} path", "}\npath") for name, _ in LEGEND)


def test_each_mechanism_of_a_clause_has_its_walk() -> None:
    cell = next(cell for cell in cells() if cell.clause == "RCL-3")
    other = run(Job("linux_6_12", "scenario", "reclaim-frees")).examples["RCL-3"]
    both = replace(cell, mechanisms={"R1": cell.example, "R2": other, "R3": None})
    shown = list(walks(both, ChunkBars()))
    assert [one.id for one in shown] == ["walk-RCL-3-linux_6_12", "walk-RCL-3-linux_6_12-R2"]
    assert [one.mechanism[:3] for one in shown] == ["R1,", "R2,"]
    assert [one.finding for one in shown] == ["R1", "R2"]
    several = replace(shown[0], of=replace(shown[0].of, mechanism="R1, R2"))
    assert several.finding == "" and "; R2, " in several.mechanism
    assert [one.command.split()[-1] for one in shown] == [cell.example.token, other.token]


def test_drawings_take_the_colours_of_the_page() -> None:
    series = Series("a", [(0.0, 1.0), (2.0, 3.0)], Style("#123456"))
    svg = part(chart_svg("title", [Panel("panel", "x", "y", [series])]))
    assert "<style>" not in svg and "<defs>" not in svg and "width=" not in svg.split(">")[0]
    assert "var(--ink)" not in svg  # texts take it from the style sheet
    assert 'stroke="var(--faint)"' in svg and 'stroke="#123456"' in svg


def test_a_review_begins_with_what_is_not_as_declared() -> None:
    for cell in cells():
        if cell.clause == "HINT-4":
            cell.expected = "holds"
    try:
        html = report_of_variants(cells(), {})
    finally:
        for cell in cells():
            if cell.clause == "HINT-4":
                cell.expected = "violated"
    page = Page(html)
    assert page.problems() == []
    heads = [html.index(words) for words in ("<h2>Not as declared", "<h2>Broken, as declared")]
    assert heads[0] < html.index('id="walk-HINT-4-linux_6_12"') < heads[1]
    assert heads[1] < html.index('id="walk-RCL-3-linux_6_12"')


def test_a_state_is_told_in_a_page(tmp_path: Path) -> None:
    saved = data.folder("states") / "61_2.removed.txt.gz"
    into = tmp_path / "state.html"
    done = CliRunner().invoke(main, ["state", str(saved), "--html", str(into)])
    assert done.exit_code == 0, done.output
    html = into.read_text("utf-8")
    page = Page(html)
    assert page.problems() == []
    assert {"chunk-0", "map", "verdicts"} <= page.ids.keys()
    assert html.count("<svg") > 5 and len(html.encode()) < 5_000_000


def test_a_report_is_written_where_it_can_be(tmp_path: Path) -> None:
    saved = str(data.folder("states") / "61_2.removed.txt.gz")
    for command in (["report"], ["review"], ["state", saved]):
        done = CliRunner().invoke(main, [*command, "--html", f"{tmp_path}/none/x.html"])
        assert done.exit_code == 2
        assert "no such folder" in done.output
    done = CliRunner().invoke(main, ["state", saved, "--html", "/dev/full"])
    assert done.exit_code == 2
    assert done.stderr.strip() == (
        "percpu-spec: /dev/full: expected a place that can be written (No space left on device)"
    )


@pytest.mark.deep
@pytest.mark.skipif(not FOUND, reason=MISSING)
def test_a_patch_is_told_in_a_page(tmp_path: Path) -> None:
    into = tmp_path / "patch.html"
    tree = ["--source", str(tree_of(FOUND[-1]).top), "--fix", "L3"]
    limits = ["--search", "quarters", "--quick", "--html", str(into)]
    done = CliRunner().invoke(main, ["review", *tree, *limits])
    assert done.exit_code == 0, done.output
    html = into.read_text("utf-8")
    page = Page(html)
    assert page.problems() == []
    heads = re.findall("<h2>([^<]*)", html)
    assert heads[0].startswith("Mended by the patch, broken by Linux ")
    mended = html.partition('id="group-1"')[2].partition('id="group-2"')[0]
    assert 'id="walk-HINT-4"' in mended and mended.count('<section class="panel">') > 2
    assert "+\t" in html and "L3-scan-order.patch" in html


def test_a_cold_book_says_what_it_takes_and_is_made_of_what_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run(Job("linux_6_12", "sequences", "quarters"))

    def stopped(tasks: list[Job], *_: object, **__: object) -> tuple[list[JobOutcome], bool]:
        time.sleep(2.5)  # of long work, as the bar sees it
        return [outcome] if outcome.job in tasks else [], True  # as Ctrl-C does

    monkeypatch.setattr("percpu_proofs.review.jobs.spread", stopped)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("percpu_proofs.commands.console._EXPECTED_LINE", 1.0)
    monkeypatch.setattr("percpu_proofs.commands.console._FIRST_LINE", 2.0)
    into = tmp_path / "book.html"
    done = CliRunner().invoke(main, ["report", "--html", str(into), "--jobs", "2"])
    expected = r"^review: (\d+) of \1 searches to run, about \d+ (?:min|s)$"
    assert re.search(expected, done.stderr, re.M)
    assert re.search(r"^review: \d+ s", done.stderr, re.M)
    assert done.exit_code == 130 and done.stdout.startswith("interrupted: 1 of ")
    html = into.read_text("utf-8")
    assert "Not every search was done" in html and "walk-HINT-3-linux_6_12" in html
    assert "Not every search was done" not in book(cells())[0]


def test_lines_of_long_work_say_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with output.progress_bar("short", 1.0) as bar:
        bar(1, 3)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("percpu_proofs.commands.console._EXPECTED_LINE", 0.02)
    monkeypatch.setattr("percpu_proofs.commands.console._FIRST_LINE", 0.05)
    monkeypatch.setattr("percpu_proofs.commands.console._NEXT_LINE", 0.05)
    with output.progress_bar("long", 60.0) as bar:
        bar(0, 4)
        bar(1, 4)
        time.sleep(0.2)
    first, second, third, *_ = capsys.readouterr().err.splitlines()
    assert first == "long: 4 of 4 searches to run, about 4 min"
    assert second == third == "long: 0 s, 25 % done, about 3 min left"  # the short come first


@pytest.mark.deep
@pytest.mark.timeout(2400)
def test_the_book_is_made_from_kept_results(tmp_path: Path) -> None:
    into = tmp_path / "book.html"
    for _ in range(2):  # the first keeps what the second finds
        began = time.process_time()
        done = CliRunner().invoke(main, ["report", "--html", str(into), "--json"])
        assert done.exit_code == 0, done.output
    assert time.process_time() - began < 10
    told = json.loads(done.stdout)
    assert told["bytes"] == into.stat().st_size < 5_000_000
    assert told["walks"] > 60 and told["clauses"] == len(clauses())
    html = into.read_text("utf-8")
    page = Page(html)
    assert page.problems() == []
    assert {f"variant-{name}" for name in VARIANTS} <= page.ids.keys()
    assert html.count('<div class="walk"') == told["walks"]


@pytest.mark.deep
def test_the_same_inputs_give_the_same_bytes() -> None:
    code = "from test_report import book, cells; print(book(cells())[0])"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True,
            cwd=Path(__file__).parent, env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(seen) == 1 and len(seen.pop()) > 1_000_000
