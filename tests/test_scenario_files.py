"""Scenario files: what they say is what is searched, and what is wrong in them is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from percpu_proofs.cli import main
from percpu_proofs.explore.scenario import parse_scenario, read_scenario
from percpu_proofs.explore.scenarios import FOLDER, SCENARIOS

MINE = """\
# two of my own
shows   A free beside the work.
geometry unit=32768,static=4096,reserved=0,dyn=28672,cpus=2
works   1

setup
  a 1..22 4096 4 -  # fills three chunks
  f 8..19
actors
  f 20
  a 100 4096 4 A
expected
  linux_6_12 {verdict}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.txt"
    path.write_text(text)
    return path


def test_a_file_says_what_runs_and_how_far(tmp_path: Path) -> None:
    read = read_scenario(written(tmp_path, MINE.format(verdict="73 RCL-3")))
    assert (read.name, read.what, read.works) == ("mine", "A free beside the work.", 1)
    assert read.setup[:2] == ("a 1 4096 4 -", "a 2 4096 4 -") and len(read.setup) == 34
    assert read.actors == ("f 20", "a 100 4096 4 A")
    assert (read.failures, read.waiting) == (0, False)
    assert read.expected("linux_6_12") == (73, {"RCL-3"}) and read.expected("reference") is None


@pytest.mark.parametrize(
    ("verdict", "status"),
    [("73 RCL-3", 0), ("RCL-3", 0), ("72 RCL-3", 1), ("none", 1), ("RCL-3 BAL-2", 1)],
)
def test_what_it_expects_decides(tmp_path: Path, verdict: str, status: int) -> None:
    path = written(tmp_path, MINE.format(verdict=verdict))
    result = CliRunner().invoke(main, ["explore", str(path)])
    assert result.exit_code == status, result.output
    assert ("expected of linux_6_12: " in result.output) is bool(status)


def test_without_expectations_what_is_declared_decides(tmp_path: Path) -> None:
    path = written(tmp_path, MINE.partition("expected")[0])
    for variant in ("linux_6_12", "reference"):
        result = CliRunner().invoke(main, ["explore", str(path), "--variant", variant, "--json"])
        assert result.exit_code == 0 and json.loads(result.stdout)["scenario"] == "mine"


def test_those_of_the_package_are_listed_and_are_files() -> None:
    bare, listed = (CliRunner().invoke(main, ["explore", *more]) for more in ([], ["--list"]))
    assert bare.exit_code == 0 and bare.output == listed.output
    assert all(name in bare.output for name in SCENARIOS) and "explore/scenarios" in bare.output
    assert {path.stem for path in FOLDER.glob("*.txt")} == SCENARIOS.keys()
    path = str(FOLDER / "first-chunk.txt")
    assert CliRunner().invoke(main, ["explore", path]).exit_code == 0


WRONG = [
    # text, what stands there instead, the line, what is said
    ("shows ", "show ", 2, "one of shows (the nearest of 9), found 'show"),
    ("works   1", "works   two", 4, "a number, nine decimal digits at most, found 'two'"),
    ("works   1", "works", 4, "works and its value"),
    ("works   1", "shows again", 4, "shows once"),
    ("cpus=2", "cpus=two", 3, "a geometry that a kernel boots with"),
    ("unit=32768", "unit=100", 3, "a geometry that a kernel boots with"),
    ("cpus=2", "cpus=2, cpus=2", 3, "cpus once, found '"),
    ("works   1", "waiting perhaps", 4, "yes or no, found 'perhaps'"),
    ("setup", "set-up", 6, "one of setup (the nearest of 9), found 'set-up'"),
    ("setup", "setup now", 6, "setup alone"),
    ("setup\n", "", 6, "a section before what is indented"),
    ("  f 8..19", "  g 8", 8, "an operation, one of a f b"),
    ("  f 8..19", "  f eight", 8, "'f HANDLE', numbers decimal"),
    ("  f 8..19", "  f 19..8", 8, "a range of handles, the smaller first"),
    ("  f 8..19", "  f 80", 8, "a handle allocated before, found '80'"),
    ("  f 8..19", "  a 8 4 4 -", 8, "a handle that holds nothing yet, found '8'"),
    ("  f 20", "  f 19", 10, "a handle allocated before, found '19'"),
    ("  f 20", "  a 100 4 4 -", 11, "a handle that holds nothing yet, found '100'"),
    ("  f 20", "  B", 10, "an actor's operation, one of a f b P"),
    ("  f 20\n  a 100 4096 4 A\n", "", None, "a section 'actors' with at least one operation"),
    ("linux_6_12 ", "linux_6_21 ", 13, "a variant, one of linux_6_15, linux_6_13, linux_6_12"),
    ("RCL-3", "RCL-33", 13, "a clause, one of RCL-3"),
    ("RCL-3", "", 13, "the clauses that it breaks, or none"),
    ("RCL-3", "none\n  linux_6_12 none", 14, "linux_6_12 once"),
    ("RCL-3", "none\n  6.1.192 none", 14, "linux_6_12 once, found '6.1.192 none'"),
    ("linux_6_12 ", "6.20 ", 13, "a release, of which 6.19 is the last with 6, found '6.20'"),
    ("linux_6_12 ", "5.2 ", 13, "a release from 5.9 on, found '5.2'"),
]


@pytest.mark.parametrize(("text", "instead", "line", "says"), WRONG)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, text: str, instead: str, line: int | None, says: str
) -> None:
    whole = MINE.format(verdict="87 RCL-3")
    assert text in whole
    path = written(tmp_path, whole.replace(text, instead, 1))
    result = CliRunner().invoke(main, ["explore", str(path), "--json"])
    assert result.exit_code == 2 and not result.stdout
    place = path.name if line is None else f"{path.name}:{line}"
    assert f"{place}: expected {says}" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "says"), [("reclaim-fees", "reclaim-frees"), ("nowhere.txt", "a readable file")]
)
def test_a_name_and_a_file_that_are_not_there(name: str, says: str) -> None:
    result = CliRunner().invoke(main, ["explore", name])
    assert result.exit_code == 2 and says in result.stderr


def test_a_release_stands_for_its_variant(tmp_path: Path) -> None:
    text = MINE.format(verdict="73 RCL-3").replace("linux_6_12 ", "6.14 ")
    read = parse_scenario(Path("x"), text)
    verdict = read.expected("linux_6_13")
    assert verdict is not None and verdict.states == 73 and verdict.broken == {"RCL-3"}
    assert read.usual_variant == "linux_6_13"
    path = str(written(tmp_path, text))
    for more in ([], ["--variant", "6.14"], ["--variant", "linux_6_13"]):
        result = CliRunner().invoke(main, ["explore", path, *more, "--json"])
        assert result.exit_code == 0, result.output
    wrong = written(tmp_path, text.replace("73 RCL-3", "74 RCL-3"))
    assert CliRunner().invoke(main, ["explore", str(wrong)]).exit_code == 1


def test_actors_may_free_what_others_allocate() -> None:
    read = parse_scenario(Path("x"), "actors\n  f 1\n  a 1 8 4 -\n")
    assert read.actors == ("f 1", "a 1 8 4 -") and read.works == 2


def test_the_one_of_the_guide_is_as_it_says(tmp_path: Path) -> None:
    readme = (Path(__file__).parent.parent / "proofs/guide/algorithm.md").read_text()
    text = readme[readme.index("setup     ") :].partition("```")[0]
    result = CliRunner().invoke(main, ["explore", str(written(tmp_path, text)), "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["states"] == 87
