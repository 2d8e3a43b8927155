"""Memory maps and statistics: text and SVG of states that are known."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from kernel_trees import FOUND, MISSING

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.commands.moments import of_token, of_tree_token
from percpu_proofs.counterexample.of_model import of_schedule
from percpu_proofs.explain import terms
from percpu_proofs.explain.names import DRAWN, Kind, shipped_names
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.packing import MODEL, TREE
from percpu_proofs.explore.scenario import parse_scenario
from percpu_proofs.explore.token import Token
from percpu_proofs.kernel.search.plans import search_named
from percpu_proofs.kernel.search.tree_token import TreeToken
from percpu_proofs.kernel.search.trees import compiled_trees
from percpu_proofs.live import source
from percpu_proofs.live.kernel_memory import RecordedMemory, memory_of_reads
from percpu_proofs.recorded.replay.comparison import conform_trace
from percpu_proofs.recorded.vectors import read_vector
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.run.runner import state_after
from percpu_proofs.show.picture import PageState, StatePicture, picture_of_state
from percpu_proofs.show.stats import fragments, stats_text
from percpu_proofs.show.svg import chunk_svg
from percpu_proofs.show.text import chunk_text, page_row, state_text
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry

# a static part that ends inside a page, so that bits before it are hidden
SMALL = Geometry(unit=32768, static=5000, reserved=0, dyn=23672, cpus=2)

OPERATIONS = [
    "a 1 64 8 -",
    "a 2 4096 4096 -",
    "a 3 100 4 -",
    "f 1",
    "a 4 20000 4 -",
]

STATE = """\
five operations
unit 32768 bytes, 8 pages; populated: 12 pages x 2 units
float 4, low 2, high 4, balance work not pending

lists, head to tail
  slot 11  1
  slot 12  0

chunks, a character a page
  1  #####---  1 area, 12768 bytes free
  0  ##eeee  2 areas, 19476 bytes free"""

FIRST = """\
chunk 0 (first, immutable): slot 12
6 pages, 6 populated, 4 empty; 2 areas, 19476 of 23672 bytes free
contig 4096@2048  scan 16@226  left 6144  right 4096  first free 226
 page |map, 128 bytes a character      |areas  contig    scan  left right first
    0#|xxxxxxx[+.......................|    1 757@267  16@226     0   757   226
    1#|[===============================|    1       -       -     0     0  1024
  2-5e|................................|       1024@0       -  1024  1024     0
page  - unpopulated  e populated and empty  # populated and in use
map   [ an area begins  = in use  + partly in use  . free  x outside of it
hints length@start in map bits, from the page's first bit or the chunk's"""

SECOND = """\
chunk 1: slot 11
8 pages, 5 populated, 0 empty; 1 area, 12768 of 32768 bytes free
contig 3192@5000  scan -  left 8192  right 3192  first free 5000
 page |map, 128 bytes a character      |areas  contig    scan  left right first
    0#|[===============================|    1       -       -     0     0  1024
    1#|================================|            -       -     0     0     0
    2#|================================|            -       -     0     0     0
    3#|================================|            -       -     0     0     0
    4#|============================+...|      120@904       -     0   120   904
  5-7-|                                |       1024@0       -  1024  1024     0
page  - unpopulated  e populated and empty  # populated and in use
map   [ an area begins  = in use  + partly in use  . free  x outside of it
hints length@start in map bits, from the page's first bit or the chunk's"""

STATS = """\
Percpu Memory Statistics
Allocation Info:
----------------------------------------
  unit_size           :        32768
  static_size         :         5000
  reserved_size       :            0
  dyn_size            :        23672
  atom_size           :            -
  alloc_size          :            -

Global Stats:
----------------------------------------
  nr_alloc            :            4
  nr_dealloc          :            1
  nr_cur_alloc        :            3
  nr_max_alloc        :            3
  nr_chunks           :            2
  nr_max_chunks       :            2
  min_alloc_size      :           64
  max_alloc_size      :        20000
  empty_pop_pages     :            4

Per Chunk Stats:
----------------------------------------
Chunk:
  nr_alloc            :            1
  max_alloc_size      :        20000
  empty_pop_pages     :            0
  first_bit           :         5000
  free_bytes          :        12768
  contig_bytes        :        12768
  sum_frag            :            0
  max_frag            :            0
  cur_min_alloc       :        20000
  cur_med_alloc       :        20000
  cur_max_alloc       :        20000

Chunk: <- First Chunk
  nr_alloc            :            2
  max_alloc_size      :         4096
  empty_pop_pages     :            4
  first_bit           :          226
  free_bytes          :        19476
  contig_bytes        :        16384
  sum_frag            :         3092
  max_frag            :         3028
  cur_min_alloc       :          100
  cur_med_alloc       :          100
  cur_max_alloc       :         4096

"""

SVG = "{http://www.w3.org/2000/svg}"
MIXED = data.folder("vectors") / "37-mixed-u64-c4-r8.jsonl.gz"


def after(lines: list[str], geometry: Geometry = SMALL) -> Allocator:
    listed = parse_operations(Path("x.ops"), lines)
    return state_after(listed, geometry, "linux_6_12", len(lines))[0]


def picture(lines: list[str], geometry: Geometry = SMALL) -> StatePicture:
    allocator = after(lines, geometry)
    return picture_of_state(allocator, title="five operations", pending=allocator.work_pending)


def test_state() -> None:
    assert state_text(picture(OPERATIONS)) == STATE


def test_chunks() -> None:
    chunks = picture(OPERATIONS).chunks
    assert chunk_text(chunks["0"]) == FIRST
    assert chunk_text(chunks["1"]) == SECOND


def test_statistics() -> None:
    assert stats_text(after(OPERATIONS)) == STATS


def test_statistics_must_be_counted() -> None:
    allocator = after(OPERATIONS)
    allocator.stats = None
    with pytest.raises(ValueError, match="stats=True"):
        stats_text(allocator)


def test_pages_of_every_state() -> None:
    pages = picture(OPERATIONS).chunks["1"].pages
    assert [page.state for page in pages[3:6]] == [
        PageState.USED,
        PageState.USED,
        PageState.UNPOPULATED,
    ]
    assert picture(OPERATIONS).chunks["0"].pages[5].state is PageState.EMPTY
    area = [page.pieces[0] for page in pages[:5]]
    assert [piece.begins for piece in area] == [True, False, False, False, False]
    assert {piece.number for piece in area} == {0}
    assert not any(piece.hidden for piece in area)


def recorded_states() -> list[StatePicture]:
    vector = read_vector(MIXED)
    return [
        picture_of_state(
            state_after(vector.listed, vector.geometry, "linux_6_12", n)[0], title=f"after {n}"
        )
        for n in (0, 400, 900, 1500, 2000)
    ]


def test_maps_fit_a_mail_and_agree_with_the_counters() -> None:
    lists = set()
    for state in recorded_states():
        lists |= {title for title, _ in state.lists}
        for chunk in state.chunks.values():
            assert max(map(len, chunk_text(chunk).split("\n"))) <= 79
            assert chunk.strip.count("-") == len(chunk.pages) - chunk.populated
            assert chunk.strip.count("e") == chunk.empty
            assert chunk.areas <= sum(len(page.pieces) for page in chunk.pages)
    assert {"slot 15 sidelined", "slot 16 free", "no list: reserved"} <= lists


def test_map_of_a_small_page() -> None:
    geometry = Geometry(
        unit=512, static=16, reserved=0, dyn=112, page=64, least_unit=512, early=0, cpus=1
    )
    rows = chunk_text(picture(["a 1 12 4 -"], geometry).chunks["0"]).split("\n")
    assert rows[4].startswith("    0#|xxxx[==.........|    1     9@7")
    assert rows[5].startswith("    1e|................|         16@0")


@pytest.mark.parametrize(
    ("areas", "sizes"),
    [
        ([], []),
        ([(0, 4)], [16]),
        ([(2, 4), (6, 7)], [-8, -8, 4, 8]),
        # the kernel looks for the end of the last area in all bits but the last
        ([(0, 2), (30, 32)], [-112, 4, 8]),
        ([(31, 32)], [-124, 4]),
        ([(0, 1), (31, 32)], [4]),
    ],
)
def test_fragments(areas: list[tuple[int, int]], sizes: list[int]) -> None:
    geometry = Geometry(
        unit=128, static=0, reserved=0, dyn=0, page=64, least_unit=128, early=0, cpus=1
    )
    chunk = Chunk(geometry, 1, 2, 0)
    for start, end in areas:
        chunk.alloc_map[start:end] = b"\1" * (end - start)
        chunk.bound_map[start] = chunk.bound_map[end] = 1
    assert fragments(chunk, 4) == sizes


# SVG


def test_drawing() -> None:
    state = picture(OPERATIONS)
    root = ElementTree.fromstring(chunk_svg(state, "1"))
    assert root.tag == f"{SVG}svg"
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "chunk 1 on slot 11" in texts
    assert "120@904" in texts
    assert "5-7" in texts
    tips = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert sum(tip.startswith("area 0: ") for tip in tips) == 5


def test_drawing_is_self_contained() -> None:
    for state in recorded_states()[1:3]:
        for name in state.chunks:
            text = chunk_svg(state, name)
            ElementTree.fromstring(text)
            assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_names_are_escaped() -> None:
    allocator = after(OPERATIONS)
    state = picture_of_state(allocator, lambda chunk: f"<{chunk.id}&>", "a < b")
    root = ElementTree.fromstring(chunk_svg(state, "<1&>"))
    assert "a < b" in [text.text for text in root.iter(f"{SVG}text")]


# which chunks an operation changed


@pytest.mark.parametrize(("operation", "ids"), [(0, []), (1, [0]), (3, [0]), (4, [0]), (5, [1])])
def test_chunks_that_the_last_operation_changed(operation: int, ids: list[int]) -> None:
    listed = parse_operations(Path("x.ops"), OPERATIONS)
    assert state_after(listed, SMALL, "linux_6_12", operation)[1] == ids


def test_a_state_of_many_chunks_stays_readable() -> None:
    geometry = Geometry(unit=32768, static=4096, reserved=0, dyn=28672)
    text = state_text(picture([f"a {n} 32768 4 -" for n in range(60)], geometry))
    assert text.endswith("\n  and 21 more")
    assert max(map(len, text.split("\n"))) <= 79


def test_a_chunk_of_many_pages_is_counted() -> None:
    geometry = Geometry(unit=262144, static=4096, reserved=0, dyn=28672)
    text = state_text(picture(["a 1 32768 4 -"], geometry))
    assert "\n  1  8# 56-  1 area, 229376 bytes free" in text


def test_a_row_of_pages() -> None:
    """Used and populated, in every combination; losing pages say whether areas are in them."""
    chunk = after(["a 1 4 4 -"]).first_chunk
    bits = len(chunk.alloc_map) // chunk.nr_pages
    chunk.alloc_map[:] = bytes(len(chunk.alloc_map))
    chunk.populated[:] = bytes(chunk.nr_pages)
    for page in (0, 2):
        chunk.alloc_map[page * bits : (page + 1) * bits] = bytes([0] * (bits - 1) + [1])
    for page in (0, 1):
        chunk.populated[page] = 1
    assert page_row(chunk, bits, ())[:4] == "#e!-"
    assert page_row(chunk, bits, {0, 1})[:4] == "Xx!-"


# what can be drawn


def drawn(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["show", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("kind", DRAWN)
def test_what_ships_is_drawn_by_its_name(kind: Kind) -> None:
    name = shipped_names(kind)[0] if kind != "operation list" else "c10"
    assert name != "boot61_2" or kind == "recorded run"
    found = drawn(name, *(["--at", "50"] if kind in ("operation list", "recorded run") else []))
    assert name in found["title"] and found["map"].startswith(f"chunk {found['chunk']}")
    assert sum(map(len, found["lists"].values())) == len(found["chunks"])


def test_recorded_reads_are_drawn_as_the_state_that_was_saved_of_them() -> None:
    reads, saved = drawn("reads612_4.removed60"), drawn("612_4.removed60")
    assert reads["float"] == saved["float"] == 80
    assert reads["chunks"] == saved["chunks"] and reads["lists"] == saved["lists"]


def test_a_core_is_drawn_as_state_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = memory_of_reads(data.folder("states") / "reads612_4.removed60.json.gz")
    asked: list[tuple[Path | None, ...]] = []

    def opens(*given: Path | None) -> RecordedMemory:
        asked.append(given)
        return reads

    monkeypatch.setattr(source, "open_core", opens)
    monkeypatch.setattr(source, "open_live", opens)
    core = tmp_path / "vmcore"
    core.write_bytes(b"KDUMP   ")
    assert drawn(str(core), "--debug", str(core))["chunks"] == drawn("612_4.removed60")["chunks"]
    assert drawn("live")["chunks"] == drawn("612_4.removed60")["chunks"]
    assert asked == [(core, core), (None,)]


def test_a_moment_of_a_trace_is_the_model_there() -> None:
    """What the trace's text and its jsonl lead to is the same; each event changes what it says."""
    text = str(data.folder("boot61_2") / "trace.txt.gz")
    before, after = drawn("boot61_2", "--at", "399"), drawn(text, "--at", "400")
    assert (before["operations"], after["operations"], after["of"]) == (399, 400, 469)
    assert drawn("boot61_2", "--at", "400")["chunks"] == after["chunks"] != before["chunks"]
    who = CliRunner().invoke(main, ["conform", "trace", "boot61_2", "--who", "--at", "400"])
    shown = CliRunner().invoke(main, ["show", text, "--at", "400"]).stdout
    areas = sum(int(count) for count in re.findall(r"^  .* (\d+) areas?, ", shown, re.M))
    assert f"after 400 events (line 400): {areas} areas in use" in who.stdout
    last = drawn("boot61_2")
    report = conform_trace(data.folder("boot61_2"))
    assert (last["operations"], last["final_checksum"]) == (469, report.final_checksum)


def test_all_chunks_are_on_one_page(tmp_path: Path) -> None:
    svg = tmp_path / "all.svg"
    for option in ("--map", "--all"):
        result = CliRunner().invoke(main, ["show", "61_2.removed", option, "--svg", str(svg)])
        assert result.exit_code == 0 and "all chunks" in result.stdout
    rows = [line for line in result.stdout.split("\n") if line.endswith("|")]
    words = [t.text or "" for t in ElementTree.parse(svg).iter() if t.tag.endswith("}text")]
    assert len(rows) == sum("bytes free" in word for word in words) > 4


def token() -> Token:
    """Return a schedule in which a free beside reclaim leaves a page behind (R1)."""
    scenario = parse_scenario(Path("mine.txt"), terms.SCENARIO)
    found = search(scenario.start("linux_6_12"), refine=False).findings["RCL-3"]
    return Token.of("linux_6_12", "RCL-3", scenario, found.schedule)


def test_a_counterexample_is_drawn_step_by_step() -> None:
    one = token()
    steps = of_schedule(one).steps
    assert len(steps) > 3
    for step in steps:
        found = of_token(one, step.number)
        strips = {name: chunk.strip for name, chunk in found.picture.chunks.items()}
        for row in step.state.chunks:
            assert strips[row.name] == row.pages.replace("x", "e").replace("!", "-")
        floats = dict(step.state.counters)["pcpu_nr_empty_pop_pages"]
        assert (found.step, found.picture.float_pages) == (step.number, floats)
        assert f"actor {step.actor} [{step.operation}]" in found.picture.title
    last, begin = of_token(one, None), of_token(one, 0)
    assert last.picture == of_token(one, len(steps)).picture != begin.picture
    assert last.changed is not None and "its actors begin" in begin.picture.title
    result = CliRunner().invoke(main, ["show", str(one), "--step", "999"])
    assert result.exit_code == 2 and f"at most {len(steps)}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["c11"], "what ships (state, vector, operation list, scenario, recorded run), near: c10"),
        (["612_4.boot", "--at", "3"], "--at: expected an operation list, a vector or a trace to d"),
        (["reuse", "--step", "3"], "--step: expected a token to draw, found 'a scenario'"),
        (["612_4.boot", "--stats"], "--stats: expected an operation list or a vector"),
        (["612_4.boot", "--chunk", "99"], "--chunk: expected one of 0"),
        ([f"{TREE}x"], "--source TREE"),
        ([f"{MODEL}x"], "a whole token"),
        (["boot61_2", "--at", "470"], "--at: expected at most 469, the trace's events"),
        (["boot61_2", "--step", "3"], "--step: expected a token to draw, found 'a trace'"),
        (["live", "--at", "3"], "--at: expected an operation list, a vector or a trace to draw"),
        (["CORE"], "a core of a kernel"),
        (["STATS"], "a state, which has maps; what percpu_stats tell: percpu-spec state"),
        (["STACKS"], "what memleak tells: percpu-spec conform trace --who"),
        (["ALONE"], "boot messages or a state (--state) tell where it begins"),
        (["FOLDER"], "the folder of a recorded run with its trace"),
    ],
)
def test_what_cannot_be_drawn_is_told(arguments: list[str], says: str, tmp_path: Path) -> None:
    if "CORE" in arguments:
        pytest.importorskip("drgn")
    trace = data.folder("boot61_2") / "trace.txt.gz"
    files = {
        "CORE": b"\x7fELF" + bytes(64),
        "STATS": STATS.encode(),
        "STACKS": b"[00:00:01] Top 1 stacks with outstanding allocations:\n",
        "ALONE": b"\n".join(gzip.decompress(trace.read_bytes()).splitlines()[99:120]),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "FOLDER").mkdir()
    given = {name: str(tmp_path / name) for name in (*files, "FOLDER")}
    result = CliRunner().invoke(main, ["show", *(given.get(word, word) for word in arguments)])
    assert (result.exit_code, result.stdout) == (2, "")
    (said,) = result.stderr.splitlines()
    assert says in said


@pytest.mark.deep
@pytest.mark.skipif(not FOUND, reason=MISSING)
def test_a_counterexample_of_a_tree_is_drawn() -> None:
    archive = FOUND[0]
    plan = search_named("pages")
    with compiled_trees(archive) as trees:
        library = trees[0].search_library(plan)
        one = TreeToken("RCL-3", library.release, plan.plan, ())
        begin = of_tree_token(one, library, None)
    assert begin.picture.chunks and begin.chunk == "0"
