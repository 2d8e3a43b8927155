"""What contradicts itself, or what no kernel prints, is found in traces, states, texts and logs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.live.memory import memory_of
from percpu_proofs.live.subject import place_of_stack
from percpu_proofs.live.verdicts import (
    BROKEN,
    HOLDS,
    NOT_ASKED,
    empty_pages,
    isolated_words,
    stats_rows,
    stats_verdicts,
)
from percpu_proofs.logs.messages import Stack
from percpu_proofs.recorded.replay.comparison import conform_trace
from percpu_proofs.recorded.replay.report import TraceReport
from percpu_proofs.recorded.source import text_of
from percpu_proofs.recorded.states.saved_state import read_state, state_of
from percpu_proofs.recorded.states.stats_text import stats_of
from percpu_proofs.recorded.traces.dialects import is_callers
from percpu_proofs.run import failures
from percpu_proofs.run.inputs import InputError, TraceError
from percpu_proofs.show.stats import stats_text
from percpu_reference.variants import build
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ATOMIC, KERNEL

BOOT = data.folder("states") / "612_4.boot.txt.gz"
BASE, FIRST = 0xFFFFE8FFFFC00000, 0xFFFF888000000000
LOST = "CPU:0 [LOST 5 EVENTS]"
LAYOUT = """\
Linux version 6.12.117 (gcc) #1 SMP
percpu: Embedded 45 pages/cpu s147456 r8192 d28672 u262144
pcpu-alloc: s147456 r8192 d28672 u262144 alloc=1*2097152
pcpu-alloc: [0] 0 1 - - - - - -
"""


def event(what: str) -> str:
    """Return a line of tracefs of "create", "destroy", "alloc OFF", "free OFF"; 16 bytes each.

    `first` behind it: of the first chunk. `cpu1`: on another CPU. `=N`: of N bytes in all.
    """
    words = what.split()
    base, kind = (FIRST if "first" in words else BASE), words[0]
    cpu = int("cpu1" in words)
    head = f" bash-100 [00{cpu}] d..1. 10.000001: percpu_"
    if kind in ("create", "destroy"):
        return f"{head}{kind}_chunk: base_addr={base:016x}"
    off = int(words[1])
    pointer = off if "first" in words else 0x607F80000000 + off
    place = f"base_addr={base:016x} off={off} ptr={pointer:016x}"
    if kind == "free":
        return f"{head}free_percpu: {place}"
    cost = next((word[1:] for word in words if word.startswith("=")), "32")
    return (
        f"{head}alloc_percpu: call_site=f+0x1/0x2 reserved=0 is_atomic=0 size=16 align=8 {place} "
        f"bytes_alloc={cost} gfp_flags=GFP_KERNEL"
    )


def traced(events: str, folder: Path) -> TraceReport:
    lines = [LOST if what == "lost" else event(what) for what in events.split(", ")]
    (folder / "trace.txt").write_text("\n".join(lines) + "\n")
    return conform_trace(folder / "trace.txt")


EVENTS: list[tuple[str, list[tuple[int, str]]]] = [
    ("alloc 1008, free 1012", [(2, "inside an area in use")]),
    ("alloc 1008, free 1004", []),
    ("alloc 1008, free 1024", []),
    ("create, free 512", [(2, "never allocated")]),
    ("create, alloc 512, free 512, free 512", [(4, "free already")]),
    ("create, alloc 512, free 516", [(3, "inside an area")]),
    ("create, lost, free 512", []),
    ("create, alloc 8 cpu1, free 512 cpu1, lost", []),  # what is lost may lie before
    ("create, alloc 8, alloc 8 cpu1, alloc 8 cpu1, lost", []),
    ("free 512", []),
    ("destroy, alloc 8", [(2, "destroyed and not created again")]),
    ("destroy, free 8", [(2, "destroyed and not created again")]),
    ("destroy, destroy", [(2, "gone already")]),
    ("destroy, lost, alloc 8", []),
    ("destroy, create, alloc 8, free 8, destroy, create", []),
    ("create, create", [(2, "is there since its creation")]),
    ("create, lost, create", []),
    ("alloc 8, create", [(2, "created with 1 area in it")]),
    ("create, alloc 8, destroy", [(3, "destroyed with 1 area in it")]),
    ("alloc 8 first, free 8 first, destroy first", [(3, "it is the first chunk, which stays")]),
    ("alloc 8 first, free 8 first, lost, destroy first", [(4, "which stays")]),
    ("create first, alloc 8 first, free 8 first, destroy first", []),  # page by page: not the first
]


@pytest.mark.parametrize(("events", "wrong"), EVENTS)
def test_events_that_contradict_each_other(
    events: str, wrong: list[tuple[int, str]], tmp_path: Path
) -> None:
    report = traced(events, tmp_path)
    assert [mismatch.line for mismatch in report.mismatches] == [line for line, _ in wrong]
    for mismatch, (_, words) in zip(report.mismatches, wrong, strict=True):
        assert words in mismatch.detail
    code = CliRunner().invoke(main, ["conform", "trace", str(tmp_path / "trace.txt")]).exit_code
    assert code == (1 if wrong else 0)


@pytest.mark.parametrize(("events", "said"), [
    ("alloc 1008 first, lost, alloc 1008 first", "the first chunk.*; 2 allocations, the lowest"),
    ("create, alloc 8, destroy, alloc 16", "created in.*; 1 allocation, at offset 8; then its "
     "creation is missing; 1 allocation, at offset 16"),
    ("create, alloc 8, free 8, destroy, create, alloc 16, alloc 32",
     "created in.*; 1 allocation, at offset 8; then created in.*; 2 allocations, the lowest .* 16"),
    ("alloc 24", "there before these events; 1 allocation, at offset 24"),
])  # fmt: skip
def test_what_is_told_of_a_chunk(events: str, said: str, tmp_path: Path) -> None:
    part = traced(events, tmp_path).partly
    assert part is not None
    (told,) = part.chunks.values()
    assert re.match(said, told), told


@pytest.mark.parametrize(("cost", "wrong"), [(32, 0), (64, 0), (48, 0), (80, 1), (16, 1), (31, 1)])
def test_what_an_area_costs_follows_from_the_cpus(cost: int, wrong: int, tmp_path: Path) -> None:
    """16 bytes on two CPUs, alone or with a vector of pointers of 4 or 8 bytes."""
    (tmp_path / "dmesg.txt").write_text(LAYOUT)
    report = traced(f"alloc 1008 ={cost}", tmp_path)
    assert sum(found.what == "bytes_alloc" for found in report.mismatches) == wrong
    (tmp_path / "dmesg.txt").unlink()
    report = traced(f"alloc 1008 ={cost}", tmp_path)
    assert not report.mismatches
    assert [one.count for one in report.undetermined if "bytes_alloc" in one.what] == [1]


# stacks


@pytest.mark.parametrize("name", [
    "pcpu_freelist_init", "pcpu_init_value", "pcpu_alloc_lowcore", "alloc_percpu_trace_buffer",
    "bpf_prog_alloc", "pcpu_cf_init",
])  # fmt: skip
def test_functions_of_others_are_callers(name: str) -> None:
    for inside in ("pcpu_alloc", "pcpu_alloc_noprof", "pcpu_alloc.constprop.0", "__alloc_percpu"):
        assert not is_callers(f"{inside}+0x1/0x2")
        frames = ("dump_stack", "pcpu_alloc", "__alloc_percpu_gfp", name, "main")
        assert Stack(frames).callers == (name, "main")
    assert is_callers(f"{name}.isra.0+0x1/0x2")
    assert place_of_stack([name, "main"]) == ""
    assert place_of_stack(["pcpu_next_year (mm/percpu.c:9)", name]).endswith(f"< {name}")


def test_every_function_of_the_model_is_one_of_the_allocator() -> None:
    for name in ("pcpu_balance_workfn", "pcpu_alloc_area.isra.0", "free_percpu", "pcpu_mem_zalloc"):
        assert not is_callers(f"{name}+0x1/0x2")


# percpu_stats


def printed(seed: int = 4) -> list[str]:
    draw, model = Random(seed), build("linux_6_12", Geometry(), stats=True)
    live = []
    for _ in range(300):
        if live and draw.random() < 0.4:
            model.free(live.pop(draw.randrange(len(live))))
        else:
            size = draw.choice((4, 8, 40, 512, 4096, 20000))
            area = model.alloc(size, 4, gfp=ATOMIC if draw.random() < 0.3 else KERNEL)
            live += [] if area is None else [area]
        if draw.random() < 0.05:
            model.balance()
    return stats_text(model).splitlines()


def row(lines: list[str], at: int, name: str, change: Callable[[int], int]) -> list[str]:
    """Return the text with a row of the chunk changed that is `at` in the text, -1 the globals."""
    heads = [i for i, line in enumerate(lines) if line.startswith(("Chunk", "Global"))]
    begin = heads[at + 1]
    place = next(i for i in range(begin, len(lines)) if lines[i].split(":")[0].strip() == name)
    value = int(lines[place].split(":")[1])
    return [*lines[:place], f"  {name:20}: {change(value):>12}", *lines[place + 1 :]]


SIZES = [
    (1, "cur_min_alloc", lambda _: 1 << 15), (1, "cur_med_alloc", lambda _: 1 << 15),
    (1, "cur_max_alloc", lambda _: 1 << 16), (1, "max_alloc_size", lambda _: 4),
    (-1, "max_alloc_size", lambda _: 4), (-1, "min_alloc_size", lambda _: 64),
]  # fmt: skip


def test_percpu_stats_of_the_model_are_sound() -> None:
    for seed in range(6):
        found = stats_verdicts(stats_of(Path("x"), printed(seed)))
        assert found["STAT-1"].verdict == HOLDS
        assert found["POP-1"].verdict == NOT_ASKED and not found["POP-1"].found


@pytest.mark.parametrize(("at", "name", "change"), SIZES)
def test_sizes_of_percpu_stats_are_in_order(
    at: int, name: str, change: Callable[[int], int]
) -> None:
    lines = row(printed(), at, name, change)
    found = stats_verdicts(stats_of(Path("x"), lines))["STAT-1"]
    assert found.verdict == BROKEN and name in " ".join(found.found)


def test_empty_pages_need_free_bytes() -> None:
    lines = printed()
    stats = stats_of(Path("x"), lines)
    chunk = stats.chunks[1]
    room = chunk.rows["free_bytes"] // min(stats.pages)
    most = row(lines, 1, "empty_pop_pages", lambda _: room)
    assert stats_verdicts(stats_of(Path("x"), most))["POP-1"].verdict == NOT_ASKED
    more = row(lines, 1, "empty_pop_pages", lambda _: room + 1)
    found = stats_verdicts(stats_of(Path("x"), more))["POP-1"]
    assert found.verdict == BROKEN and "free bytes" in found.found[0]


@pytest.mark.parametrize(("name", "change"), [
    ("max_frag", lambda _: 1 << 16), ("sum_frag", lambda _: 1 << 16),
    ("first_bit", lambda _: 1 << 17), ("free_bytes", lambda _: 0),
])  # fmt: skip
def test_percpu_stats_that_no_kernel_prints(name: str, change: Callable[[int], int]) -> None:
    lines = row(printed(), 1, name, change)
    with pytest.raises(InputError, match=r"^x:\d+: expected (sum|max|first)_\w+: at most"):
        stats_of(Path("x"), lines)


def test_the_type_is_told_of_all_chunks_or_none() -> None:
    lines = printed()
    ends = [i for i, line in enumerate(lines) if line.startswith("  cur_max_alloc")]
    typed = list(lines)
    for end in reversed(ends):
        typed.insert(end + 1, "  memcg_aware         :            0")
    assert stats_of(Path("x"), typed).types == 2
    for at in (i for i, line in enumerate(typed) if "memcg_aware" in line):
        with pytest.raises(InputError, match="memcg_aware of every chunk"):
            stats_of(Path("x"), [*typed[:at], *typed[at + 1 :]])


def test_pages_that_wait_for_the_work_are_not_stranded() -> None:
    lines = printed()
    heads = [i for i, line in enumerate(lines) if line == "Chunk:"]
    assert len(heads) > 1
    for number, head in enumerate(heads):
        lines[head] = ("Chunk (to_depopulate)", "Chunk (sidelined):")[number % 2]
    stats = stats_of(Path("x"), lines)
    pages = {role: sum(c.rows["empty_pop_pages"] for c in stats.chunks if c.role == role)
             for role in ("to_depopulate", "sidelined")}  # fmt: skip
    assert empty_pages(stats, "to_depopulate") == pages["to_depopulate"] > 0
    assert empty_pages(stats, "sidelined") == pages["sidelined"]
    assert f"{pages['to_depopulate']} on to_depopulate" in isolated_words(stats)
    notes = {row["role"]: row["note"] for row in stats_rows(stats)}
    assert "waits for the work" in notes["to_depopulate"]


@pytest.mark.parametrize("slot", [18, 20])
def test_so_it_is_in_a_state(slot: int, tmp_path: Path) -> None:
    """The same chunks on the sidelined list, and on to_depopulate."""
    text = "\n".join(text_of(data.folder("states") / "612_4.removed60.txt.gz"))
    path = tmp_path / "state.txt"
    path.write_text(text.replace("chunk slot=18 ", f"chunk slot={slot} "))
    memory, kept = memory_of(read_state(path)), 48 * 1024
    assert (memory.stranded, memory.waiting) == ((kept, 0) if slot == 18 else (0, kept))
    shown = CliRunner().invoke(main, ["state", str(path)]).output
    assert ("48 kB stranded in sidelined" in shown) == (slot == 18)
    assert ("48 kB on to_depopulate" in shown) == (slot == 20)


# states


@pytest.mark.parametrize(("old", "new", "expected"), [
    ("pcpu_atom_size=2097152", "pcpu_atom_size=1.5", "pcpu_atom_size=number"),
    ("pcpu_atom_size=2097152", "pcpu_atom_size=-1", "whole pages"),
    ("pcpu_atom_size=2097152", "pcpu_atom_size=0", "whole pages"),
    ("pcpu_atom_size=2097152", "pcpu_atom_size=٤٠٩٦", "pcpu_atom_size=number"),
    ("pcpu_chunk_struct_size=d0", "pcpu_chunk_struct_size=1_0", "pcpu_chunk_struct_size=number"),
    ("pcpu_chunk_struct_size=d0", "pcpu_chunk_struct_size=0", "pcpu_chunk_struct_size=1 to"),
    ("pcpu_nr_units=4", "pcpu_nr_units=٤", "pcpu_nr_units=number"),
    ("pcpu_nr_groups=1", "pcpu_nr_groups=١", "pcpu_nr_groups=number"),
    ("pcpu_reserved_chunk=ff488bce7ffdd1c0", "pcpu_reserved_chunk=?", "an address"),
    ("pcpu_reserved_chunk=ff488bce7ffdd1c0", "pcpu_reserved_chunk=0", "an address, as the res"),
    ("pcpu_first_chunk=ff488bce7ffd7dc0", "pcpu_first_chunk=?", "an address"),
    ("pcpu_first_chunk=ff488bce7ffd7dc0", "pcpu_first_chunk=0", "an address, as the first"),
    ("pcpu_atom_size=2097152", "pcpu_atom_size=2097152\npcpu_chunk_lists=zz", "hexadecimal"),
    *(("contig_hint:2048", f"contig_hint:{form}", "md=name:number") for form in (
        "+2048", "2_048", "٢٠٤٨")),
    *(("free_bytes=8192", f"free_bytes={form}", "a chunk: name=number") for form in (
        "+8192", "8_192", "٨١٩٢")),
])  # fmt: skip
def test_values_that_are_no_numbers_are_refused(old: str, new: str, expected: str) -> None:
    text = "\n".join(text_of(BOOT))
    assert old in text
    with pytest.raises((InputError, TraceError), match=re.escape(expected)) as caught:
        state_of(Path("x"), text.replace(old, new, 1).split("\n"))
    assert re.match(r"x:\d+: ", str(caught.value))


def test_a_reserved_chunk_that_is_missing_is_missed() -> None:
    lines = list(text_of(BOOT))
    at = lines.index("reserved:")
    with pytest.raises((InputError, TraceError)):
        state_of(Path("x"), lines[:at] + lines[at + 5 :])


def test_a_torn_state_has_one_answer(tmp_path: Path) -> None:
    """The model does not go on from it, whoever asks."""
    torn = tmp_path / "torn.txt"
    lines = list(text_of(BOOT))
    torn.write_text("\n".join([*lines[:18], "pcpu_lock=1", *lines[18:]]))
    log = tmp_path / "log.txt"
    log.write_text("percpu: " + failures.printed(40, 8, True, failures.ATOMIC) + "\n")
    for words, code in (
        (["state", torn, "--ask", "40", "--what-if", "work"], 3),
        (["log", log, "--state", torn], 0),
        (["workload", "burst", "--state", torn, "--variant", "linux_6_12"], 2),
    ):
        result = CliRunner().invoke(main, [str(word) for word in words])
        said = " ".join(result.output.split())
        assert result.exit_code == code and "it is torn: pcpu_lock was held" in said, said
        assert "byte " not in said or words[0] == "log"


# logs


@pytest.mark.parametrize("line", [
    "percpu: allocation failed, size=abc align=8 atomic=1, atomic alloc failed, no space left",
    "percpu: allocation failed, size=24 al",
    "illegal size (24) or align (8",
])  # fmt: skip
def test_a_log_of_which_no_failure_can_be_read(line: str, tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    for above, number in (("", 1), (LAYOUT, 5)):
        log.write_text(f"{above}{line}\n")
        result = CliRunner().invoke(main, ["log", str(log)])
        assert result.exit_code == 2
        assert f"{log}:{number}: expected a whole line of a failure" in result.output
    log.write_text(f"{line}\n\n\n\npercpu: {failures.printed(40, 8, True, failures.ATOMIC)}\n")
    assert CliRunner().invoke(main, ["log", str(log)]).exit_code == 0
