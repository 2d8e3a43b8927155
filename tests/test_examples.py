"""The examples at the end of each command's help run, and shells complete what commands take."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from kernel_trees import FOUND, MISSING
from widths import PROGRAMS, unfit

from percpu_proofs.cli import (
    EXAMPLES,
    OF_GROUPS,
    SECONDS,
    TREE,
    Example,
    commands,
    examples_of,
    main,
)
from percpu_proofs.explain import terms
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import parse_scenario
from percpu_proofs.explore.token import Token

MINE = """\
from percpu_reference.variants.linux_6_12 import Linux612


class Mine(Linux612):
    def may_create(self):
        return True
"""


@cache
def token() -> str:
    scenario = parse_scenario(Path("mine.txt"), terms.SCENARIO)
    found = search(scenario.start("linux_6_12"), refine=False).findings["RCL-3"]
    return str(Token.of("linux_6_12", "RCL-3", scenario, found.schedule))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what stands in the examples for a reader's own files."""
    (tmp_path / "list.ops").write_text(next(iter(terms.LISTS.values())))
    (tmp_path / "mine.txt").write_text(terms.SCENARIO)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "dmesg.txt").write_text(
        "percpu: Embedded 56 pages/cpu s188440 r8192 d32744 u262144\n"
        "percpu: allocation failed, size=8 align=8 atomic=1, atomic alloc failed, no space left\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def each(*takes: str) -> list[Example]:
    return [one for both in EXAMPLES.values() for one in both if one.takes in takes]


def run(line: str, **own: str) -> click.testing.Result:
    program, *words = shlex.split(line)
    assert program == "percpu-spec"
    return CliRunner().invoke(main, [own.get(word, word) for word in words])


def fits(example: Example, printed: str) -> bool:
    """Return whether what an example prints fits a mail, or is no text."""
    program = example.line.removeprefix("percpu-spec ").startswith(PROGRAMS)
    return program or "--json" in example.line or unfit(printed) == []


def test_every_command_ends_with_two_examples() -> None:
    every = dict(commands())
    assert every.keys() == EXAMPLES.keys() | OF_GROUPS.keys()
    for path in every:
        shown = CliRunner().invoke(main, [*path.split(), "--help"]).output
        _, found, end = shown.partition("Examples:\n")
        assert found
        lines = [line.strip() for line in end.rstrip().split("\n")]
        assert lines == [text for one in examples_of(path) for text in (one.line, one.does)]
        assert [line.startswith(f"percpu-spec {path}") for line in lines[::2]] == [True, True]


def test_help_fits_a_mail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for path, _ in commands():
        with pytest.raises(SystemExit):
            main.main([*path.split(), "--help"])
        assert unfit(capsys.readouterr().out) == []


@pytest.mark.parametrize("example", each(""), ids=lambda one: one.line[12:50])
@pytest.mark.usefixtures("folder")
def test_an_example_runs(example: Example) -> None:
    made = token() if "TOKEN" in example.line else ""
    result = run(example.line, TOKEN=made)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert result.stdout
    assert fits(example, result.stdout)


@pytest.mark.deep
@pytest.mark.parametrize("example", each(SECONDS, TREE), ids=lambda one: one.line[12:60])
@pytest.mark.usefixtures("folder")
def test_an_example_that_takes_more_runs(example: Example) -> None:
    if example.takes == TREE and not FOUND:
        pytest.skip(MISSING)
    result = run(example.line, TREE=str(FOUND[-1]) if FOUND else "")
    assert result.exit_code == 0, result.output
    assert fits(example, result.stdout)


# completion


def completed(line: str, incomplete: str) -> set[str]:
    """Return what shells are told of for the last word of a line."""
    asked = ShellComplete(main, {}, "percpu-spec", "_PERCPU_SPEC_COMPLETE")
    return {item.value for item in asked.get_completions(line.split(), incomplete)}


@pytest.mark.parametrize(
    ("line", "incomplete", "some"),
    [
        ("", "rev", {"review"}),
        ("review", "--cl", {"--clause"}),
        ("review --clause", "hint-", {"HINT-1", "HINT-8"}),
        ("review --variant", "linux_6", {"linux_6_12", "linux_6_15"}),
        ("review --search", "dr", {"drawn", "drawn-refused"}),
        ("review --source x --fix", "R", {"R1", "R4"}),
        ("explore", "recl", {"reclaim-frees", "reclaim-free"}),
        ("show", "612", {"612_4.boot", "612_4.removed60"}),
        ("state", "61_2", {"61_2.removed"}),
        ("run", "33-", {"33-frag-u32-c4-odd"}),
        ("conform trace", "boot", {"boot61_2"}),
        ("explain", "quiesc", {"quiescent"}),
        ("explain", "pcpu_iso", {"pcpu_isolate_chunk"}),
        ("prove", "HINT-", {"HINT-5"}),
        ("completion", "", {"bash", "zsh", "fish"}),
    ],
)
def test_shells_complete(line: str, incomplete: str, some: set[str]) -> None:
    found = completed(line, incomplete)
    assert some <= found
    assert all(word.lower().startswith(incomplete.lower()) for word in found)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0
    assert "_PERCPU_SPEC_COMPLETE" in result.stdout and "percpu-spec" in result.stdout


@pytest.mark.deep
def test_the_script_asks_the_program() -> None:
    """What bash's script sets in the environment is answered, however the program is called."""
    asked = {"_PERCPU_SPEC_COMPLETE": "bash_complete", "COMP_CWORD": "3",
             "COMP_WORDS": "percpu-spec review --clause RCL"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "percpu_proofs.cli"], capture_output=True, text=True,
        env=os.environ | asked, timeout=60, check=True,
    )  # fmt: skip
    assert {f"plain,RCL-{n}" for n in range(1, 8)} == set(done.stdout.split())
