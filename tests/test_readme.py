"""What the README and the guides show is what is printed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from kernel_trees import FOUND, MISSING, tree_of
from known_records import with_mails

from percpu_proofs.cli import main
from percpu_proofs.explore.packing import TREE

TOP = Path(__file__).parents[1]
PAGES = sorted([*TOP.glob("README.md"), *TOP.glob("[a-z]*/README.md"), *TOP.glob("proofs/guide/*")])


def block(name: str) -> str:
    """Return the text block behind a comment in the README or a guide."""
    mark = f"<!-- {name} -->\n```"
    (behind,) = (part for page in PAGES for part in page.read_text("utf-8").split(mark)[1:])
    return behind.partition("\n")[2].partition("\n```")[0]


@pytest.mark.parametrize("name", ["mail: linux_7_1 RCL-3", "mail: rfc_1 ISO-1"])
def test_a_block_for_a_mail_stands_as_printed(name: str) -> None:
    lines = block(name).splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 76
    for page in PAGES:
        text = page.read_text("utf-8")
        assert name not in text or with_mails(text) == text, "python tests/known_records.py"


@pytest.mark.deep
@pytest.mark.skipif(not FOUND, reason=MISSING)
def test_the_block_of_a_patch_stands_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    top = tree_of(FOUND[-1]).top
    makes, _, reviews = block("float.patch is made").rpartition("\n")
    assert reviews == "percpu-spec review --source TREE --patch float.patch --mail"
    subprocess.run(makes.replace("TREE", str(top)), shell=True, check=False)  # diff: 1
    assert (tmp_path / "float.patch").stat().st_size
    shown = block("mail: float.patch")
    token = next(word for word in shown.split() if word.startswith(TREE))
    command = ["replay", token, "--source", str(top), "--patch", "float.patch"]
    result = CliRunner().invoke(main, [*command, "--mail"])
    assert result.exit_code == 0, result.output
    assert result.stdout.split("\nRun:")[0] == shown.split("\nRun:")[0]


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block("python"), "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.startswith("FLT-1") and "not asked" not in said.splitlines()[0]
    assert "RCL-3" in said and "R1" in said


def _commands() -> list[tuple[str, str]]:
    """Return each command that a page shows, with its page."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for shown in re.findall(r"`((?:\.venv/bin/)?percpu-spec [^`]+)`", text):
            found.append((page.name, " ".join(shown.split())))
    return found


def test_commands_and_options_that_are_shown_exist() -> None:
    shown = _commands()
    assert len(shown) > 40
    for page, line in shown:
        words = shlex.split(line.replace("[", " ").replace("]", " ").replace("|", " "))[1:]
        command: click.Command = main
        for word in words:
            if isinstance(command, click.Group) and word in command.commands:
                command = command.commands[word]
        assert command is not main or words[0].startswith("--"), (page, line)
        known = {name for option in command.params for name in option.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known, (page, line)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), (page, link)
