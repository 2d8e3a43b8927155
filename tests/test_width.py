"""What commands print fits a mail where it is piped, whatever they are asked."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.text import Text
from widths import unfit

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.commands.output import folded

LOG = """\
[    0.0] percpu: Embedded 56 pages/cpu s188440 r8192 d32744 u262144
[    0.0] pcpu-alloc: s188440 r8192 d32744 u262144 alloc=1*2097152
[    0.0] pcpu-alloc: [0] 0 1 2 3 4 5 6 7
[    9.0] percpu: allocation failed, size=8 align=8 atomic=1, atomic alloc failed, no space left
[    9.1] percpu: allocation failed, size=4104 align=32 atomic=0, alloc from reserved chunk failed
[    9.2] illegal size (0) or align (8) for percpu allocation
"""
LIST = "a 1 64 8 -\na 2 4096 8 A\na 3 40000 8 -\nf 1\nB\n"
STATE = str(data.folder("states") / "612_4.removed60.txt.gz")
ASKED: dict[str, list[str]] = {
    "state": [STATE, "--who", "--map", "--chunk", "1", "--ask", "64", "--what-if", "work"],
    "state-mail": ["state", STATE, "--mail"],
    "log": ["LOG", "--state", STATE],
    "explain-all": ["explain"],
    "explain": ["HINT-5", "L1", "FLT-1", "pcpu_alloc", "float", "6.14", "percpu_alloc_percpu"],
    "explain-line": ["explain", LOG.splitlines()[4]],
    "run": ["LIST", "--contracts", "full"],
    "run-vector": ["run", "30-early-u32-c2"],
    "conform vectors": ["30-early-u32-c2"],
    "show": ["30-early-u32-c2", "--chunk", "0"],
    "explore": ["--list"],
    "operations": [],
}  # fmt: skip
"""What each command is asked; behind a dash is what is special, its words then are the line.

Traces and workloads are asked in the examples of their help.
"""


@pytest.mark.parametrize("asked", ASKED)
def test_output_fits(asked: str, tmp_path: Path) -> None:
    files = {"LOG": tmp_path / "dmesg", "LIST": tmp_path / "list.ops"}
    files["LOG"].write_text(LOG)
    files["LIST"].write_text(LIST)
    command = [] if "-" in asked else asked.split()
    words = [str(files.get(word, word)) for word in (*command, *ASKED[asked])]
    result = CliRunner().invoke(main, words)
    assert result.exit_code in (0, 1), result.output
    assert result.stdout.count("\n") > 2
    assert unfit(result.stdout) == []


@pytest.mark.parametrize(
    ("line", "folds"),
    [
        ("one two three four", "one two\n  three\n  four"),
        ("  one two three", "  one two\n    three"),
        ("x  one two three", "x  one two\n   three"),
        ("a/path/that/is/long", "a/path/that/is/long"),
        ("of a/path/that/is/long", "of\n  a/path/that/is/long"),
        ("percpu-spec replay TOKEN", "percpu-spec replay TOKEN"),
        ("see: percpu-spec state x", "see: percpu-spec state x"),
        ("one\n\ntwo three four", "one\n\ntwo three\n  four"),
        ("漢字 漢字 漢字", "漢字 漢字\n  漢字"),
    ],
)
def test_lines_are_folded_between_words(line: str, folds: str) -> None:
    assert folded(Text(line), 11).plain == folds


class Terminal(io.StringIO):
    """A terminal of some columns."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [66, 120, 200])
@pytest.mark.parametrize(
    "asked",
    [["show", STATE, "--chunk", "3"], ["show", STATE, "--map"], ["operations"],
     ["explain", "HINT-5"], ["state", STATE]],
)  # fmt: skip
def test_output_is_as_wide_as_the_terminal(
    asked: list[str], columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Terminal()
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", out)
    with pytest.raises(SystemExit) as ended:
        main(asked)
    assert ended.value.code in (0, None)
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in out.getvalue().split("\n")]
    assert [line for line in lines if line != line.rstrip()] == []
    wide = [line for line in lines if len(line) > columns]
    assert [line for line in wide if "percpu-spec " not in line] == []
    if columns > 76 and "--chunk" in asked:
        assert any(len(line) > 110 for line in lines)
