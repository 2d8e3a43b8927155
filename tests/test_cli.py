"""The command line: exit status, messages, JSON."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from percpu_proofs import data
from percpu_proofs.bench.throughput import prepare
from percpu_proofs.cli import main
from percpu_proofs.commands import run as run_command
from percpu_proofs.commands.source import expand
from percpu_proofs.recorded import vectors as vectors_module
from percpu_proofs.run.runner import bound
from percpu_reference.chunk import Chunk
from percpu_reference.gaps import Steps
from percpu_reference.variants import DEFAULT, VARIANTS
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.counts import counted

SHIPPED = data.folder("vectors")
SMALL = SHIPPED / "24-reserved-u64-c4-r8.jsonl.gz"
CLAUSE_KEYS = {"verdict", "expected", "evaluations", "count", "first", "line", "message"}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def read_json(*arguments: object, status: int = 0) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == status, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """The first 3000 operations of c10, plain."""
    text = gzip.decompress((data.folder("bench") / "c10.ops.gz").read_bytes()).decode()
    path = tmp_path / "short.ops"
    path.write_text("\n".join(text.split("\n")[:3000]))
    return path


# run


def test_run_an_operation_list(short: Path) -> None:
    found = read_json("run", short)
    assert found["operations"] == 3000
    assert found["complete"]
    assert found["kind"] == "operation list"
    assert found["contracts"] == "fast"
    assert (
        found["bound"]
        == "contracted: 3000 operations checked at level fast, of each area its first block"
    )
    assert isinstance(found["final_checksum"], int)
    assert found["memory"][0] == {"operation": 0, "pages": 11, "pages_all_units": 44}
    assert found["memory"][-1]["operation"] == 3000
    assert set(found["violations"]) == {"HINT-4", "HINT-5", "LIST-2"}
    for violation in found["violations"].values():
        assert set(violation) > CLAUSE_KEYS
        assert violation["expected"]
        assert violation["count"] > 0
    assert found["clauses"]["MAP-1"]["verdict"] == "holds"
    assert found["clauses"]["HINT-6"]["verdict"] == "not applicable"


def test_run_says_what_its_verdicts_rest_on(short: Path) -> None:
    result = call("run", short)
    assert result.exit_code == 0
    assert (
        "contracted: 3000 operations checked at level fast, of each area its first block: "
        in " ".join(result.output.split())
    )
    assert "violated, expected" in result.output
    assert "verified" not in result.output
    assert "\x1b" not in result.output  # no colour when piped


def test_run_without_contracts_claims_nothing(short: Path) -> None:
    found = read_json("run", short, "--contracts", "off")
    assert found["rung"] == "stated"
    assert found["violations"] == {}
    assert {v["verdict"] for v in found["clauses"].values()} == {"unchecked"}
    same = read_json("run", short, "--contracts", "fast")
    assert found["final_checksum"] == same["final_checksum"]


def test_run_vectors_at_every_level() -> None:
    for level in ("off", "fast", "full"):
        found = read_json("run", SMALL, "--contracts", level)
        assert found["kind"] == "vector"
        assert found["final_checksum"] == found["recorded_checksum"] is not None
        assert found["geometry"]["reserved"] == 8192


@pytest.mark.deep
def test_run_a_folder_of_vectors() -> None:
    found = read_json("run", SHIPPED, "--contracts", "off")
    assert found["operations"] == 6035
    assert len(found["runs"]) == 12
    assert {run["geometry"]["page"] for run in found["runs"]} == {4096, 16384, 65536}
    assert {run["geometry"]["backing"] for run in found["runs"]} == {"vm", "km"}
    assert found["ok"]
    assert found["final_checksum"] is None  # of each run, not of all


def test_run_geometry(short: Path) -> None:
    found = read_json("run", short, "--geometry", "unit=131072,cpus=8")
    assert found["geometry"]["unit_pages"] == 32
    assert found["memory"][0]["pages_all_units"] == 88


def test_run_uneven_groups(short: Path) -> None:
    assert read_json("run", short, "--geometry", "cpus=3,groups=2")["geometry"]["groups"] == 2


def test_run_a_vector_in_other_sizes() -> None:
    found = read_json("run", SMALL, "--geometry", "cpus=2")
    assert found["recorded_checksum"] is None
    note = "recorded checksum not compared: --geometry changes the recorded sizes"
    assert found["notes"] == [note]
    assert note in call("run", SMALL, "--geometry", "cpus=2").output
    assert read_json("run", SMALL)["notes"] == []


def test_run_a_vector_without_manifest(tmp_path: Path) -> None:
    lines = gzip.decompress(SMALL.read_bytes()).decode().splitlines()[:20]
    path = tmp_path / "v.jsonl"
    path.write_text("\n".join(lines) + "\n")
    note = "no manifest beside it: completeness not known"
    assert read_json("run", path)["notes"] == [note]
    assert read_json("conform", "vectors", path)["notes"] == [f"{path}: {note}"]
    for command in (("run",), ("conform", "vectors")):
        assert note in " ".join(call(*command, path).output.split())


def test_run_folders_go_one_level_down(tmp_path: Path) -> None:
    for inner in ("run", ".hidden", "deeper/run"):
        shutil.copytree(data.folder("boot61_2"), tmp_path / inner)
    (tmp_path / "traces").mkdir()
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / SMALL.name).write_bytes(SMALL.read_bytes())
    assert expand([tmp_path]) == [tmp_path / "run"]
    (tmp_path / SMALL.name).write_bytes(SMALL.read_bytes())
    assert expand([tmp_path]) == [tmp_path / SMALL.name, tmp_path / "run"]


def test_one_event_is_singular() -> None:
    assert counted(1, "event") == "1 event"
    assert bound("off", 1) == "stated only: 1 operation ran with contracts off"


def test_run_the_shipped_trace() -> None:
    found = read_json("run")
    assert found["kind"] == "trace"
    assert found["ok"]
    assert found["placed"] == found["allocations"] == 12574
    for key in ("operations", "violations", "memory", "final_checksum"):
        assert key in found
    assert found["operations"] > 20000


def test_run_a_recorded_end_that_differs(tmp_path: Path) -> None:
    lines = gzip.decompress(SMALL.read_bytes()).decode().splitlines()[:20]
    last = json.loads(lines[-1])
    last["crc"] += 1
    path = tmp_path / "v.jsonl"
    path.write_text("\n".join([*lines[:-1], json.dumps(last)]))
    assert not read_json("run", path, status=1)["ok"]
    result = call("run", path)
    assert result.exit_code == 1
    assert f"recorded {last['crc']}" in result.output


# an algorithm that breaks a clause


class Forgetful(Linux612):
    """Loses a page of the float with each chunk that it depopulates or populates."""

    __slots__ = ()

    def chunk_populated(self, chunk: Chunk, page_start: int, page_end: int) -> None:
        super().chunk_populated(chunk, page_start, page_end)
        self.nr_empty_pop_pages -= 1


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setitem(VARIANTS, "forgetful", Forgetful)
    yield "forgetful"


def test_unexpected_violation_is_a_verdict(short: Path, forgetful: str) -> None:
    result = call("run", short, "--variant", forgetful, "--contracts", "full")
    assert result.exit_code == 1
    assert "FLT-1 violated at operation " in result.output
    assert f"  ({short}:" in result.output  # folded: the path is long, and whole
    assert "page |map, 128 bytes a character" in result.output
    assert "unexpectedly" in result.output


def test_unexpected_violation_in_json(short: Path, forgetful: str) -> None:
    found = read_json("run", short, "--variant", forgetful, "--contracts", "full", status=1)
    assert found["stopped_by"] == "FLT-1"
    assert not found["complete"]
    violation = found["violations"]["FLT-1"]
    assert not violation["expected"]
    assert violation["first"] == found["operations"] < 3000
    assert found["final_checksum"] is None


# conform


def test_conform_vectors() -> None:
    found = read_json("conform", "vectors")
    assert {k: found[k] for k in ("files", "operations", "mismatches", "first_mismatch")} == {
        "files": 12,
        "operations": 6035,
        "mismatches": 0,
        "first_mismatch": None,
    }
    result = call("conform", "vectors", SMALL)
    assert result.exit_code == 0
    assert "every field of every recorded state is the kernel's" in result.output


def test_conform_vectors_that_differ(tmp_path: Path) -> None:
    lines = gzip.decompress(SMALL.read_bytes()).decode().splitlines()[:5]
    record = json.loads(lines[2])
    record["g"]["nr_empty"] += 1
    path = tmp_path / "v.jsonl"
    path.write_text("\n".join([*lines[:2], json.dumps(record), *lines[3:]]))
    found = read_json("conform", "vectors", path, status=1)
    assert found["mismatches"] == 1
    assert found["first_mismatch"]["field"] == "g.nr_empty"
    assert found["first_mismatch"]["line"] == 3
    result = call("conform", "vectors", path)
    assert result.exit_code == 1
    assert "g.nr_empty: kernel 8, model 7" in result.output


def test_conform_trace() -> None:
    found = read_json("conform", "trace", data.folder("boot61_2"))
    for key in (
        "allocations",
        "placed",
        "failures",
        "failures_matched",
        "start_hints",
        "start_hints_matched",
        "snapshots",
    ):
        assert key in found["runs"][0]
    assert found["placed"] == found["allocations"] > 400


# show


def test_show(short: Path, tmp_path: Path) -> None:
    svg = tmp_path / "map.svg"
    result = call("show", short, "--at", 300, "--chunk", 0, "--svg", svg)
    assert result.exit_code == 0
    assert result.output.startswith(f"short.ops, {DEFAULT}, after operation 300 of 3000\n")
    assert "chunk 0 (first, immutable)" in result.output
    assert svg.read_text().startswith("<svg ")


def test_show_json() -> None:
    found = read_json("show", SMALL, "--at", 600, "--chunk", "-1")
    assert found["operations"] == 600
    assert found["chunk"] == "-1"
    last = json.loads(gzip.decompress(SMALL.read_bytes()).decode().splitlines()[600])
    assert found["final_checksum"] == last["crc"]
    assert found["slots"] == last["slots"]
    assert found["lists"]["no list: reserved"] == ["-1"]


def test_show_picks_the_chunk_that_changed() -> None:
    assert read_json("show", SMALL, "--at", 1)["chunk"] == "-1"
    assert read_json("show", SMALL, "--at", 0)["chunk"] == "0"


def test_show_statistics(short: Path) -> None:
    result = call("show", short, "--stats")
    assert result.output.startswith("Percpu Memory Statistics\nAllocation Info:\n")
    assert read_json("show", short, "--stats")["percpu_stats"] == result.output


# explain, bench


def test_explain() -> None:
    found = read_json("explain", "hint-5")
    assert found["id"] == "HINT-5"
    assert found["predicates"][0]["name"] == "chunk_hint_is_close"
    assert found["expected"]["linux_6_12"] == "L1, L2, L4, L5"
    assert "reference" not in found["expected"]
    result = call("explain", "MAP-1")
    assert result.exit_code == 0
    assert "alloc_area" in result.output
    assert "HINT-5" in read_json("explain")


def test_bench(short: Path) -> None:
    found = read_json("bench", short, "--rounds", 1)
    assert found["complete"]
    only = found["lists"][0]
    assert only["operations"] == 3000
    assert set(only["operations_per_second"]) == {"off", "fast", "full"}
    assert only["times_slower_than_off"]["fast"] > 1
    assert only["checksums_agree"]


@pytest.mark.deep
def test_bench_names_the_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "shared", lambda name: [])
    (tmp_path / "01-other-u64.jsonl.gz").write_bytes(SMALL.read_bytes())
    (tmp_path / SMALL.name).write_bytes(SMALL.read_bytes())
    report = prepare([], [tmp_path], "linux_6_12", 1)
    (vectors,) = [work for work in report.works if work.files]
    names = [Path(name) for name in vectors.files]
    assert tmp_path / SMALL.name in names and tmp_path / "01-other-u64.jsonl.gz" in names
    assert SMALL not in names  # of two with one name the first counts
    assert {path.parent for path in names} == {tmp_path, SHIPPED}
    assert vectors.as_json()["files"] == list(vectors.files)


def test_bench_wrong_list(tmp_path: Path) -> None:
    (tmp_path / "c10.ops").write_text("a 1 8 8 -\n")
    found = read_json("bench", "c10", "--lists", tmp_path, "--rounds", 1, status=1)
    assert not found["lists"][0]["checksums_agree"]
    assert "mean nothing" in call("bench", "c10", "--lists", tmp_path, "--rounds", 1).output


# bad input: contents, command, what the one message says


BAD = [
    ("a 1 8 8\n", ("run",), ":1: expected 'a HANDLE SIZE ALIGN FLAGS'"),
    ("a 1 8 8 -\nf 2\n", ("run",), ":2: expected a handle allocated before, found 'handle 2'"),
    ("a 1 8 8 -\nf 1\nf 1\n", ("run",), ":3: expected a handle not freed yet"),
    ("a 1 8 8 -\na 1 8 8 -\n", ("run",), ":2: expected a handle not in use"),
    ("a 1 8 8 Z\n", ("run",), ":1: expected flags - or letters of AGNOFRW"),
    ("hello world\n", ("run",), ":1: expected an operation, one of a f b"),
    ("# nothing\n", ("run",), ": expected at least one operation"),
    ("[    0.0] percpu: Embedded 56 pages/cpu s188440 r8192 d32744 u262144\n", ("show",),
     ": expected an operation list, a vector or a trace; a log of the kernel is read by "
     "percpu-spec log "),
    ("[    0.0] a\n[    0.1] b\n", ("run",), "percpu-spec log "),
    ("a 1 8 8\n", ("show",), ":1: expected 'a HANDLE SIZE ALIGN FLAGS'"),
    ("a 1 8 8 -\n", ("show", "--at", "2"), ": expected at least 2 operations, for --at, found '1'"),
    ("a 1 8 8 -\n", ("show", "--chunk", "5"), "--chunk: expected one of 0 -1, found '5'"),
    ("a 1 8 8 -\n", ("show", "--svg", "/no/such/folder/x.svg"), "show --svg: no such folder: "),
    ("a 1 8 8\n", ("bench",), ":1: expected 'a HANDLE SIZE ALIGN FLAGS'"),
    ("", ("conform", "vectors"), ":1: expected the boot state"),
    ("a 1 8 8 -\n", ("conform", "vectors"), ":1: expected one JSON object"),
    ('{"op":"init"}\n', ("run",), ":1: expected fields chunks, crc, free_slot"),
    ("a 1 8 8 -\n", ("run", "--geometry", "unit=4096"), "--geometry: expected sizes that a kernel"),
    ("a 1 8 8 -\n", ("run", "--geometry", "unit"), "expected name=value"),
    ("a 1 8 8 -\n", ("run", "--geometry", "page=2048"), "page=2048: expected one of 4096, 8192"),
    ("a 1 8 8 -\n", ("run", "--geometry", "page=65536,unit=98304"), "expected a multiple of"),
    ("a 1 8 8 -\n", ("run", "--geometry", "page=12288"), "page=12288: expected one of 4096"),
    ("a 1 8 8 -\n", ("run", "--geometry", "page=16384,unit=16384,static=100,reserved=0,dyn=16000"),
     "unit=16384: expected at least 32768, 32768 in whole pages of 16384"),
    ("a 1 8 8 -\n", ("run", "--geometry", "static=0"), "only a kernel without SMP has none"),
    ("a 1 8 8 -\n", ("run", "--geometry", "moon=1"), "--geometry: expected one of page, unit"),
    ("a 1 8 8 -\n", ("run", "--geometry", "early=4"), "expected one of page, unit, static"),
    ("a 1 8 8 -\n", ("show", "--geometry", "granule=8"), "expected one of page, unit, static"),
    ("a 1 8 8 -\n", ("run", "--geometry", "memcg=2"), "expected memcg=0 or memcg=1"),
    ("a 1 8 8 -\n", ("run", "--geometry", "async=yes"), "expected async=0 or async=1"),
    ("a 1 8 8 -\n", ("run", "--geometry", "dyn=28670"), "a dynamic part of whole granules of 4"),
    ("a 1 8 8 -\n", ("run", "--geometry", "static=5001,dyn=24000"), "a dynamic part of whole"),
    ("a 1 8 8 -\n", ("run", "--geometry", "unit=1099511627776"), "expected at most 67108864"),
    ("a 1 8 8 -\n", ("run", "--geometry", "cpus=8193"), "cpus=8193: expected at most 8192"),
    ("a 1 8 8 -\n", ("run", "--geometry", "unit=" + "9" * 5000), "a number of at most 20 digits"),
    ("a 1 8 8 -\n", ("run", "--geometry", "cpus=2,groups=3"), "at least one CPU in each group"),
    ("a 1 " + "8" * 5000 + " 8 -\n", ("run",), ":1: expected 'a HANDLE SIZE ALIGN FLAGS'"),
    ('{"op":"init","a":' + "[" * 100_000, ("run",), ":1: expected one JSON object (nested"),
    ("a 1 8 8 -\n", ("run", "--variant", "linux_6_21"), "expected one of linux_6_15"),
    ("a 1 8 8 -\n", ("run", "--contracts", "some"), "expected one of off, fast, full, found "),
    ("rubbish", ("conform", "trace"), "expected jsonl, or a trace in text"),
]


@pytest.mark.parametrize(("text", "command", "message"), BAD)
@pytest.mark.parametrize("packed", [False, True])
def test_bad_input(
    tmp_path: Path, text: str, command: tuple[str, ...], message: str, packed: bool
) -> None:
    path = tmp_path / "input"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    result = call(*command, path)
    assert result.exit_code == 2
    assert message in result.output
    if message.startswith(":"):
        assert result.output.startswith(f"percpu-spec: {path}{message}")
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["run", "show"])
def test_a_variant_is_no_input_to_run(command: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from percpu_reference.variants.linux_6_12 import Linux612\n")
    result = call(command, path)
    assert result.exit_code == 2 and "is given by --variant FILE.py" in result.output


@pytest.mark.parametrize("command", [("run",), ("show",), ("conform", "vectors")])
def test_truncated_gzip(tmp_path: Path, command: tuple[str, ...]) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(SMALL.read_bytes()[:-100])
    result = call(*command, path)
    assert result.exit_code == 2
    assert "more data: the gzip stream ends early" in result.output


def test_a_geometry_that_no_kernel_boots_with(tmp_path: Path) -> None:
    lines = gzip.decompress(SMALL.read_bytes()).decode().splitlines()[:3]
    record = json.loads(lines[0])
    record["geom"]["dyn"] = 4096
    path = tmp_path / "v.jsonl"
    path.write_text("\n".join([json.dumps(record), *lines[1:]]))
    for command in (("run",), ("show",), ("conform", "vectors")):
        result = call(*command, path)
        assert result.exit_code == 2
        assert f"{path}:1: expected a geometry that a kernel boots with" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "/no/such/file"),
        ("conform", "vectors", "/no/such/file"),
        ("conform", "trace", "/no/such/folder"),
        ("show", "/no/such/file"),
        ("bench", "/no/such/list"),
        ("bench", "c10", "--rounds", "0"),
        ("explain", "HINT-55"),
        ("run", data.default_trace(), "--geometry", "cpus=2"),
        ("run", "--geometry", "cpus=2"),
        ("no-such-command",),
    ],
)
def test_usage(arguments: tuple[object, ...]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.output
    assert "Traceback" not in result.output


def test_programming_errors_are_not_swallowed(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a slip of ours")

    monkeypatch.setattr(run_command, "run_list", broken)
    assert isinstance(call("run", short).exception, KeyError)


# interruption


def test_interrupted_run_prints_what_was_covered(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting(Linux612):
        __slots__ = ()

        def balance_workfn(self) -> Steps[None]:
            raise KeyboardInterrupt

    monkeypatch.setitem(VARIANTS, "interrupting", Interrupting)
    short.write_text(short.read_text() + "\nb\nf 5\n")
    found = read_json("run", short, "--variant", "interrupting", status=130)
    assert found["interrupted"]
    assert not found["ok"]
    assert found["operations"] == 3001
    assert found["clauses"]["MAP-1"]["evaluations"] > 0
    result = call("run", short, "--variant", "interrupting")
    assert result.exit_code == 130
    assert "3001 of 3002" in result.output


def test_interrupted_comparison_prints_what_was_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    compare = vectors_module.compare_vector
    begun: list[object] = []

    def interrupting(vector: Any, report: Any) -> None:
        begun.append(vector)
        if len(begun) == 3:
            raise KeyboardInterrupt
        compare(vector, report)

    monkeypatch.setattr(vectors_module, "compare_vector", interrupting)
    found = read_json("conform", "vectors", status=130)
    assert found["interrupted"]
    assert found["files"] == 2
