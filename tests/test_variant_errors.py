"""Whatever a reviewer's file does wrong is told in one line with its place, by every command."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kernel_trees import FOUND, MISSING, tree_of

from percpu_contracts.attach import checked, lock_checked
from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.explore import world
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.token import Token
from percpu_proofs.run import variant_errors
from percpu_reference.variants.from_file import variant_from_file

HEAD = """
from percpu_reference.gaps import Gap
from percpu_reference.variants.linux_6_12 import Linux612

class Mine(Linux612):
    asked = 0
"""

RAISING = {
    "at import": "raise RuntimeError('no')  # here",
    "in its syntax": "def f(:  # here",
    "in the body of the class": "    limit = 1 // 0  # here",
    "by ending the program at import": "import sys\nsys.exit(0)  # here",
    "in __init__": """
        def __init__(self, *given, **named):
            raise RuntimeError("first\\nsecond")  # here
    """,
    "in a gap": """
        def free_percpu(self, area):
            yield Gap("look around")
            self.lok = self.lokc  # here
    """,
    "at the tenth operation": """
        def free_area(self, chunk, off):
            type(self).asked += 1
            assert type(self).asked < 3  # here
            return super().free_area(chunk, off)
    """,
    "in a property": """
        @property
        def quota(self):
            return {}["quota"]  # here

        def chunk_slot(self, chunk):
            return max(super().chunk_slot(chunk), self.quota)
    """,
    "by ending the program": """
        def free_area(self, chunk, off):
            raise SystemExit(0)  # here
    """,
    "by what it returns": """
        def chunk_slot(self, chunk):
            return None
    """,
    "by what it keeps": """
        def chunk_relocate(self, chunk, oslot):
            chunk.seen = [iter([])]  # here, or not compared
            super().chunk_relocate(chunk, oslot)
    """,
    "by printing before": """
        def free_area(self, chunk, off):
            print("{}")
            raise KeyError(off)  # here
    """,
}

ENDLESS = {
    "at import": "while True:\n    pass  # here",
    "in __init__": """
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            while True:
                pass  # here
    """,
    "in one step": """
        def free_area(self, chunk, off):
            while True:
                try:
                    pass
                except Exception:
                    pass
    """,
    "in one operation": """
        def free_percpu(self, area):
            count = 0
            while True:
                yield Gap("once more")
                count += 1
    """,
    "in an operation that is replayed": """
        def alloc_percpu(self, size, align, reserved, gfp):
            while len(str(size)):
                yield Gap("once more")
    """,
    "in a loop of ours": """
        def sideline_chunk(self, chunk):
            return None
    """,
}

SCENARIO = SCENARIOS["reclaim-free"]


@pytest.fixture
def operations(tmp_path: Path) -> Path:
    """A list that makes chunks come and go."""
    path = tmp_path / "list.ops"
    lines = [f"a {n} 8192 4 -" for n in range(1, 60)]
    lines += [f"f {n}" for n in range(1, 60) if n % 9] + ["b"]
    path.write_text("\n".join(lines) + "\n")
    return path


COMMANDS = {
    "run": ["run", "{list}"],
    "run fully": ["run", "{list}", "--contracts", "full"],
    "run trace": ["run", str(data.default_trace())],
    "show": ["show", "{list}"],
    "explore": ["explore", SCENARIO.name],
    "explore in parts": ["explore", SCENARIO.name, "--mode", "all", "--jobs", "2"],
    "explore at random": ["explore", SCENARIO.name, "--random", "20"],
    "cross-check": ["explore", SCENARIO.name, "--cross-check"],
    "replay": ["replay", "{token}"],
    "review": ["review", "--jobs", "2"],
    "bench": ["bench", "{list}", "--rounds", "1"],
    "workload removal": ["workload", "removal", "cg612_4"],
    "workload cost": ["workload", "cost"],
    "conform trace": ["conform", "trace", str(data.default_trace())],
    "conform kernel": ["conform", "kernel", "--source", "{tree}", "--count", "400"],
}
UNIMPORTED = {
    "at import", "in its syntax", "in the body of the class", "by ending the program at import"
}  # fmt: skip
KEEPS = {"explore", "cross-check", "review"}
"""Commands that come back to earlier states, and so must know all of them."""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.py"
    body = dedent(text).strip("\n")
    inside = text.startswith(("\n", "    "))
    path.write_text(HEAD + ("".join(f"    {line}\n" for line in body.splitlines())
                            if inside else f"    EXPECTED = {{}}\n{body}\n"))  # fmt: skip
    return path


def call(name: str, path: Path, operations: Path, *, imports: bool = True) -> Result:
    """Run a command on a variant's file; imports: the file can be imported."""
    if name == "conform kernel" and not FOUND:
        pytest.skip(MISSING)
    token = ""
    if name == "replay":
        faulty = path.read_text()
        if not imports:  # the token is of the file before
            path.write_text(HEAD + "    EXPECTED = {}\n    chunk_types = 1\n")
        token = str(Token.of(str(path), "RCL-3", SCENARIO, (0, 0, 0, 1, 1, 1, *[2] * 6)))
        path.write_text(faulty)
        variant_from_file.cache_clear()
    tree = str(tree_of(FOUND[0]).top) if FOUND else ""
    given = {"list": str(operations), "token": token, "tree": tree}
    arguments = [part.format(**given) for part in COMMANDS[name]]
    if name != "replay":
        arguments += ["--variant", str(path)]
    return CliRunner().invoke(main, [*arguments, "--json"])


SLOW = ("bench", "conform kernel", "conform trace", "run trace", "workload cost")


def table(faults: dict[str, str]) -> list[Any]:
    """Every fault by four commands; two by each of the others, which go the same ways."""
    few = ("at import", "in a gap", "in one step")
    more = {("review", "in a loop of ours"), ("run fully", "in a loop of ours"),
            ("review", "by what it keeps"), ("cross-check", "by what it keeps")}  # fmt: skip
    return [
        pytest.param(
            name, fault,
            marks=[pytest.mark.deep] if name in SLOW or (name, fault) in more else [],
        )
        for name in COMMANDS for fault in faults
        if name in ("run", "show", "explore", "replay") or fault in few or (name, fault) in more
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "fault"), table(RAISING))
def test_what_raises_is_told_with_its_place(
    name: str, fault: str, tmp_path: Path, operations: Path
) -> None:
    path = written(tmp_path, RAISING[fault])
    result = call(name, path, operations, imports=fault not in UNIMPORTED)
    if fault == "by what it keeps" and name not in KEEPS:
        assert "expected code" not in result.stderr
        return
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    said = [line for line in result.stderr.splitlines() if line != "{}"]
    lines = path.read_text().splitlines()
    here = [n for n, line in enumerate(lines, 1) if "# here" in line]
    (place,) = here or [lines.index("class Mine(Linux612):") + 1]
    assert len(said) == 1 and f"/mine.py:{place}: expected " in said[0]


def test_classes_have_the_names_that_they_have_in_the_file(tmp_path: Path) -> None:
    cls = variant_from_file(written(tmp_path, "\n    chunk_types = 1\n"))
    made = [lock_checked(cls).__name__, *(checked(cls, one).__name__ for one in ("fast", "full"))]
    assert len({*made, "Mine"}) == 4
    assert variant_errors._as_written(f"{' '.join(made)} Other") == "Mine Mine Mine Other"


@pytest.mark.parametrize(("name", "fault"), table(ENDLESS))
def test_what_has_no_end_is_ended(
    name: str, fault: str, tmp_path: Path, operations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variant_errors, "LIMIT", 0.5)
    monkeypatch.setattr(world, "MOST_STEPS", 300)
    path = written(tmp_path, ENDLESS[fault])
    result = call(name, path, operations, imports=fault not in UNIMPORTED)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    (said,) = result.stderr.splitlines()
    assert "/mine.py:" in said and ": expected code" in said


PRINTING = """
    print("at import")

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        print("{", flush=True)

    def free_area(self, chunk, off):
        import sys
        sys.stdout.write("freeing")
        return super().free_area(chunk, off)
"""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.deep] if name in SLOW else [])
        for name in COMMANDS
        if name not in ("review", "replay", "workload removal")
    ],
)
def test_what_a_variant_prints_is_no_result(name: str, tmp_path: Path, operations: Path) -> None:
    path = written(tmp_path, "\n" + PRINTING)
    result = call(name, path, operations)
    assert result.exit_code in (0, 1)
    assert json.loads(result.stdout)
    assert "at import" in result.stderr or name not in ("run", "show")
