"""Tables have all their cells, and no word of them is broken, however narrow the console is."""

from __future__ import annotations

import io
import re

import pytest
from click.testing import CliRunner
from rich.console import Console

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.commands import output
from percpu_proofs.commands.console import FittedTable

STATE = str(data.folder("states") / "612_4.removed60.txt.gz")


def printed(table: FittedTable, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(table)
    return out.getvalue()


NAMES = ("variant", "chunks", "depopulated", "served", "the failing one", "why")
ROWS = [
    ("linux_5_12", 3, 100000, 16, 2.5, "nothing is populated any more"),
    ("reference+R1+R2", 131, 129, 18, 93.44, "mm/percpu.c:2278"),
]


@pytest.mark.parametrize("width", [20, 26, 40, 50, 60, 76, 200])
def test_every_word_is_printed_whole(width: int) -> None:
    text = printed(output.table("a title of words", NAMES, ROWS), width)
    assert max(map(len, text.splitlines())) <= width
    words = text.split()
    for word in " ".join((*NAMES, *(str(cell) for row in ROWS for cell in row))).split():
        if len(word) <= width - 16 - 5:  # beside the first column
            assert word in words or f"{word}0" in words, (word, text)


def test_columns_without_room_follow_behind_the_first() -> None:
    text = printed(output.table("costs", NAMES, ROWS), 50)
    assert text.count("linux_5_12") == text.count("reference+R1+R2") == 2
    assert "costs, more columns" in text
    assert printed(output.table("costs", NAMES, ROWS), 200).count("linux_5_12") == 1


@pytest.mark.parametrize("width", [60, 76])
@pytest.mark.parametrize(
    "asked",
    [
        ["workload", "cost", "--variant", "linux_6_12", "--variant", "rfc_1"],
        ["workload", "burst", "--variant", "linux_6_12", "--requests", "60", "--every", "30"],
        ["state", STATE, "--what-if", "work"],
    ],
)
def test_tables_of_commands_have_all_columns(
    asked: list[str], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide: list[str] = []
    for columns in (400, width):
        monkeypatch.setattr(output, "PIPED_WIDTH", columns)
        wide.append(CliRunner().invoke(main, asked).stdout)
    words = [re.findall(r"[^\s─]+", text) for text in wide]
    assert set(words[0]) <= set(words[1])
