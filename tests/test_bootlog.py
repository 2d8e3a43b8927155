"""Boot messages as people have them: page size, units and CPUs are read, or said to be open."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import CliRunner

from percpu_proofs.cli import main
from percpu_proofs.recorded.boot.layout import Layout, layout
from percpu_proofs.run.inputs import InputError, TraceError

UP = "pcpu-alloc: s0 r0 d32768 u32768 alloc=1*32768\npcpu-alloc: [0] 0 "
ARM = """\
[    0.000000] percpu: Embedded 3 pages/cpu s127832 r8192 d60584 u196608
[    0.000000] pcpu-alloc: s127832 r8192 d60584 u196608 alloc=3*65536
[    0.000000] pcpu-alloc: [0] 0 [0] 1 """
X86 = """\
setup_percpu: NR_CPUS:8192 nr_cpumask_bits:6 nr_cpu_ids:6 nr_node_ids:2
percpu: Embedded 61 pages/cpu s212992 r8192 d28672 u262144
pcpu-alloc: s212992 r8192 d28672 u262144 alloc=1*1048576
pcpu-alloc: [0] 0 2 4 - [1] 1 3 5 - """


def read(text: str, **told: str) -> Layout:
    return layout(Path("dmesg"), enumerate(dedent(text).split("\n"), 1), told)


def quoted(text: str) -> str:
    """Return a text as a mail quotes it, broken at about 40 columns."""
    lines = []
    for line in text.split("\n"):
        words = line.split(" ")
        while words:
            part = words.pop(0)
            while words and len(part) + len(words[0]) < 40:
                part += " " + words.pop(0)
            lines.append(f"> {part}")
    return "\n".join(lines)


def prefixed(text: str, prefix: str) -> str:
    return "\n".join(prefix + line.removeprefix("[    0.000000] ") for line in text.split("\n"))


READ: list[tuple[str, str, dict[str, Any]]] = [
    ("arm64, 64K", ARM, {"page": 65536, "unit_pages": 3, "cpus": 2, "groups": 1, "spare": 0}),
    ("spare units", X86, {"page": 4096, "cpus": 6, "units": 8, "page_cost": 6 * 4096,
                          "percpu_page": 8 * 4096, "groups": 2}),
    ("16K", "percpu: Embedded 8 pages/cpu s88576 r8192 d34304 u131072",
     {"page": 16384, "unit_pages": 8, "cpus": None, "page_cost": None, "geometry": None}),
    ("8K", "percpu: Embedded 12 pages/cpu s48128 r8192 d41984 u131072", {"page": 8192}),
    ("4K of a unit of 64K multiples", "percpu: Embedded 48 pages/cpu s127832 r8192 d60584 u196608",
     {"page": 4096, "unit_pages": 48}),
    ("rounded up", "percpu: Embedded 3 pages/cpu s127832 r8192 d60583 u196608", {"page": 65536}),
    ("address", "PERCPU: Embedded 11 pages/cpu @ffff88003fc00000 s13184 r8192 d23680 u262144",
     {"page": 4096}),
    ("no address", "percpu: Embedded 3 pages/cpu @          (null) s127448 r8192 d60968 u196608",
     {"page": 65536}),
    ("page by page", "percpu: 28 4K pages/cpu s85784 r8192 d20712",
     {"page": 4096, "unit": 114688, "first_chunk": "page by page in vmalloc space"}),
    ("page by page, 64K", "PERCPU: 3 64K pages/cpu @(____ptrval____) s127448 r8192 d60968",
     {"page": 65536, "unit": 196608}),
    ("page by page, the least unit", "percpu: 8 4K pages/cpu s3072 r0 d21504",
     {"page": 4096, "unit": 32768}),
    ("UP", UP, {"page": None, "pages": [4096, 8192, 16384, 32768], "backing": "km", "cpus": 1,
                "static": 0, "unit_pages": None}),
    ("UP with a table", UP + "\nDentry cache hash table entries: 2048 (order: 0, 16384 bytes)",
     {"page": 16384, "unit_pages": 2}),
    ("a small table", UP + "\nMount-cache hash table entries: 512 (order: -2, 2048 bytes, linear)",
     {"page": 8192}),
    ("a table of odd buckets", UP + "\nTCP bind hash table entries: 512 (order: 1, 12288 bytes)",
     {"page": 4096}),
    ("an order rounded up", ARM.replace("196608", "262144").replace("3*", "4*") + "\n"
     "MPTCP token hash table entries: 4096 (order: 1, 98304 bytes, linear)", {"page": 65536}),
    ("km", "percpu: wasting 4 pages per chunk\n" + ARM, {"backing": "km"}),
    ("groups without sizes", "\n".join(ARM.split("\n")[::2]), {"page": 65536, "cpus": 2}),
    ("sizes without groups", ARM.rpartition("\n")[0], {"page": 65536, "cpus": None}),
    ("quoted and broken", quoted(ARM), {"page": 65536, "cpus": 2}),
    ("quoted and broken, spare", quoted(X86.partition("\n")[2]), {"cpus": 6, "units": 8}),
    ("level", prefixed(ARM, "<7>[    0.000000] "), {"cpus": 2}),
    ("kmsg", prefixed(ARM, "7,42,0,-;"), {"cpus": 2}),
    ("caller", prefixed(ARM, "[    0.000000][    T0] "), {"cpus": 2}),
    ("syslog", prefixed(ARM, "Nov  3 10:00:01 box kernel: [    0.000000] "), {"cpus": 2}),
    ("iso", prefixed(ARM, "2025-11-03T10:00:01,000000+00:00 "), {"cpus": 2}),
    ("decoded", prefixed(ARM, "kern  :debug : [Mon Nov  3 10:00:01 2025] "), {"cpus": 2}),
    ("coloured", ARM.replace("percpu: ", "\x1b[33mpercpu: \x1b[0m"), {"page": 65536, "cpus": 2}),
    ("printed twice", ARM.split("\n")[0] + "\n" + ARM + "\n" + ARM, {"page": 65536, "cpus": 2}),
    ("a rule below", ARM + "\n---\n", {"cpus": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), [row[1:] for row in READ], ids=[r[0] for r in READ])
def test_read(text: str, wanted: dict[str, Any]) -> None:
    fields = read(text).as_json()
    assert {name: fields[name] for name in wanted} == wanted


def test_what_is_read_is_a_geometry() -> None:
    g = read(ARM).geometry
    assert (g.page, g.unit, g.unit_pages, g.largest) == (65536, 196608, 3, 65536)
    assert read(X86).geometry.units == 8


BAD = [
    ("nothing", "rubbish", "KERN_DEBUG.*`dmesg`.*ignore_loglevel.*log_buf_len"),
    ("open page", UP, r":1: .*page=4096 or page=8192 or page=16384 or page=32768 fit.*--geometry"),
    ("console", ARM.split("\n")[0], r":1: expected lines 'pcpu-alloc: .*or --geometry cpus=N"),
    ("cut", "percpu: Embedded 3 pages/cpu s127448", ":1: expected percpu: N pages/cpu s.. r.. d"),
    ("no page", "percpu: Embedded 5 pages/cpu s127832 r8192 d60584 u196608",
     r":1: expected as many pages as s, r and d, 196608 bytes, fill: 48 of 4096 .* 3 of 65536 "
     r"\(u196608 is of whole ones\), got '5, which would be pages of 39322 bytes'"),
    ("two pages for three", ARM.replace("Embedded 3", "Embedded 2"), r":1: expected as many pages "
     "as s, r and d, 196608 bytes, fill: .*65536 .* pages of 98304 bytes'"),
    ("no pages", ARM.replace("Embedded 3", "Embedded 0"), "got '0, which would be nothing'"),
    ("odd unit", "percpu: Embedded 48 pages/cpu s127832 r8192 d60584 u196610",
     ":1: expected u.. of whole pages, of 4096 bytes at least, got '196610'"),
    ("page too small", "percpu: 3 4K pages/cpu s127448 r8192 d60968",
     ":1: expected as many pages as s, r and d fill: 48 of 4096 bytes, got '3'"),
    ("no such page", "percpu: 28 5K pages/cpu s85784 r8192 d20712",
     ":1: expected a page size, one of 4096, 8192, .* got '5120 bytes'"),
    ("another table", UP + "\nx hash table entries: 2 (order: 0, 65536 bytes)",
     ":3: expected an order of pages of 4096 or .* as line 1 says .*got 'one of pages of 65536 b"),
    ("table against the lines", ARM + "\n\nx hash table entries: 2 (order: 1, 8192 bytes)",
     r":5: expected an order of pages of 65536 bytes, as line 2 says \(3 pages/cpu hold"),
    ("tables", UP + "\nx hash table entries: 2 (order: 0, 8192 bytes)"
     "\ny hash table entries: 2 (order: 1, 8192 bytes)",
     r":4: expected an order of pages of 8192 .*, as line 3 says \(the order of a hash table"),
    ("sizes that differ", ARM.replace("alloc: s127832", "alloc: s127836"),
     "^dmesg:1: expected s127836 r8192 d60584 u196608, as line 2 says, got 's127832 r8192 d60"),
    ("units that differ", ARM.replace("d60584 u196608 ", "d60584 u262144 ").replace("3*", "4*"),
     ":1: expected s127832 r8192 d60584 u262144, as line 2 says, got 's127832 .* u196608'"),
    ("paged and sizes", "percpu: 28 4K pages/cpu s85784 r8192 d20712\n"
     "pcpu-alloc: s85784 r8192 d20712 u131072 alloc=32*4096",
     ":1: expected as many pages as u131072 of line 2 has, got '28 of 4096 bytes'"),
    ("nothing but zeros", "percpu: Embedded 0 pages/cpu s0 r0 d0 u0",
     ":1: expected d.. of more than 0 bytes: every kernel has a dynamic part, got 's0 r0 d0 u0'"),
    ("no page by page", "percpu: 0 4K pages/cpu s0 r0 d0", ":1: expected d.. of more"),
    ("sizes of zeros", "pcpu-alloc: s0 r0 d0 u32768 alloc=1*32768", ":1: expected d.. of more"),
    ("embedded without static", "percpu: Embedded 8 pages/cpu s0 r0 d32768 u32768",
     ":1: expected s.. of more than 0 bytes"),
    ("unit too small", "percpu: Embedded 49 pages/cpu s127832 r8192 d64680 u196608",
     ":1: expected u.. of 200704 bytes at least: a unit holds s, r and d, got 's127832"),
    ("a CPU twice", ARM.replace("[0] 1", "[0] 0"), ":3: expected CPU 0 in one unit only: line 3"),
    ("CPU ids", X86.replace("nr_cpu_ids:6", "nr_cpu_ids:5"),
     ":1: expected nr_cpu_ids:6, as the CPUs of line 4 say, got '5'"),
    ("units of a group", ARM.replace("[0] 1", "[0] 1 2"), ":3: expected 1 units .* as line 2 says"),
    ("groups alone", UP.split("\n")[1], "dmesg: expected the percpu layout"),
    ("uneven", "percpu: Embedded 3 pages/cpu s127448 r8192 d60968 u196608\n"
     "pcpu-alloc: [0] 0 [0] 1 2",
     ":2: expected 1 units behind each"),
    ("two boots", ARM + "\n" + ARM.replace("s127832", "s127828").replace("d60584", "d60588"),
     ":4: expected the messages of one boot; line 1 tells of another"),
    ("two boots, some CPUs", ARM + "\n" + "\n".join([*ARM.split("\n")[:2], "pcpu-alloc: [0] 2"]),
     ":6: expected the messages of"),
    ("two boots, CPUs", ARM + "\n" + ARM.replace("[0] 1", "[0] 2"), ":6: expected the messages of"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in BAD], ids=[r[0] for r in BAD])
def test_what_is_not_told_is_not_guessed(text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        _ = read(text).geometry


def test_what_is_open_may_be_told() -> None:
    assert read(UP, page="16K").geometry.unit_pages == 2
    assert read(UP, page="16384").geometry.unit_pages == 2
    console = ARM.split("\n")[0]
    g = read(console, cpus="4", groups="2", spare="2").geometry
    assert (g.cpus, g.groups, g.units, g.page) == (4, 2, 6, 65536)
    assert read(ARM, page="65536", cpus="2").geometry.cpus == 2
    assert read(ARM, backing="km").geometry.backing == "km"


SERVER = """\
percpu: Embedded 56 pages/cpu s188440 r8192 d32744 u262144
pcpu-alloc: s188440 r8192 d32744 u262144 alloc=1*2097152
pcpu-alloc: [0] 00 01 02 03 04 05 06 07
pcpu-alloc: [0] 08 09 -- -- -- -- -- --
pcpu-alloc: [1] 10 11 12 13 14 15 16 17
pcpu-alloc: [1] 18 19 -- -- -- -- -- --
pcpu-alloc: [2] 20 21 22 23 24 25 26 27
pcpu-alloc: [2] 28 29 -- -- -- -- -- --"""
"""Of 30 CPUs, in three nodes."""
X86_IDS = "setup_percpu: NR_CPUS:8192 nr_cpumask_bits:30 nr_cpu_ids:30 nr_node_ids:3"
RCU_IDS = "rcu: \tRCU restricting CPUs from NR_CPUS=8192 to nr_cpu_ids=30."
LOST: list[tuple[str, str, str]] = [  # what a line that is lost begins with, who tells nr_cpu_ids
    ("[1]", X86_IDS, r"group 1, CPUs 10 to 19 \(nr_cpu_ids in line 1 is 30\) in no line"),
    ("[1]", "", r"group 1, CPUs 10 to 19 in no line .*\.\.'; `dmesg`"),
    ("[0]", RCU_IDS, "group 0, CPUs 0 to 9 "),
    ("[2]", RCU_IDS, r"CPUs 20 to 29 \(nr_cpu_ids in line 1 is 30\) in no line"),
    ("[2] 28", RCU_IDS, "CPUs 28 to 29 "),
    ("[2] 28", "", "the last group, 2, has 8 units, others have 16, and no line has nr_cpu_ids"),
    ("[2] 20", X86_IDS, r"CPUs 20 to 27 .*\.\.'; `dmesg`"),
    ("[1] 10", X86_IDS, r"CPUs 10 to 17 .*\.\.'; `dmesg`"),
    ("[1] 10", RCU_IDS, "CPUs 10 to 17 .*, unless this machine has no such CPUs; `dmesg`"),
    ("[0] 08", "", "CPUs 8 to 9 in no line .*, unless this machine has no such CPUs"),
]


def without(begin: str, ids: str) -> str:
    lines = [line for line in SERVER.split("\n") if not line.startswith(f"pcpu-alloc: {begin}")]
    return "\n".join([*([ids] if ids else []), *lines])


@pytest.mark.parametrize(("begin", "ids", "message"), LOST)
def test_lines_of_units_that_are_missing_are_told(begin: str, ids: str, message: str) -> None:
    found = read(without(begin, ids))
    record = found.as_json()
    for name in ("cpus", "groups", "units", "spare", "page_cost", "percpu_page", "geometry"):
        assert record[name] is None
    assert record["page"] == 4096
    with pytest.raises(TraceError, match=f"{message}.*, or --geometry cpus=N,groups=N"):
        _ = found.geometry
    assert any(re.search(message, note) and "log_buf_len" in note for note in found.notes)
    told = {"cpus": "30", "groups": "3", "spare": "18"}
    assert read(without(begin, ids), **told).geometry == read(SERVER).geometry


UNEVEN = "\n".join(SERVER.split("\n")[:-1])  # the last node has 8 CPUs, and all in one allocation


@pytest.mark.parametrize(
    ("text", "cpus", "groups", "units"),
    [
        (SERVER, 30, 3, 48),
        (f"{X86_IDS}\n{SERVER}", 30, 3, 48),
        (f"{RCU_IDS}\n{SERVER}", 30, 3, 48),
        (f"{X86_IDS}\n{UNEVEN}".replace(":30", ":28"), 28, 3, 40),  # all CPUs are there
        ("\n".join([UNEVEN, SERVER]), 30, 3, 48),  # a console printed twice and lost one
        ("\n".join([SERVER, UNEVEN]), 30, 3, 48),
        (X86, 6, 2, 8),
    ],
)  # fmt: skip
def test_what_is_whole_is_read_whole(text: str, cpus: int, groups: int, units: int) -> None:
    found = read(text)
    assert (found.cpus, found.groups, found.units, found.missing) == (cpus, groups, units, "")


CONSOLE = ARM.split("\n")[0]  # no CPUs
TOLD = [
    (UP, {"page": "65536"}, r"page=4096 or .* a unit of 32768 bytes is of whole pages, .*'65536'"),
    (ARM, {"page": "4096"}, r"expected page=65536: 3 pages/cpu hold s\+r\+d, 196608 bytes"),
    (ARM, {"cpus": "4"}, "expected cpus=2: as the boot messages say, found '4'"),
    (X86, {"spare": "0"}, "expected spare=2: as the boot messages say"),
    (UP, {"backing": "vm"}, "expected backing=km"),
    (UP, {"page": "4X"}, r"a size \(page=4X: expected a whole number, .* 64K is 65536\)"),
    (ARM, {"page": "4K"}, "expected page=65536"),
    (CONSOLE, {"groups": "9"}, "expected cpus=N beside groups: the log does not tell it"),
    (CONSOLE, {"spare": "1"}, "expected cpus=N beside spare"),
    (CONSOLE, {"cpus": "4", "groups": "9"}, r"boots with \(cpus=4, groups=9: .*in each group"),
    (CONSOLE, {"cpus": "0"}, "at least one CPU"),
    (CONSOLE, {"cpus": "9000"}, r"\(cpus=9000: expected at most 8192\)"),
    (without("[1]", X86_IDS), {"cpus": "19"}, "expected cpus=20 at least: the boot messages have"),
    (without("[1]", X86_IDS), {"cpus": "30", "groups": "1"}, "expected groups=2 at least"),
    (without("[1]", X86_IDS), {"cpus": "31"}, "cpus=30 at most, as nr_cpu_ids in line 1 says"),
    (f"{RCU_IDS}\n{CONSOLE}", {"cpus": "31"}, "cpus=30 at most, as nr_cpu_ids in line 1 says"),
    (UP, {"memcg": "1"}, "expected one of page, unit"),
]


@pytest.mark.parametrize(("text", "told", "message"), TOLD)
def test_what_is_told_must_fit(text: str, told: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(text, **told)


READERS = [  # of --geometry, each with what it takes besides
    ["log", "FILE"],
    ["run", "LIST"],
    ["conform", "trace", "FILE"],
    ["show", "LIST"],
    ["workload", "burst"],
    ["review", "--source", "TREE"],
    ["conform", "kernel", "--source", "TREE", "--operations", "LIST"],
]


@pytest.mark.parametrize("words", READERS, ids=" ".join)
@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("page=4096,page=65536", "--geometry: expected page once, found 'page=4096,page=65536'"),
        ("page=64X", "--geometry: expected a size (page=64X: expected a whole number, or one with"),
        ("pge=65536", "--geometry: expected one of page"),
    ],
)
def test_sizes_are_told_alike(words: list[str], told: str, message: str, tmp_path: Path) -> None:
    files = {"FILE": tmp_path / "dmesg", "LIST": tmp_path / "x.ops", "TREE": tmp_path / "tree"}
    files["FILE"].write_text(CONSOLE)
    files["LIST"].write_text("a 1 64 8 -\n")
    given = [str(files.get(word, word)) for word in words]
    result = CliRunner().invoke(main, [*given, "--geometry", told])
    assert (result.exit_code, result.output.count("\n")) == (2, 1), result.output
    assert message in result.output
