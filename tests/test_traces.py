"""Recorded kernel runs: reading them whole or not at all, and replaying them."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from depth import deep_unless

import percpu_proofs
from percpu_proofs.recorded.boot.layout import layout
from percpu_proofs.recorded.replay.comparison import conform_trace
from percpu_proofs.recorded.states.text import read_snapshot
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.reader import read_run, read_trace
from percpu_proofs.run.inputs import TraceError
from percpu_reference.chunk import Chunk
from percpu_reference.variants import VARIANTS
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

DATA = Path(percpu_proofs.__file__).parent / "data"
BOOT, CGROUPS = DATA / "boot61_2", DATA / "cgkp61_4_one"
SHARED = Path(__file__).parents[2] / "shared" / "traces"

PROBES = """\
# tracer: nop
            bpfw-136     [001] dn.1.          428: area: (pcpu_alloc_area+0x0/0x2e0) base=0xffd1ffffffc00000 bits=1 align=1 start=388
            bpfw-136     [001] dn.1.          429: relocate: (pcpu_chunk_relocate+0x0/0x100) base=0xffd1ffffffc00000 oslot=17
            bpfw-136     [001] dn.1.          430: area_ret: (pcpu_alloc+0x25b/0x830 <- pcpu_alloc_area) off=1552
     kworker/0:2-51      [000] .....          472: balance: (pcpu_balance_workfn+0x0/0x550)
     kworker/0:2-51      [000] d..1.          473: bfree: (pcpu_balance_free+0x0/0x2d0) empty_only=0
     kworker/0:2-51      [000] .....          474: popcall: (pcpu_populate_chunk+0x0/0x3a0) base=0xffd1ffffffc00000 start=3 end=7
     kworker/0:2-51      [000] d..1.          475: populated: (pcpu_chunk_populated+0x0/0x50) base=0xffd1ffffffc00000 start=3 end=7
     kworker/0:2-51      [000] .....          477: balance_ret: (process_one_work+0x1c7/0x380 <- pcpu_balance_workfn)
            bpfw-136     [001] d..1.          478: sched_wakeup: comm=x pid=1 prio=120
            bpfw-136     [001] d..1.          479: farea: (pcpu_free_area+0x0/0x1) base=0xffd1ffffffc00000 off=8
"""  # noqa: E501  (lines as tracefs writes them)


def text_lines(path: Path = BOOT / "trace.txt.gz") -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def without_tasks(events: list[ev.TraceEvent]) -> list[ev.TraceEvent]:
    return [replace(event, pid=None) for event in events]


def as_trace_cmd(line: str) -> str:
    """Return a line of the kernel's own text as `trace-cmd report` prints it."""
    found = re.fullmatch(r"(\s*.*-\d+\s+\[\d+\]) \S+\s+(\d+): (\S+): (.*)", line)
    assert found, line
    head, time, event, fields = found.groups()
    if event == "tracing_mark_write":
        event, fields = "print", f"tracing_mark_write: {fields}"
    fields = re.sub(r"(base_addr|ptr)=0*([0-9a-f]+)", r"\1=0x\2", fields)
    return f"{head} {time:>12}: {event + ':':<21} {fields}"


# reading


def test_jsonl_and_text_of_one_run_agree() -> None:
    jsonl, text = read_run(BOOT), read_run(BOOT / "trace.txt.gz")
    assert len(jsonl.trace.events) == 472
    assert without_tasks(list(text.trace.events)) == list(jsonl.trace.events)
    assert jsonl.geometry == text.geometry


def test_trace_cmd_report_gives_the_same_events(tmp_path: Path) -> None:
    lines = [as_trace_cmd(line) for line in text_lines() if not line.startswith("#")]
    path = tmp_path / "report.txt"
    path.write_text("\n".join(["version = 7", "CPU 3 is empty", "cpus=2", *lines]) + "\n")
    assert read_trace(path).events == read_trace(BOOT / "trace.txt.gz").events


def test_plain_and_packed_are_told_apart_by_content(tmp_path: Path) -> None:
    plain, packed = tmp_path / "trace.gz", tmp_path / "trace.txt"
    plain.write_text("\n".join(text_lines()) + "\n")
    packed.write_bytes((BOOT / "trace.txt.gz").read_bytes())
    assert read_trace(plain).events == read_trace(packed).events


def test_probes_in_text(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text(PROBES)
    base = 0xFFD1FFFFFFC00000
    assert read_trace(path).events == [
        ev.AllocArea(428, 1, base, 1, 1, 388, pid=136),
        ev.Relocate(429, 1, base, 17, pid=136),
        ev.AreaReturn(430, 1, 1552, pid=136),
        ev.BalanceEntry(472, 0, pid=51),
        ev.BalanceFree(473, 0, False, pid=51),
        ev.PopulateCall(474, 0, base, 3, 7, pid=51),
        ev.Populated(475, 0, base, 3, 7, pid=51),
        ev.BalanceReturn(477, 0, pid=51),
        ev.AreaFree(479, 1, base, 8, pid=136),
    ]


def test_seconds_become_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text(
        "cpus=1\n init-1 [000]    12.345678: percpu_create_chunk:  base_addr=0xff00\n"
        " <idle>-0 ( 17) [000] d..2. 12.345679: percpu_free_percpu: base_addr=0xff00 off=4 "
        "ptr=(nil)\n"
    )
    assert read_trace(path).events == [
        ev.CreateChunkEvent(12345678, 0, 0xFF00, pid=1),
        ev.Free(12345679, 0, 0xFF00, 4, 0, pid=0),
    ]


# bad input


def lose(text: str) -> str:
    return text.replace("percpu_free_percpu", "percpu_free", 1)


BAD_TEXT: list[tuple[str, Callable[[str], str], str]] = [
    ("rubbish", lambda t: t + "rubbish\n", r":\d+: expected task-pid \[cpu\] flags time: event"),
    ("field", lambda t: t.replace(" off=2208", "", 1), r":13: expected percpu_alloc_percpu: \[ca"),
    ("number", lambda t: t.replace("size=4 ", "size=four ", 1), r":13: expected percpu_alloc_perc"),
    ("negative", lambda t: t.replace("size=4 ", "size=-4 ", 1), r":13: expected percpu_alloc_perc"),
    ("long", lambda t: t.replace("size=4 ", f"size={'4' * 5000} ", 1), r":13: expected percpu_all"),
    ("unknown", lose, r":\d+: expected one of percpu_alloc_percpu"),
    (
        "cut",
        lambda t: "\n".join(t.splitlines()[:-1]) + "\n",
        r":3: expected as many lines as entries in the buffer, 401, got '400'",
    ),
    (
        "backwards",
        lambda t: t.replace("          410: tracing", "            4: tracing"),
        r":\d+: expected a time of at least 409: events in order, got '4'",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "message"), [c[1:] for c in BAD_TEXT], ids=[c[0] for c in BAD_TEXT]
)
def test_bad_text_is_refused(tmp_path: Path, spoil: Callable[[str], str], message: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(spoil("\n".join(text_lines()) + "\n"))
    with pytest.raises(TraceError, match=re.escape(str(path)) + message):
        read_trace(path)


BAD_JSONL = [
    ('{"seq":0,', ":1: expected one JSON object"),
    ("[1]", ":1: expected jsonl, or a trace in text"),
    ('{"seq":0,"op":"free","t":1}', ":1: expected a field base_addr in op free"),
    ('{"seq":0,"op":"melt","t":1}', ":1: expected op: one of alloc, free"),
    (
        '{"seq":0,"op":"free","t":1,"base_addr":"xy","off":0,"ptr":"0"}',
        ":1: expected base_addr: a he",
    ),
    (
        '{"seq":0,"op":"free","t":1,"base_addr":"f","off":"0","ptr":"0"}',
        ":1: expected off: a whole",
    ),
    ('{"seq":1,"op":"mark","t":1,"text":"x"}', r":1: expected seq 0 \(events are lost\), got '1'"),
    ('{"seq":0,"op":"mark","text":"x"}', ":1: expected t "),
    (
        '{"seq":0,"op":"mark","t":9,"text":"x"}\n{"seq":1,"op":"mark","t":8,"text":"x"}',
        ":2: expected t of at least 9",
    ),
    (
        '{"seq":0,"op":"fail","t":1,"reserved":0,"is_atomic":1,"size":-4,"align":4}',
        ":1: expected size: a whole number, 0 or more",
    ),
    (
        '{"seq":0,"op":"free","t":1,"base_addr":"-f","off":0,"ptr":"0"}',
        ":1: expected base_addr: a hexadecimal address",
    ),
    ('{"seq":0,"op":"mark","t":1,"text":' + "[" * 100_000, ":1: expected one JSON object"),
    ("", ":1: expected a trace, found an empty file"),
    ("hello", ":1: expected jsonl, or a trace in text"),
]


@pytest.mark.parametrize(("text", "message"), BAD_JSONL)
def test_bad_jsonl_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(text)
    with pytest.raises(TraceError, match=re.escape(str(path)) + message):
        read_trace(path)


@pytest.mark.parametrize("name", ["trace.jsonl.gz", "trace.txt.gz"])
def test_truncated_gzip_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes((BOOT / name).read_bytes()[:-700])
    with pytest.raises(TraceError, match=rf"{re.escape(str(path))}:\d+: expected more data"):
        read_trace(path)


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    data = bytearray((BOOT / "trace.jsonl.gz").read_bytes())
    data[3000:3010] = b"0123456789"
    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(TraceError, match=rf"{re.escape(str(path))}:\d+: expected"):
        read_trace(path)


def copied(tmp_path: Path, source: Path = BOOT) -> Path:
    shutil.copytree(source, tmp_path / "run")
    return tmp_path / "run"


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_bytes(
        gzip.compress(change(gzip.decompress(path.read_bytes()).decode()).encode(), compresslevel=1)
    )


def test_a_run_needs_its_layout(tmp_path: Path) -> None:
    run = copied(tmp_path)
    (run / "dmesg.txt.gz").unlink()
    with pytest.raises(TraceError, match=r"expected the boot messages with the percpu layout"):
        assert read_run(run).geometry


def test_a_run_needs_a_trace(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"expected a trace, one of trace\.jsonl\.gz"):
        conform_trace(tmp_path)


def test_counts_of_the_tracer_are_believed(tmp_path: Path) -> None:
    run = copied(tmp_path)
    (run / "buffer_stats.txt").write_text("[cpu0]\nentries: 5\noverrun: 3\n[cpu1]\noverrun: 4\n")
    events = read_run(run).trace.events
    assert ev.Lost(None, None, 7) == events[0] and ev.Lost not in map(type, events[1:])
    (run / "buffer_stats.txt").write_text("[cpu0]\ncommit overrun: 3\n")
    with pytest.raises(TraceError, match=r"buffer_stats\.txt:2: expected no lost events"):
        read_run(run)


def test_counts_of_the_manifest_are_compared(tmp_path: Path) -> None:
    run = copied(tmp_path)
    rewrite(run / "trace.jsonl.gz", lambda t: "\n".join(t.splitlines()[:-5]) + "\n")
    with pytest.raises(TraceError, match=r"expected 375 events alloc, as manifest\.json says"):
        read_run(run)


def test_a_free_of_nothing_is_refused(tmp_path: Path) -> None:
    run = copied(tmp_path)
    free = '"op":"free","base_addr":"ff1100017aa36000","off":'
    rewrite(run / "trace.jsonl.gz", lambda t: t.replace(f"{free}9616", f"{free}9617"))
    with pytest.raises(TraceError, match=r"jsonl\.gz:195: expected the offset of a live area"):
        conform_trace(run)


# layout and states

DMESG = [
    "[    0.1] setup_percpu: NR_CPUS:64 nr_cpumask_bits:64 nr_cpu_ids:8 nr_node_ids:2",
    "[    0.1] percpu: Embedded 61 pages/cpu s212992 r8192 d28672 u524288",
    "[    0.1] pcpu-alloc: s212992 r8192 d28672 u524288 alloc=1*2097152",
    "[    0.1] pcpu-alloc: [0] 0 1 2 3 [1] 4 5 6 7 ",
]


def laid_out(lines: list[str]) -> Geometry:
    return layout(Path("dmesg"), enumerate(lines, 1)).geometry


def test_layout_with_groups() -> None:
    geometry = laid_out(DMESG)
    assert (geometry.units, geometry.page) == (8, 4096)
    assert (geometry.unit, geometry.static, geometry.reserved) == (524288, 212992, 8192)
    assert (geometry.dyn, geometry.cpus, geometry.groups) == (28672, 8, 2)


def test_layout_over_several_lines_with_holes() -> None:
    sizes = DMESG[2].replace("*2097152", "*1048576")
    lines = [DMESG[1], sizes, "pcpu-alloc: [0] 0 2 [0] 4 - ", "pcpu-alloc: [1] 1 3 [1] 5 - "]
    geometry = laid_out(lines)
    assert (geometry.cpus, geometry.groups, geometry.units, geometry.spare) == (6, 2, 8, 2)


def test_layout_with_groups_of_several_sizes() -> None:
    geometry = laid_out([*DMESG[1:3], "pcpu-alloc: [0] 0 1 2 3 [1] 4 - - - "])
    assert (geometry.cpus, geometry.groups, geometry.units) == (5, 2, 8)


IDS, EMBEDDED, SIZES, UNITS = DMESG

BAD_LAYOUT = [
    ([], "dmesg: expected the percpu layout: a line 'percpu: Embedded"),
    ([EMBEDDED, SIZES], "dmesg:2: expected lines 'pcpu-alloc: "),
    ([EMBEDDED.replace("d28672", "d28673"), SIZES, UNITS], "dmesg:1: expected s.*, as line 2 "),
    ([EMBEDDED.replace("61 pages", "60 pages"), SIZES, UNITS], "dmesg:1: expected as many pages"),
    ([SIZES, "pcpu-alloc: [0] 0 1 0 2 "], "dmesg:2: expected CPU 0 in one unit only"),
    ([SIZES, "pcpu-alloc: [0] 0 x "], r"dmesg:2: expected pcpu-alloc: \[group\] cpu"),
    ([SIZES, "pcpu-alloc: [0] 0 1 "], r"dmesg:2: expected 4 units behind each \[group\]"),
    ([SIZES.replace("=1*", "=3*"), UNITS], r"dmesg:2: expected 12 units behind each \[group\]"),
    ([SIZES.replace("*2097152", "*4096"), UNITS], r"dmesg:1: expected alloc=N\*M of whole units"),
    ([SIZES.replace("u524288", "u0"), UNITS], r"dmesg:1: expected alloc=N\*M of whole units"),
    ([SIZES.replace("d28672", "d" + "9" * 5000), UNITS], r"dmesg:1: expected pcpu-alloc: "),
    (
        [IDS, SIZES, "pcpu-alloc: [0] 0 1 2 3 "],
        r"dmesg:2: expected all lines of units: CPUs 4 to 7 \(nr_cpu_ids in line 1 is 8\) in no",
    ),
    (
        [IDS, SIZES, "pcpu-alloc: [0] 0 1 2 8 "],
        "dmesg:1: expected nr_cpu_ids:9, as the CPUs of line 3 say, got '8'",
    ),
    (
        [SIZES.replace("u524288", "u131072").replace("*2097152", "*524288"), UNITS],
        "dmesg:1: expected u.. of 249856 bytes at least: a unit holds s, r and d",
    ),
    (
        [SIZES.replace("d28672", "d4096"), UNITS],
        "dmesg:1: a layout the kernel would refuse: dyn=4096: expected at least 12288",
    ),
    (
        [SIZES.replace("d28672", "d28670"), UNITS],
        "dmesg:1: expected s, r and d that fill whole pages, got '249854'",
    ),
]


@pytest.mark.parametrize(("lines", "message"), BAD_LAYOUT)
def test_bad_layouts_are_refused(lines: list[str], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        laid_out(lines)


def test_a_state_is_a_view() -> None:
    run = read_run(CGROUPS)
    state = read_snapshot(run.states["cg_removed30"], run.geometry)
    assert (state.free_slot, state.sidelined_slot, state.to_depopulate_slot) == (19, 18, 20)
    assert state.reserved_chunk is not None and state.reserved_chunk.slot == -1
    listed = [chunk for slot in range(state.nr_slots) for chunk in state.slot_chunks(slot)]
    assert state.first_chunk in listed
    for chunk in state.chunks():
        assert chunk.alloc_map.count(0) * 4 == chunk.free_bytes
        assert chunk.alloc_map.count(1) * 4 == sum(chunk.areas.values())
        assert chunk.populated.count(1) == chunk.nr_populated
        assert chunk.isolated == (chunk.slot in (state.sidelined_slot, state.to_depopulate_slot))
    counted = [c for c in listed if not c.isolated]
    assert sum(c.nr_empty_pop_pages for c in counted) == state.nr_empty_pop_pages


def test_a_state_before_depopulation(tmp_path: Path) -> None:
    path = tmp_path / "boot.txt"
    text = "\n".join(text_lines(BOOT / "state" / "boot.txt.gz"))
    for name, value in {"free_slot": 20, "sidelined_slot": 19, "to_depopulate_slot": 21}.items():
        text = text.replace(f"pcpu_{name}={value}", f"pcpu_{name}=?")
    text = text.replace("pcpu_nr_slots=22", "pcpu_nr_slots=20").replace(
        "slot=17 pos", "slot=37 pos"
    )
    text = re.sub("^kernel .*", "kernel 5.10.0", text)
    path.write_text(text)
    state = read_snapshot(path, read_run(BOOT).geometry)
    assert (state.chunk_types, state.free_slot, state.sidelined_slot) == (2, 19, -1)
    assert state.nr_slots == 40 and len(state.slot_chunks(37)) == 1


BAD_STATES = [
    ("free_bytes=0 ", "", 32, "a chunk with free_bytes="),
    ("populated=0-2", "populated=0-999", 37, "pages below 256, got '999'"),
    ("areas=0:32,32:32", "areas=0:64,32:32", 34, "areas that do not overlap, got '32:32'"),
    ("areas=0:32,32:32", "areas=0:32,32-32", 34, "areas= pairs of numbers, got '32-32'"),
    ("pcpu_unit_size=1048576", "pcpu_unit_size=65536", 10, "pcpu_unit_size=1048576, as the boot"),
    ("pcpu_nr_units=2", "pcpu_nr_units=1", 12, "pcpu_nr_units=2, as the boot lines say, got '1'"),
    ("pcpu_nr_groups=1", "pcpu_nr_groups=2", 15, "pcpu_nr_groups=1, as the boot lines say"),
    ("pcpu_unit_pages=256", "pcpu_nr_slots=22", 11, "pcpu_nr_slots= once"),
    ("nr_pages=256", "nr_pages=99999999999", 36, "nr_pages of 1 to 256"),
    ("pcpu_nr_slots=22", "pcpu_nr_slots=many", 6, "pcpu_nr_slots=number, got 'many'"),
    ("0/536/0/575/0/0/1024;", "0/536/0/575/0/0;", 35, "blocks= seven numbers a block"),
    ("slot=17 pos=0", "slot=17 pos=1", 36, "pos=0 in slot 17"),
    ("first:", "second:", 31, "name=value, a chunk, or 'first:'"),
]


@pytest.mark.parametrize(("old", "new", "line", "expected"), BAD_STATES)
def test_bad_states_are_refused(
    tmp_path: Path, old: str, new: str, line: int, expected: str
) -> None:
    text = "\n".join(text_lines(BOOT / "state" / "boot.txt.gz"))
    assert old in text
    path = tmp_path / "boot.txt"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(TraceError, match=re.escape(f"{path}:{line}: expected {expected}")):
        read_snapshot(path, read_run(BOOT).geometry)


# conformance


@pytest.mark.parametrize("trace", ["", "trace.txt.gz"])
def test_boot_is_replayed(trace: str) -> None:
    report = conform_trace(BOOT / trace)
    assert report.ok, report.mismatches
    assert (report.allocations, report.placed, report.failures) == (446, 446, 0)
    assert [(s.phase, s.torn, s.differences) for s in report.snapshots] == [("boot", False, [])]


def test_probed_run_is_replayed_bit_for_bit() -> None:
    calls: list[tuple[int, int]] = []
    report = conform_trace(CGROUPS, progress=lambda done, total: calls.append((done, total)))
    assert report.ok, report.mismatches
    assert (report.allocations, report.placed) == (12574, 12574)
    assert (report.start_hints, report.start_hints_matched) == (12115, 12115)
    assert len(report.snapshots) == 7
    assert all(not s.counts and not s.torn for s in report.snapshots)
    assert report.timings == [] and report.replays == 0
    assert calls[-1] == (83229, 83229) and calls == sorted(calls)
    assert json.loads(json.dumps(report.to_dict()))["placed"] == 12574
    assert ("allocations placed", "[green]12574 of 12574[/green]") in report.rows()


@pytest.mark.deep
def test_contracts_watch_the_replay() -> None:
    report = conform_trace(CGROUPS, contracts="fast")
    assert report.ok and report.checked == 83229
    verdicts = {verdict.clause: verdict for verdict in report.clauses}
    assert verdicts["HINT-1"].verdict == "holds" and verdicts["HINT-1"].evaluations > 20000
    broken = {verdict.clause for verdict in report.violations}
    assert broken and broken <= set(Linux612.EXPECTED)
    assert all(verdict.line for verdict in report.violations)
    assert set(report.to_dict()["violations"]) == broken


def test_an_unexpected_violation_stops_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unaware(Linux612):
        __slots__ = ()
        EXPECTED: ClassVar[dict[str, str]] = {}

    monkeypatch.setitem(VARIANTS, "unaware", Unaware)
    report = conform_trace(CGROUPS, variant="unaware", contracts="fast")
    assert report.placed == report.allocations
    assert not report.ok and report.stopped_by == "HINT-3" and report.checked < 83229


def stripped(tmp_path: Path, drop: Callable[[dict[str, object]], bool]) -> Path:
    """Return a copy of the probed run without some of its events."""
    run = copied(tmp_path, CGROUPS)
    (run / "manifest.json").unlink()

    def change(text: str) -> str:
        entries = [e for e in map(json.loads, text.splitlines()) if not drop(e)]
        return "\n".join(json.dumps(e | {"seq": n}) for n, e in enumerate(entries)) + "\n"

    rewrite(run / "trace.jsonl.gz", change)
    return run


LOST_PROBES = [
    ("k_farea", 500, "k_farea before this free"),
    ("k_farea", 0, "k_farea before this free"),
    ("k_area_ret", 500, "k_area_ret after this k_area"),
    ("k_area", 500, "k_area before this k_area_ret"),
    ("k_area k_area_ret", 500, "k_area and k_area_ret before this alloc"),
]


@pytest.mark.parametrize(
    ("ops", "nth", "expected"), deep_unless(lambda ops, nth, _: " " in ops or not nth, LOST_PROBES)
)
def test_lost_probes_are_noticed(tmp_path: Path, ops: str, nth: int, expected: str) -> None:
    seen = dict.fromkeys(ops.split(), 0)

    def drop(entry: dict[str, object]) -> bool:
        op = str(entry["op"])
        if op in seen:
            seen[op] += 1
        return op in seen and seen[op] == nth + 1

    with pytest.raises(TraceError, match=rf"jsonl\.gz:\d+: expected {expected} \(probe events are"):
        read_run(stripped(tmp_path, drop))


def test_a_run_of_probes_without_any_area_free_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="expected k_farea before this free"):
        read_run(stripped(tmp_path, lambda e: e["op"] == "k_farea"))


@pytest.mark.deep
def test_a_changed_flag_in_a_state_is_seen(tmp_path: Path) -> None:
    run = copied(tmp_path, CGROUPS)
    flag = "pcpu_atomic_alloc_failed="
    state = run / "state" / "cg_created.txt.gz"
    rewrite(state, lambda t: t.replace(f"{flag}0", f"{flag}1"))
    report = conform_trace(run)
    assert not report.ok
    (found,) = [s.differences for s in report.snapshots if s.differences]
    assert found[0]["detail"] == "atomic_alloc_failed False, kernel True"


def test_without_probes_timings_are_inferred_and_shown(tmp_path: Path) -> None:
    run = stripped(tmp_path, lambda e: str(e["op"]).startswith("k_"))
    report = conform_trace(run)
    assert report.ok and report.placed == 12574
    assert report.timings and all(t.assumed_line < t.found_line for t in report.timings)
    assert report.undetermined and report.start_hints == 0


@pytest.mark.deep
def test_without_the_first_allocations_a_recorded_state_begins(tmp_path: Path) -> None:
    report = conform_trace(stripped(tmp_path, lambda e: "pre" in e))
    assert report.start == "the recorded state boot"
    assert report.ok and report.skipped == 402
    assert report.allocations == report.placed == 12124


class MovesToTail(Linux612):
    """A wrong model: a relocated chunk always goes to the tail of its list."""

    __slots__ = ()

    def _chunk_move(self, chunk: Chunk, slot: int, move_front: bool) -> None:
        super()._chunk_move(chunk, slot, False)


class SearchesOneFurther(Linux612):
    """A wrong model: a start hint is one bit too far."""

    __slots__ = ()

    def find_block_fit(self, chunk: Chunk, alloc_bits: int, align: int, pop_only: bool) -> int:
        off = super().find_block_fit(chunk, alloc_bits, align, pop_only)
        return off + 1 if off >= 0 and chunk is not self.first_chunk else off


class SearchesOneEarlier(Linux612):
    """A wrong model: a start hint is one bit too low, which leads to the same place."""

    __slots__ = ()

    def find_block_fit(self, chunk: Chunk, alloc_bits: int, align: int, pop_only: bool) -> int:
        off = super().find_block_fit(chunk, alloc_bits, align, pop_only)
        return off - 1 if off > 0 else off


@pytest.mark.deep
def test_start_hints_differ_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "wrong", SearchesOneEarlier)
    first = conform_trace(CGROUPS, variant="wrong").mismatches[0]
    pattern = r"search 1: chunk [0-9a-f]{16}, \d+ bits aligned \d+ from bit \d+, kernel chunk "
    assert first.what == "start hint" and re.match(pattern, first.detail), first


@pytest.mark.parametrize(
    "model", deep_unless(lambda model: model is MovesToTail, [MovesToTail, SearchesOneFurther])
)
def test_a_wrong_model_is_caught(model: type[Linux612], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "wrong", model)
    report = conform_trace(CGROUPS, variant="wrong")
    assert not report.ok
    assert report.mismatches or any(s.counts for s in report.snapshots)


@pytest.mark.parametrize(
    ("release", "variant", "other"),
    [
        ("5.10.0", "linux_6_12", "linux_5_12"),
        ("6.1.0", "linux_5_12", "linux_6_12"),
        ("5.2.0", None, "a variant of its own"),
    ],
)
def test_variants_with_other_chunk_types_are_not_compared(
    release: str, variant: str | None, other: str, tmp_path: Path
) -> None:
    run = copied(tmp_path)
    rewrite(
        run / "dmesg.txt.gz", lambda t: t.replace("Linux version 6.1.0", f"Linux version {release}")
    )
    report = conform_trace(run, variant=variant)
    assert not report.ok and report.placed == 0
    assert f"compare it with {other}" in report.waiting
    assert any(other in value for _, value in report.rows())


SHARED_RUNS = {
    "boot612_4": (597, 0, 0),
    "mix61_4_one": (14128, 4275, 13669),
    "mix612_2_one": (13659, 4788, 13059),
    "mix510_4_one": (14323, 2353, 13888),
    "par61_2": (26191, 8657, 25735),
    "par612_2": (24644, 10167, 24043),
    "cg612_4": (121843, 0, 0),
    "cg510_4": (143445, 0, 0),
}


@pytest.mark.skipif(not SHARED.exists(), reason="the shared traces are not here")
@pytest.mark.parametrize("name", deep_unless(lambda name: name == "boot612_4", SHARED_RUNS))
def test_shared_runs(name: str) -> None:
    report = conform_trace(SHARED / name)
    assert report.ok, report.mismatches
    assert (report.placed, report.failures_matched, report.start_hints_matched) == SHARED_RUNS[name]
    if name.endswith("_one") or name == "cg510_4":
        assert all(not s.counts and not s.torn for s in report.snapshots)


@pytest.mark.skipif(not SHARED.exists(), reason="the shared traces are not here")
@pytest.mark.parametrize(
    "name", deep_unless(lambda name: name == "boot612_4", ["boot612_4", "mix61_4_one"])
)
def test_shared_text_and_jsonl_agree(name: str) -> None:
    jsonl, text = read_run(SHARED / name), read_run(SHARED / name / "trace.txt.gz")
    assert without_tasks(list(text.trace.events)) == list(jsonl.trace.events)
