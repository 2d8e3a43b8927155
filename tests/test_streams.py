"""Standard output that is full, closed, cut off or without Unicode; files and folders that are."""

from __future__ import annotations

import errno
import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from depth import deep_unless
from processes import COMMAND

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.commands.console import CUT_OFF, any_streams
from percpu_proofs.run.inputs import InputError

SAID = "percpu-spec: standard output: expected a place that can be written (No space left on devic"
STATE = data.folder("states") / "61_2.removed.txt.gz"
LIST = "a 1 64 8 -\na 2 4096 8 A\nf 1\nB\n"


class Broken(io.TextIOBase):
    """A stream that takes some characters and then fails, in writing or, held back, in flushing."""

    def __init__(self, number: int, takes: int, holds: bool) -> None:
        self.number, self.takes, self.holds = number, takes, holds

    def write(self, text: str) -> int:
        self.takes -= len(text)
        if not self.holds:
            self._fail()
        return len(text)

    def flush(self) -> None:
        self._fail()

    def _fail(self) -> None:
        if self.takes < 0:
            raise OSError(self.number, os.strerror(self.number))


def leaves(command: click.Command = main, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(command, click.Group):
        return [leaf for n, c in command.commands.items() for leaf in leaves(c, (*words, n))]
    return [words]


WORK: dict[str, list[str]] = {  # what each command is asked, to print something soon
    "run": ["LIST"], "show": ["LIST"], "explore": ["--list"], "explain": ["HINT-5"],
    "log": ["LOG"], "prove": ["--help"], "conform recorder": ["--help"],
    "conform vectors": ["--help"], "conform trace": ["--help"], "conform kernel": ["--help"],
    "conform record": ["--help"], "replay": ["--help"], "review": ["--help"], "state": ["STATE"],
    "workload burst": ["--help"], "workload removal": ["--help"], "workload cost": ["--help"],
    "workload fixes": ["--help"], "bench": ["--help"], "beside": ["--help"],
    "report": ["--help"], "operations": [], "completion": ["bash"],
}  # fmt: skip


def words_of(leaf: tuple[str, ...], folder: Path) -> list[str]:
    files = {"LIST": folder / "x.ops", "LOG": folder / "dmesg", "STATE": STATE}
    files["LIST"].write_text(LIST)
    files["LOG"].write_text("percpu: Embedded 61 pages/cpu s212992 r8192 d28672 u262144\n")
    return [*leaf, *(str(files.get(word, word)) for word in WORK[" ".join(leaf)])]


def exit_code(words: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        main.main(words)
    return ended.value.code


def test_each_command_is_asked_something() -> None:
    assert WORK.keys() == {" ".join(leaf) for leaf in leaves()}


@pytest.mark.parametrize("leaf", leaves(), ids=" ".join)
@pytest.mark.parametrize(("takes", "holds"), [(0, False), (20, False), (20, True)])
def test_output_that_is_lost_is_told(
    leaf: tuple[str, ...], takes: int, holds: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Before anything, after some of it, or at the end: never a traceback, never a success."""
    words = words_of(leaf, tmp_path)
    for number, code, said in ((errno.ENOSPC, 2, SAID), (errno.EPIPE, CUT_OFF, "")):
        monkeypatch.setattr(sys, "stdout", Broken(number, takes, holds))
        assert exit_code(words) == code
        told = capsys.readouterr().err
        assert told.startswith(said) and told.count("\n") == bool(said), told
    monkeypatch.setattr(sys, "stdout", None)
    assert exit_code(words) == 2
    assert "standard output: expected a place that can be written (Bad file" in (
        capsys.readouterr().err
    )


def test_a_loss_is_told_at_once_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who flushes hears of it there and then; one that was passed over is told at the end."""
    monkeypatch.setattr(sys, "stdout", Broken(errno.ENOSPC, 0, True))
    with pytest.raises(InputError, match="standard output"), any_streams():
        sys.stdout.write("x")
        with pytest.raises(InputError, match="standard output"):
            sys.stdout.flush()
        told = True
    assert told


@pytest.mark.parametrize("leaf", leaves(), ids=" ".join)
def test_what_has_no_character_is_escaped(
    leaf: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    words = words_of(leaf, tmp_path)
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        code = exit_code(words)
    stream.flush()
    assert code == 0 and raw.getvalue().isascii() and raw.getvalue()


def test_a_name_without_characters_is_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    path = tmp_path / "лист\udcff.ops"
    path.write_text(LIST)
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        assert exit_code(["run", str(path)]) == 0
    stream.flush()
    assert rb"\u043b" in raw.getvalue()


def test_nobody_hears_of_errors_that_standard_error_has_no_place_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for stream in (None, Broken(errno.ENOSPC, 0, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert exit_code(["explain", "nosuch"]) == 2


WRITERS: dict[str, Callable[[Path], list[str]]] = {
    "show --svg": lambda f: ["show", str(f), "--chunk", "0", "--svg", "/dev/full"],
    "burst --svg": lambda f: ["workload", "burst", "--size", "4096", "--svg", "/dev/full"],
    "prove --summary": lambda f: ["prove", "CHOICE", "--summary", "/dev/full"],
}


@pytest.mark.parametrize("name", deep_unless(lambda name: name == "show --svg", WRITERS))
def test_a_file_on_a_full_disk_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.ops"
    path.write_text(LIST)
    words = [word.replace("CHOICE", "slot-layout") for word in WRITERS[name](path)]
    assert exit_code(words) == 2
    *_, told = capsys.readouterr().err.splitlines()  # behind how far long work was
    assert told.startswith("percpu-spec: /dev/full: expected a place that can be written (No space")


SHELL = {  # as a shell has them, with the exit code
    "full": ("{} >/dev/full", 2), "closed": ("{} >&-", 2), "both closed": ("{} >&- 2>&-", 2),
    "no errors": ("{} 2>&-", 0), "cut off": ("{{ {}; echo $? >&2; }} | head -1 >/dev/null", 141),
    "ascii": ("PYTHONIOENCODING=ascii {}", 0), "C": ("LC_ALL=C PYTHONUTF8=0 {}", 0),
    "C, not coerced": ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {}", 0),
    "no cache": ("XDG_CACHE_HOME=/dev/null {}", 0), "no home": ("env -u HOME {}", 0),
    "narrow": ("COLUMNS=20 {}", 0), "less narrow": ("COLUMNS=40 {}", 0),
}  # fmt: skip


@pytest.mark.deep
@pytest.mark.parametrize("how", SHELL)
@pytest.mark.parametrize(
    "words",
    [["run"], ["explain"], ["explain", "RCL-3"], ["explore", "reuse"], ["--help"],
     ["prove", "slot-layout"], ["conform", "trace", str(data.default_trace())]],
    ids=" ".join,
)  # fmt: skip
def test_in_a_shell(how: str, words: list[str]) -> None:
    line, code = SHELL[how]
    command = line.format(" ".join([*COMMAND, *words]))
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=300
    )
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
    if how == "cut off":
        assert done.stderr.split()[-1] in (str(code), "0")  # all may be written before it leaves
        return
    assert done.returncode == code, done.stderr
    lines = [text for text in done.stderr.splitlines() if text]
    told = how in ("full", "closed") or (how == "no cache" and "prove" in words)
    assert len(lines) == told, done.stderr


@pytest.mark.deep
@pytest.mark.parametrize("columns", [20, 40])
@pytest.mark.parametrize("words", [["run"], ["explain", "RCL-3"], ["explore", "reuse"]])
def test_on_a_narrow_terminal(columns: int, words: list[str]) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    with subprocess.Popen(
        [*COMMAND, *words], stdout=theirs, stderr=theirs, env=environment
    ) as run:
        os.close(theirs)
        printed = b""
        try:
            while piece := os.read(ours, 65536):
                printed += piece
        except OSError:  # it has ended
            pass
        os.close(ours)
        assert run.wait(timeout=60) == 0
    assert b"Traceback" not in printed and printed
