"""`percpu-spec state`: what it prints, its JSON, its exit status."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.commands import state as state_command
from percpu_proofs.commands.source import read_source
from percpu_proofs.live.kernel_memory import memory_of_reads
from percpu_proofs.live.reader import Reader
from percpu_proofs.live.verdicts import BROKEN, HOLDS, KNOWN, NOT_ASKED, floats, stats_verdicts
from percpu_proofs.recorded.states.stats_text import read_stats, stats_of
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.runner import state_after
from percpu_proofs.show.stats import stats_text

STATES = data.folder("states")
REMOVED = STATES / "612_4.removed60.txt.gz"
READS = STATES / "reads612_4.removed60.json.gz"
POWER9 = [path for folder in data.shared("artefacts") for path in folder.glob("18-percpu_stats*")]


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["state", *map(str, words)])


def as_json(*words: object) -> Any:
    result = run(*words, "--json")
    assert result.exit_code in (0, 1, 3), result.output
    return json.loads(result.stdout)


def test_text_says_what_is_known_and_where_memory_is() -> None:
    result = run(READS)
    assert result.exit_code == 0
    words = " ".join(result.stdout.split())
    for expected in (
        "6.12.117+deb12-cloud-amd64: 4 CPUs, units of 512 kB",
        "at rest: pcpu_lock free, pcpu_alloc_mutex free, balance work neither pending nor running",
        "Percpu 10512 kB: 2292 kB used by areas, 48 kB stranded",
        "1216 kB of it above HIGH (float 80 pages, HIGH 4",
        "MAP-2 3 5",
        "known HINT-5 chunk 0: contig_hint 1, expected 66 bits",
        "[known on 6.1.159, 6.6.117, 6.12.59 and later of each: R1, R2]",
        "2 empty pages: 32 kB stranded",
        "largest atomic request that chunks as they are serve: 18680 bytes",
    ):
        assert expected in words


def test_json_has_the_keys_of_the_design() -> None:
    found = as_json(REMOVED, "--ask", "4096,8,atomic", "--ask", "32768", "--what-if", "work")
    assert found["kernel"].startswith("6.12.117") and found["rest"]["state"] == "not told"
    assert found["layout"]["page_cost"] == 16384 and found["layout"]["static"] == 233472
    rcl3, hint1 = found["clauses"]["RCL-3"], found["clauses"]["HINT-1"]
    assert rcl3["verdict"] == KNOWN and "R1, R2" in rcl3["reason"] and rcl3["found"]
    assert hint1 == {"verdict": HOLDS, "found": [], "reason": ""}
    assert found["clauses"]["API-1"]["verdict"] == NOT_ASKED
    assert found["memory"]["stranded"] == 48 << 10 and len(found["chunks"]) == 14
    served, blocking = found["ask"]
    assert (served["chunk"], served["off"]) == ("1", 64) and blocking["pages_populated"] == 8
    assert [after["variant"] for after in found["what_if"]] == ["linux_6_12", "reference"]


def test_a_chunk_and_all_chunks_are_drawn(tmp_path: Path) -> None:
    one, whole = tmp_path / "one.svg", tmp_path / "all.svg"
    result = run(REMOVED, "--chunk", "7", "--svg", one)
    assert "chunk 7 (isolated): slot 18 sidelined" in result.stdout
    result = run(REMOVED, "--map", "--svg", whole)
    strips = re.findall(r"^ *(-?\d+) \|(.+)\|$", result.stdout, re.M)
    assert [name for name, _ in strips] == [*map(str, range(13)), "-1"]
    assert strips[7][1].endswith("e") and len(strips[7][1]) == 64  # two pages a cell
    for path in (one, whole):
        ElementTree.parse(path)
    assert run(REMOVED, "--chunk", "13").exit_code == 2
    assert run(REMOVED, "--svg", one).exit_code == 2


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = gzip.decompress(REMOVED.read_bytes()).decode()
    assert old in text
    path = tmp_path / "state.txt"
    path.write_text(text.replace(old, new, 1))
    return path


def test_what_is_broken_beyond_the_release_exits_1(tmp_path: Path) -> None:
    path = changed(tmp_path, "pcpu_nr_empty_pop_pages=80", "pcpu_nr_empty_pop_pages=81")
    result = run(path, "--ask", "64")
    assert result.exit_code == 1
    words = " ".join(result.stdout.split())
    assert "broken FLT-1 float 81, chunks' counters sum to 80 pages" in words
    assert "the model does not go on from here: the state breaks FLT-1" in words


def test_a_torn_state_exits_3(tmp_path: Path) -> None:
    path = changed(tmp_path, "pcpu_async_enabled=1", "pcpu_async_enabled=1\npcpu_lock=101")
    result = run(path)
    assert result.exit_code == 3 and "verdicts are hints only" in result.stdout
    assert "holds (hint)" in result.stdout
    found = as_json(path)
    assert found["rest"]["state"] == "torn" and found["rest"]["hints_only"]


def test_lists_that_loop_exit_3(tmp_path: Path) -> None:
    reads = json.loads(gzip.decompress(READS.read_bytes()))
    # the first chunk's list entry leads to itself
    chunk = next(at for at in reads["memory"] if at.endswith("3ffd7dc0"))
    raw = base64.b64decode(reads["memory"][chunk])
    looped = int(chunk, 16).to_bytes(8, "little") + raw[8:]
    reads["memory"][chunk] = base64.b64encode(looped).decode()
    path = tmp_path / "reads.json"
    path.write_text(json.dumps(reads))
    result = run(path)
    assert result.exit_code == 3 and "torn: list 0 comes to the chunk" in result.stdout


def test_what_is_saved_is_judged_the_same(tmp_path: Path) -> None:
    path = tmp_path / "state.txt.gz"
    assert run(READS, "--save", path).exit_code == 0
    ours, theirs = as_json(READS), as_json(path)
    assert {**ours, "source": ""} == {**theirs, "source": ""}


def test_owners_are_told() -> None:
    result = run(STATES / "reads61_2.removed.json.gz", "--who")
    assert "used by: /percpu_test 175200, not accounted" in result.stdout
    assert "page 3" in result.stdout
    who = as_json(STATES / "reads61_2.removed.json.gz", "--who")["who"]
    assert who["2"]["owners"] == {"/percpu_test": 8760, "not accounted": 1340}
    assert who["2"]["pages"]["13"] == {"not accounted": 16}
    assert "is not told" in run(REMOVED, "--who").stdout


BAD: list[tuple[list[str], str]] = [
    (["nothing.txt"], "nothing.txt: expected a readable file"),
    ([str(REMOVED), "--ask", "0"], "1 to 32768 bytes"),
    ([str(REMOVED), "--ask", "8,16384"], "a power of two up to 4096"),
    ([str(REMOVED), "--ask", "many"], "SIZE[,ALIGN][,atomic]"),
    ([str(REMOVED), "--every", "1"], "WHAT is live"),
    ([str(data.folder("boot61_2") / "dmesg.txt.gz")], "percpu-spec log"),
]


@pytest.mark.parametrize(("words", "expected"), BAD)
def test_bad_input_exits_2(words: list[str], expected: str) -> None:
    result = run(*words)
    assert result.exit_code == 2 and expected in result.stderr


# a running kernel


def test_a_running_kernel_is_sampled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reader = Reader(memory_of_reads(READS))
    monkeypatch.setattr(state_command, "reader_of", lambda *_: reader)
    keep, svg = tmp_path / "samples.jsonl", tmp_path / "samples.svg"
    result = run("live", "--every", "0.1", "--count", "2", "--save", keep, "--svg", svg)
    assert result.exit_code == 0
    assert result.stdout.count("percpu_kb 10512") == 1  # the second sample is as the first
    result = run("live", "--every", "0.1", "--count", "1", "--save", keep, "--json")
    assert json.loads(result.stdout)["stranded_kb"] == 48
    assert len(keep.read_text().splitlines()) == 3
    ElementTree.parse(svg)
    again = run(keep, "--svg", tmp_path / "again.svg")
    assert again.exit_code == 0 and "stranded_kb 48" in again.stdout


def test_what_was_sampled_survives_ctrl_c(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reader = Reader(memory_of_reads(READS))

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(state_command, "reader_of", lambda *_: reader)
    monkeypatch.setattr(state_command, "watch", _interrupted_watch(interrupted))
    keep, svg = tmp_path / "samples.jsonl", tmp_path / "samples.svg"
    result = run("live", "--every", "60", "--save", keep, "--svg", svg)
    assert result.exit_code == 130
    assert len(keep.read_text().splitlines()) == 1
    assert "stranded" in svg.read_text()


def _interrupted_watch(sleep: Any) -> Any:
    watch = state_command.watch
    return lambda *given, **named: watch(*given, **named, sleep=sleep)


# percpu_stats


@pytest.mark.parametrize("path", POWER9, ids=lambda path: path.name)
def test_the_right_answer_of_power9(path: Path) -> None:
    stats = read_stats(path)
    assert stats.pages == (65536,) and len(stats.chunks) == 11 and stats.types == 2
    assert floats(stats) == [7, 11] and stats.counters["empty_pop_pages"] == 18
    verdicts = stats_verdicts(stats)
    assert {c for c, v in verdicts.items() if v.verdict == HOLDS} >= {"FLT-1", "BAL-2", "RCL-3"}
    assert run(path).exit_code == 0
    notes = [row["note"] for row in as_json(path)["chunks"]]
    assert notes[2] == "no empty page: 90 areas pin what is populated" and notes[8] == "fully free"
    assert as_json(path)["not_determined"]


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """The text for a state of the model with a sidelined chunk, one that waits, and holes."""
    path = data.folder("vectors") / "37-mixed-u64-c4-r8.jsonl.gz"
    vector = read_source(path, None)
    for at in range(len(vector.listed.operations), 0, -20):
        allocator, _ = state_after(vector.listed, vector.geometry, "linux_6_12", at)
        text = stats_text(allocator)
        if "(sidelined)" in text and "<- Reserved" in text:
            return text.splitlines()
    raise AssertionError("no such state in the vector")


def test_the_models_own_text_is_read_back(printed: list[str]) -> None:
    verdicts = stats_verdicts(stats_of(Path("x"), printed))
    assert not [v for v in verdicts.values() if v.verdict == BROKEN]
    assert {verdicts[c].verdict for c in ("FLT-1", "STAT-1", "HINT-1")} == {HOLDS}
    quoted = ["Hello,", "", *(f"> {line}" for line in printed)]
    assert stats_verdicts(stats_of(Path("x"), quoted)) == verdicts


def edited(lines: list[str], heading: str, name: str, value: object) -> list[str]:
    """Return the text with a row behind a heading changed."""
    start = next(i for i, line in enumerate(lines) if line.startswith(heading))
    at = next(i for i in range(start, len(lines)) if lines[i].split(":")[0].strip() == name)
    return [*lines[:at], f"  {name:20}: {value:>12}", *lines[at + 1 :]]


STATS: list[tuple[str, str, object, str, str]] = [
    ("Global", "empty_pop_pages", 99, "FLT-1", BROKEN),
    ("Global", "nr_cur_alloc", 1, "STAT-1", BROKEN),
    ("Global", "nr_chunks", 77, "STAT-1", BROKEN),
    ("Global", "nr_max_chunks", 0, "STAT-1", BROKEN),
    ("Chunk (sidelined)", "empty_pop_pages", 3, "RCL-3", KNOWN),
    ("Chunk: <- First", "contig_bytes", 65532, "HINT-1", BROKEN),
    ("Chunk: <- First", "nr_alloc", 0, "STAT-1", BROKEN),
    ("Chunk (sidelined)", "nr_alloc", 65536, "STAT-1", BROKEN),
]


@pytest.mark.parametrize(("heading", "name", "value", "clause", "verdict"), STATS)
def test_one_changed_number_of_percpu_stats_is_found(
    heading: str, name: str, value: object, clause: str, verdict: str, printed: list[str]
) -> None:
    lines = edited(printed, heading, name, value)
    found = stats_verdicts(stats_of(Path("x"), lines))[clause]
    assert found.verdict == verdict and found.found


def test_percpu_stats_that_are_not_whole_are_refused(printed: list[str], tmp_path: Path) -> None:
    path = tmp_path / "percpu_stats"
    for lines, expected in (
        (printed[:12], "the global counters: the text is not whole"),
        (printed[:25], "First Chunk"),
        (edited(printed, "Global", "nr_alloc", "many"), "nr_alloc : number"),
        (printed[:-6], "of the chunk: the text is not whole"),
    ):
        path.write_text("\n".join(lines))
        result = run(path)
        assert result.exit_code == 2 and expected in result.stderr, result.stderr
        assert re.search(rf"{re.escape(str(path))}:\d+: expected", result.stderr)
    path.write_text("\n".join(printed))
    assert run(path, "--ask", "8").exit_code == 2


@pytest.mark.parametrize(
    ("heading", "name", "value"),
    [
        ("Chunk: <- First", "free_bytes", 6),
        ("Chunk: <- First", "free_bytes", 10**6),
        ("Chunk (sidelined)", "contig_bytes", 1001),
        ("Chunk (sidelined)", "max_frag", 1 << 40),
        ("Chunk (sidelined)", "empty_pop_pages", 100000),
        ("Allocation Info", "unit_size", 0),
        ("Allocation Info", "unit_size", 65537),
        ("Allocation Info", "static_size", 1 << 30),
        ("Allocation Info", "dyn_size", 1 << 30),
    ],
)
def test_what_no_kernel_prints_is_refused_at_its_line(
    heading: str, name: str, value: int, printed: list[str]
) -> None:
    lines = edited(printed, heading, name, value)
    changed = next(i for i, (a, b) in enumerate(zip(lines, printed, strict=True), 1) if a != b)
    with pytest.raises(InputError, match=rf"^x:{changed}: expected {name}: .*'{value}'$"):
        stats_of(Path("x"), lines)


@pytest.mark.parametrize("words", [
    ("live", "--every", "nan"), ("live", "--every", "inf"), (REMOVED, "--count", 3),
    (REMOVED, "--ask", "8,0"), (REMOVED, "--ask", "8,3"), (REMOVED, "--ask", "0"),
])  # fmt: skip
def test_options_that_mean_nothing_are_refused(words: tuple[object, ...]) -> None:
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert {"live": "no number of seconds", "--count": "--every", "--ask": "a power of two"}[
        "live" if words[0] == "live" else str(words[1])
    ] in " ".join(result.stderr.split())


def test_what_is_read_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "state.txt.gz"
    path.write_bytes(REMOVED.read_bytes())
    for words in (("--save", path), ("--svg", path, "--map")):
        result = run(path, *words)
        assert result.exit_code == 2 and "not overwritten" in " ".join(result.stderr.split())
    assert path.read_bytes() == REMOVED.read_bytes()
