"""States of real kernels: what is said of each, and that one changed value is found."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from percpu_proofs import data
from percpu_proofs.live.continuation import (
    after_work,
    ask,
    cannot_go_on,
    largest,
)
from percpu_proofs.live.kernel_memory import memory_of_reads
from percpu_proofs.live.memory import chunk_rows, memory_of
from percpu_proofs.live.reader import Reader
from percpu_proofs.live.verdicts import (
    BROKEN,
    HOLDS,
    KNOWN,
    NO_OPERATION,
    NOT_ASKED,
    KernelStateJudge,
)
from percpu_proofs.recorded.states.kernel_state import KernelState, Quiescence, Stability
from percpu_proofs.recorded.states.saved_state import read_state, save_state, state_lines, state_of
from percpu_proofs.recorded.states.snapshot import BlockSnapshot, ChunkSnapshot, Snapshot
from percpu_proofs.run.inputs import InputError, TraceError
from percpu_proofs.run.room import Demand

STATES = data.folder("states")
SHARED = [path for folder in data.shared("states") for path in folder.glob("*.txt.gz")]
READS = STATES / "reads612_4.removed60.json.gz"

KNOWN_OF = {
    "612_4.boot": set(),
    "612_4.created": {"HINT-4", "HINT-5"},
    "612_4.removed60": {"HINT-5", "RCL-3"},
    "612_4.storm0": {"HINT-5"},
    "612_4.storm3": {"HINT-5"},
    "61_2.boot": set(),
    "61_2.removed": {"HINT-5"},
}
"""What is known of its release and shows in a state; nothing else is broken."""


def state_paths() -> list[Path]:
    paths = {path.name: path for path in (*SHARED, *STATES.glob("*.txt.gz"))}
    return [paths[name] for name in sorted(paths)]


@pytest.mark.parametrize("path", state_paths(), ids=lambda path: path.name)
def test_verdicts_are_those_that_were_measured(path: Path) -> None:
    state = read_state(path)
    verdicts = KernelStateJudge().verdicts(state)
    assert {v.clause for v in verdicts.values() if v.verdict == KNOWN} == KNOWN_OF[
        path.name.removesuffix(".txt.gz")
    ]
    assert not [v for v in verdicts.values() if v.verdict == BROKEN]
    # a text without boundary bits cannot break MAP-3, so it is not said to hold
    assert verdicts["MAP-3"].verdict == NOT_ASKED
    assert verdicts["HINT-1"].verdict == HOLDS


@pytest.mark.parametrize("path", state_paths(), ids=lambda path: path.name)
def test_a_clause_that_is_answered_holds_trivially_too(path: Path) -> None:
    """Not asked are those of operations, and those that speak of what is not there."""
    state = read_state(path)
    verdicts = KernelStateJudge().verdicts(state)
    unasked = {v.clause: v.reason for v in verdicts.values() if v.verdict == NOT_ASKED}
    missing = {clause: why for clause, why in unasked.items() if why != NO_OPERATION}
    blocks = [md for c in state.snapshot.chunks() for md in (c.chunk_md, *c.md_blocks)]
    of_two = set() if any(md.contig_hint and md.scan_hint for md in blocks) else {"HINT-4"}
    waits = {"BAL-2", "RCL-3"} if state.stability is Stability.BUSY else set()
    assert missing.keys() == {"HINT-6", "FIT-1", "MAP-3", "POP-5"} | of_two | waits
    assert missing["POP-5"] == "chunks are of percpu-vm"


def of_reads(path: Path = READS) -> KernelState:
    reader = Reader(memory_of_reads(path))
    return reader.state(reader.copy(), str(path))


def test_memory_and_chunks_are_told() -> None:
    state = read_state(STATES / "612_4.removed60.txt.gz")
    memory = memory_of(state)
    kb = 1024
    assert memory.percpu_kb == 10512
    assert (memory.used // kb, memory.stranded // kb, memory.above_high // kb) == (2292, 48, 1216)
    assert (memory.float_pages, memory.high) == (80, 4)
    rows = {row.chunk: row for row in chunk_rows(state)}
    assert (rows["0"].advertises, rows["0"].longest) == (4, 264)
    assert "first" in rows["0"].notes and rows["7"].notes == ("2 empty pages: 32 kB stranded",)
    assert (rows["1"].used_pages, rows["1"].empty_pages, rows["1"].hole_pages) == (48, 80, 0)


def test_the_model_goes_on() -> None:
    state = read_state(STATES / "612_4.removed60.txt.gz")
    served = ask(state, Demand(4096, 8, True))
    assert (served.chunk, served.off) == ("1", 64)
    assert ask(state, Demand(32768, 8, True)).chunk is None
    assert ask(state, Demand(32768, 8, False)).populated == 8
    kernel, fixed = after_work(state)
    assert (kernel.variant, kernel.percpu_kb, kernel.stranded_kb) == ("linux_6_12", 10512, 48)
    assert fixed.variant == "reference"
    found = largest(state)
    assert (found["atomic"].served, found["blocking"].served) == (18680, 32768)


@pytest.mark.parametrize("name", ["612_4.storm3", "61_2.removed", "612_4.removed60"])
@pytest.mark.parametrize("atomic", [True, False])
def test_the_largest_request_is_served_and_no_larger_one(name: str, atomic: bool) -> None:
    state = read_state(STATES / f"{name}.txt.gz")
    most = largest(state)["atomic" if atomic else "blocking"].served
    if most:
        assert ask(state, Demand(most, 4, atomic)).chunk not in (None, "new")
    if most < state.snapshot.geometry.largest:
        assert ask(state, Demand(most + 4, 4, atomic)).chunk in (None, "new")


# one changed value

Seed = Callable[[Snapshot], Snapshot]


def with_chunk(snapshot: Snapshot, old: ChunkSnapshot, new: ChunkSnapshot) -> Snapshot:
    lists = tuple(tuple(new if c is old else c for c in chunks) for chunks in snapshot.lists)
    first = new if snapshot.first_chunk is old else snapshot.first_chunk
    return replace(snapshot, lists=lists, first_chunk=first)


def chunk_of(snapshot: Snapshot, slot: int) -> ChunkSnapshot:
    return snapshot.lists[slot][0]


def counter(slot: int, name: str, by: int) -> Seed:
    def seed(snapshot: Snapshot) -> Snapshot:
        chunk = chunk_of(snapshot, slot)
        return with_chunk(snapshot, chunk, replace(chunk, **{name: getattr(chunk, name) + by}))

    return seed


def flag(slot: int, name: str) -> Seed:
    def seed(snapshot: Snapshot) -> Snapshot:
        chunk = chunk_of(snapshot, slot)
        return with_chunk(snapshot, chunk, replace(chunk, **{name: not getattr(chunk, name)}))

    return seed


def chunk_hint(slot: int, name: str, by: int) -> Seed:
    def seed(snapshot: Snapshot) -> Snapshot:
        chunk = chunk_of(snapshot, slot)
        md = replace(chunk.chunk_md, **{name: getattr(chunk.chunk_md, name) + by})
        return with_chunk(snapshot, chunk, replace(chunk, chunk_md=md))

    return seed


def block_hint(
    name: str, by: int, suits: Callable[[BlockSnapshot], bool] = lambda md: True
) -> Seed:
    """Change a hint of the first block of a chunk that suits."""

    def seed(snapshot: Snapshot) -> Snapshot:
        chunk = chunk_of(snapshot, 12)
        index, md = next((i, md) for i, md in enumerate(chunk.md_blocks) if suits(md))
        blocks = list(chunk.md_blocks)
        blocks[index] = replace(md, **{name: getattr(md, name) + by})
        return with_chunk(snapshot, chunk, replace(chunk, md_blocks=tuple(blocks)))

    return seed


def bit(name: str, at: Callable[[ChunkSnapshot], int], slot: int = 12) -> Seed:
    """Turn one bit of a map over."""

    def seed(snapshot: Snapshot) -> Snapshot:
        chunk = chunk_of(snapshot, slot)
        bits = bytearray(getattr(chunk, name))
        bits[at(chunk)] ^= 1
        return with_chunk(snapshot, chunk, replace(chunk, **{name: bits}))

    return seed


def glob(name: str, by: int) -> Seed:
    return lambda snapshot: replace(snapshot, **{name: getattr(snapshot, name) + by})


def more_slots(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, nr_slots=snapshot.nr_slots + 1, lists=(*snapshot.lists, ()))


def moved(snapshot: Snapshot) -> Snapshot:
    """The chunk of slot 12 on the list before."""
    lists = list(snapshot.lists)
    lists[11], lists[12] = lists[12], ()
    return replace(snapshot, lists=tuple(lists))


def doubled(snapshot: Snapshot) -> Snapshot:
    lists = list(snapshot.lists)
    lists[13] = lists[12]
    return replace(snapshot, lists=tuple(lists))


def area(chunk: ChunkSnapshot) -> int:
    """Return the bit behind a free stretch: an area begins there."""
    return next(at for at in range(1, len(chunk.alloc_map))
                if chunk.alloc_map[at] and not chunk.alloc_map[at - 1])  # fmt: skip


def behind(chunk: ChunkSnapshot) -> int:
    """Return the bit behind an area, where nothing follows."""
    return chunk.alloc_map.find(0, chunk.alloc_map.find(1))


partly = lambda md: 0 < md.left_free < md.nr_bits  # noqa: E731
SEEDS: list[tuple[str, Seed, str]] = [
    ("nr_empty_pop_pages", glob("nr_empty_pop_pages", 1), "FLT-1"),
    ("nr_populated", glob("nr_populated", -1), "POP-3"),
    ("free_slot", glob("free_slot", 1), "SLOT-2"),
    ("sidelined_slot", glob("sidelined_slot", -1), "SLOT-2"),
    ("to_depopulate_slot", glob("to_depopulate_slot", -1), "SLOT-2"),
    ("nr_slots", more_slots, "SLOT-2"),
    ("lists", moved, "LIST-4"),
    ("lists", doubled, "LIST-1"),
    ("free_bytes", counter(12, "free_bytes", 4), "MAP-2"),
    ("nr_pages", counter(12, "nr_pages", -1), "MAP-5"),
    ("nr_populated", counter(18, "nr_populated", 1), "POP-3"),
    ("nr_empty_pop_pages", counter(12, "nr_empty_pop_pages", -1), "POP-1"),
    ("nr_empty_pop_pages", counter(12, "nr_empty_pop_pages", -1), "FLT-1"),
    ("start_offset", counter(0, "start_offset", 4), "MAP-3"),
    ("end_offset", counter(0, "end_offset", 4), "MAP-3"),
    ("start_offset", counter(12, "start_offset", 4), "MAP-3"),
    ("immutable", flag(0, "immutable"), "RCL-2"),
    ("immutable", flag(12, "immutable"), "RCL-2"),
    ("isolated", flag(12, "isolated"), "ISO-2"),
    ("isolated", flag(18, "isolated"), "ISO-2"),
    ("isolated", flag(0, "isolated"), "RCL-5"),
    ("chunk_md.contig_hint", chunk_hint(12, "contig_hint", 1), "HINT-1"),
    ("chunk_md.contig_hint", chunk_hint(12, "contig_hint", -1024), "HINT-5"),
    ("chunk_md.contig_hint_start", chunk_hint(12, "contig_hint_start", 1), "HINT-1"),
    ("chunk_md.scan_hint", chunk_hint(12, "scan_hint", 1), "HINT-1"),
    ("chunk_md.scan_hint_start", chunk_hint(12, "scan_hint_start", 1), "HINT-1"),
    ("chunk_md.first_free", chunk_hint(12, "first_free", 1), "HINT-7"),
    ("chunk_md.nr_bits", chunk_hint(12, "nr_bits", 1), "MAP-5"),
    ("md_blocks.contig_hint", block_hint("contig_hint", 1), "HINT-1"),
    ("md_blocks.contig_hint", block_hint("contig_hint", -1, lambda m: m.contig_hint == 1024),
     "HINT-8"),
    ("md_blocks.contig_hint_start",
     block_hint("contig_hint_start", 1, lambda m: 0 < m.contig_hint < 1024), "HINT-1"),
    ("md_blocks.scan_hint", block_hint("scan_hint", 1, lambda m: m.scan_hint > 0), "HINT-1"),
    ("md_blocks.scan_hint_start",
     block_hint("scan_hint_start", 1, lambda m: m.scan_hint > 0), "HINT-1"),
    ("md_blocks.left_free", block_hint("left_free", -1, partly), "HINT-2"),
    ("md_blocks.left_free", block_hint("left_free", 1, partly), "HINT-1"),
    ("md_blocks.right_free", block_hint("right_free", 1, lambda m: m.right_free < 1024), "HINT-1"),
    ("md_blocks.right_free", block_hint("right_free", -1, lambda m: m.right_free > 0), "HINT-3"),
    ("md_blocks.first_free", block_hint("first_free", 1, lambda m: m.contig_hint > 0), "HINT-2"),
    ("md_blocks.nr_bits", block_hint("nr_bits", 1), "MAP-5"),
    ("alloc_map", bit("alloc_map", area), "MAP-2"),
    ("alloc_map", bit("alloc_map", behind), "MAP-2"),
    ("bound_map", bit("bound_map", area), "MAP-3"),
    ("bound_map", bit("bound_map", behind), "MAP-3"),
    ("bound_map", bit("bound_map", lambda c: 0, slot=0), "MAP-3"),
    ("populated", bit("populated", lambda c: c.populated.find(0), slot=18), "POP-3"),
    ("populated", bit("populated", lambda c: c.populated.find(1), slot=18), "POP-3"),
    ("populated", bit("populated", lambda c: area(c) // 1024, slot=18), "POP-2"),
]  # fmt: skip
"""A field, how one value of it is changed, and a clause that must see it."""

NOT_JUDGED = {
    "base_addr": "no clause speaks of addresses",
    "slot": "the lists say where a chunk is",
    "pos": "the lists say where a chunk is",
    "areas": "made of the two maps",
    "has_bounds": "says what was recorded",
    "owners": "who holds an area is no matter of the allocator's",
    "chunk_md.left_free": "the kernel does not keep the chunk's own (HINT-1)",
    "chunk_md.right_free": "the kernel does not keep the chunk's own (HINT-1)",
    "phase": "a name",
    "geometry": "made of the other fields, and checked as a kernel checks it",
    "globals": "texts of the fields",
    "chunk_types": "told by which lists there are",
    "first_chunk": "on the lists",
    "reserved_chunk": "judged as every chunk",
    "floats": "that of the first type is nr_empty_pop_pages",
    "async_enabled": "says whether it is at rest",
    "atomic_alloc_failed": "says whether it is at rest",
}


def findings(state: KernelState) -> set[tuple[str, str]]:
    verdicts = KernelStateJudge().verdicts(state).values()
    return {(v.clause, wrong) for v in verdicts for wrong in v.found}


@pytest.fixture(scope="module")
def sound() -> tuple[KernelState, set[tuple[str, str]]]:
    state = of_reads()
    assert state.stability is Stability.AT_REST
    return state, findings(state)


@pytest.mark.parametrize(("field", "seed", "clause"), SEEDS, ids=[
    f"{number}-{row[0]}" for number, row in enumerate(SEEDS)
])  # fmt: skip
def test_one_changed_value_is_found(
    field: str, seed: Seed, clause: str, sound: tuple[KernelState, set[tuple[str, str]]]
) -> None:
    state, before = sound
    found = findings(replace(state, snapshot=seed(state.snapshot)))
    assert clause in {name for name, _ in found - before}


def test_every_field_is_changed_or_its_absence_explained() -> None:
    blocks = [f.name for f in fields(BlockSnapshot)]
    names = {f.name for of in (Snapshot, ChunkSnapshot) for f in fields(of)}
    names -= {"chunk_md", "md_blocks"}
    names |= {f"{of}.{name}" for of in ("chunk_md", "md_blocks") for name in blocks}
    seeded = {field for field, _, _ in SEEDS}
    assert names - seeded == NOT_JUDGED.keys()


def test_every_boundary_bit_at_an_end_counts(
    sound: tuple[KernelState, set[tuple[str, str]]],
) -> None:
    """The boundary bits at the ends of the runs of a whole chunk, some cleared one after another.
    """
    state, _ = sound
    chunk = chunk_of(state.snapshot, 12)
    used = bytes(chunk.alloc_map)
    ends = [at for at in range(len(used) + 1)
            if (used[at : at + 1] or b"\0") != (used[at - 1 : at] if at else b"\0")]  # fmt: skip
    judge = KernelStateJudge()
    assert len(ends) > 100
    for end in ends[:: len(ends) // 50]:
        seed = bit("bound_map", lambda _, end=end: end)  # type: ignore[misc]
        found = replace(state, snapshot=seed(state.snapshot))
        assert judge.verdicts(found)["MAP-3"].verdict == BROKEN, end


# how far at rest

EMPTY = Quiescence(0, "", False, False, False)
WAITING: list[tuple[Quiescence, Stability, set[str]]] = [
    (EMPTY, Stability.AT_REST, set()),
    (replace(EMPTY, lock=1), Stability.TORN, set()),
    (replace(EMPTY, lock=1, owner="a[1]"), Stability.TORN, {"POP-1", "POP-2", "RCL-3", "BAL-2"}),
    (replace(EMPTY, owner="kworker/0:1[9]"), Stability.BUSY, {"POP-1", "POP-2", "RCL-3", "BAL-2"}),
    (
        replace(EMPTY, owner="a[1]", running=True),
        Stability.BUSY,
        {"POP-1", "POP-2", "RCL-3", "BAL-2"},
    ),
    (replace(EMPTY, pending=True), Stability.BUSY, {"RCL-3", "BAL-2"}),
    (replace(EMPTY, running=True), Stability.BUSY, {"RCL-3", "BAL-2"}),
    (replace(EMPTY, waiters=True), Stability.BUSY, {"RCL-3", "BAL-2"}),
    (replace(EMPTY, running=None), Stability.AT_REST, set()),
    (Quiescence(), Stability.NOT_TOLD, set()),
]


@pytest.mark.parametrize(("standing", "rest", "waiting"), WAITING)
def test_what_waits_while_not_at_rest(
    standing: Quiescence, rest: Stability, waiting: set[str],
    sound: tuple[KernelState, set[tuple[str, str]]],
) -> None:  # fmt: skip
    state = replace(sound[0], quiescence=standing)
    assert state.stability is rest
    verdicts = KernelStateJudge().verdicts(state)
    asked = {c for c, v in verdicts.items() if v.verdict != NOT_ASKED}
    assert not waiting & asked
    assert {"POP-1", "POP-2", "RCL-3", "BAL-2"} - waiting <= asked
    assert ("RCL-3" in {v.clause for v in verdicts.values() if v.verdict == KNOWN}) == (
        "RCL-3" not in waiting
    )


def test_sums_over_all_chunks_wait_for_the_mutex(
    sound: tuple[KernelState, set[tuple[str, str]]],
) -> None:
    state, _ = sound
    held = replace(EMPTY, owner="kworker/0:1[9]")
    fewer = replace(state, snapshot=glob("nr_populated", 1)(state.snapshot), quiescence=held)
    assert KernelStateJudge().verdicts(fewer)["POP-3"].verdict == NOT_ASKED
    wrong = replace(state, snapshot=counter(18, "nr_populated", 1)(state.snapshot), quiescence=held)
    assert KernelStateJudge().verdicts(wrong)["POP-3"].verdict == BROKEN  # of one chunk


def test_a_chunk_that_the_work_holds_may_account_for_the_float(
    sound: tuple[KernelState, set[tuple[str, str]]],
) -> None:
    """The work has taken a fully free chunk with 3 pages off its list to destroy it."""
    state, _ = sound
    held = replace(EMPTY, owner="kworker/0:1[9]", running=True)
    taken = glob("nr_populated", 3)(glob("nr_empty_pop_pages", 3)(state.snapshot))
    assert KernelStateJudge().verdicts(replace(state, snapshot=taken))["FLT-1"].verdict == BROKEN
    busy = replace(state, snapshot=taken, quiescence=held)
    assert KernelStateJudge().verdicts(busy)["FLT-1"].verdict != BROKEN
    low = glob("nr_populated", 3)(glob("nr_empty_pop_pages", -1)(state.snapshot))
    busy = replace(state, snapshot=low, quiescence=held)
    assert KernelStateJudge().verdicts(busy)["FLT-1"].verdict == BROKEN


# texts


def lines_of(name: str) -> list[str]:
    return gzip.decompress((STATES / name).read_bytes()).decode().splitlines()


def same(ours: KernelState, theirs: KernelState) -> None:
    assert list(state_lines(ours)) == list(state_lines(theirs))
    for field in fields(Snapshot):
        if field.name not in ("phase", "lists", "first_chunk", "reserved_chunk"):
            assert getattr(ours.snapshot, field.name) == getattr(theirs.snapshot, field.name)
    pairs = zip(ours.snapshot.chunks(), theirs.snapshot.chunks(), strict=True)
    for one, other in pairs:
        for field in fields(ChunkSnapshot):
            assert getattr(one, field.name) == getattr(other, field.name), field.name
    assert ours.quiescence == theirs.quiescence and ours.release == theirs.release


@pytest.mark.parametrize("name", ["state.txt", "state.txt.gz"])
def test_a_saved_state_is_read_back_field_for_field(name: str, tmp_path: Path) -> None:
    state = of_reads()
    first = replace(state.snapshot.first_chunk, owners={0: "/a b", 32: "mm/x.c:1 f"})
    stacks = {"CPU 1": "pcpu_alloc (mm/percpu.c:1825) < f [alloc: populate]", "mutex owner": "g"}
    standing = Quiescence(1, "kworker/0:1[9]", True, True, None, stacks)
    snapshot = with_chunk(state.snapshot, state.snapshot.first_chunk, first)
    state = replace(state, snapshot=snapshot, quiescence=standing)
    save_state(state, tmp_path / name)
    same(read_state(tmp_path / name), state)


@pytest.mark.parametrize("name", ["612_4.removed60", "612_4.storm3", "61_2.removed"])
def test_old_texts_are_read_as_they_are(name: str, tmp_path: Path) -> None:
    state = read_state(STATES / f"{name}.txt.gz")
    assert state.quiescence == Quiescence()
    save_state(state, tmp_path / "again.txt")
    same(read_state(tmp_path / "again.txt"), state)


BAD: list[tuple[str, str, int, str]] = [
    ("pcpu_unit_size=524288", "pcpu_unit_size=524289", 9, "one of "),
    ("pcpu_unit_size=524288", "pcpu_unit_size=x", 8, "pcpu_unit_size=number"),
    ("pcpu_unit_pages=128", "pcpu_unit_pages=127", 9, "one of 128, 64"),
    ("pcpu_nr_groups=1", "pcpu_nr_groups=0", 13, "1 to 1024"),
    ("pcpu_base_addr=ff20062a3ea00000", "pcpu_base_addr=ff20062a4ea00000", 4, "an address"),
    ("pcpu_nr_slots=21", "pcpu_nr_slots=", 5, "pcpu_nr_slots=number"),
    ("pcpu_nr_empty_pop_pages=80", "pcpu_nr_empty_pop_pages=8o", 14, "nr_empty_pop_pages=number"),
    ("pcpu_nr_populated=291", "pcpu_nr_populated=29g", 15, "pcpu_nr_populated=number"),
    ("pcpu_async_enabled=1", "pcpu_async_enabled=1\npcpu_lock=zz", 18, "pcpu_lock=hexadecimal"),
    ("pcpu_async_enabled=1", "pcpu_async_enabled=1\nwork=often", 18, "work=one of"),
    ("pcpu_async_enabled=1", "pcpu_async_enabled=1\nmutex_waiters=2", 18, "0 or 1"),
    ("slot=-1 pos=0", "slot=0 pos=0", 22, "slot=-1"),
    ("free_bytes=8192 immutable=1", "free_bytes=8192 immutable=2", 22, "immutable=0 or 1"),
    ("start_offset=0 end_offset=0 nr_pages=2", "start_offset=2 end_offset=0 nr_pages=2", 20,
     "whole granules"),
    (" populated=0-1", " populated=0-2", 20, "pages below 2"),
    ("base_addr=ff9e2672bfc00000", "base_addr=ff9e2672bfc00004", 31, "a page begins"),
    ("base_addr=ff9e2672bfc00000", "base_addr=ff20062a3ea39000", 31, "different addresses"),
    ("kernel 6.12", "kernel x", 1, "kernel RELEASE"),
    ("pcpu_atomic_alloc_failed=0", "pcpu_atomic_alloc_failed=-1", 17, "failed=0 to 1"),
    ("pcpu_async_enabled=1", "pcpu_async_enabled=7", 18, "enabled=0 to 1"),
    ("pcpu_async_enabled=1", "pcpu_async_enabled=1\nmemcg=7", 19, "memcg=0 or 1"),
    ("pcpu_nr_slots=21", "pcpu_nr_slots=100000000", 5, "pcpu_nr_slots=1 to 21"),
    ("pcpu_free_slot=19", "pcpu_free_slot=21", 6, "pcpu_free_slot=0 to 20"),
    ("pcpu_first_chunk=ff20062a3ffd7dc0", "pcpu_first_chunk=abc", 3, "an address"),
    ("pcpu_reserved_chunk=ff20062a3ffdd1c0", "pcpu_reserved_chunk=", 2, "an address"),
    ("slot=-1 pos=0", "slot=-2 pos=0", 20, "slot=-1 pos=0"),
    ("slot=-1 pos=0", "slot=-1 pos=3", 20, "slot=-1 pos=0"),
    ("contig_hint:2048", "contig_hint:2049", 20, "contig_hint of 0 to 2048"),
    ("contig_hint:2048", "contig_hint:-1", 20, "contig_hint of 0 to 2048"),
    ("scan_hint:0", "scan_hint:0,scan_hint:0", 20, "each once"),
    (" blocks=0/0/1024/0/1024", " blocks=0/0/1025/0/1024", 23, "a block's bits"),
    ("\nfirst:", "\n blocks=1\nfirst:", 24, "name=value, a chunk"),
    (" immutable=1", " immutable=1 junk=3", 20, "each once"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "expected"), BAD)
def test_a_wrong_number_is_named_with_its_line(
    old: str, new: str, line: int, expected: str, tmp_path: Path
) -> None:
    text = "\n".join(lines_of("612_4.removed60.txt.gz"))
    assert old in text
    path = tmp_path / "state.txt"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises((InputError, TraceError), match=re.escape(expected)) as caught:
        read_state(path)
    assert re.match(rf"{re.escape(str(path))}:\d+: expected ", str(caught.value)), caught.value
    place = int(str(caught.value).removeprefix(f"{path}:").split(":")[0])
    assert abs(place - line) <= 2


@pytest.mark.parametrize("name", ["free", "sidelined", "to_depopulate"])
def test_a_line_that_all_such_kernels_have_is_missed(name: str) -> None:
    lines = [x for x in lines_of("612_4.boot.txt.gz") if not x.startswith(f"pcpu_{name}_slot")]
    with pytest.raises(TraceError, match=f"pcpu_{name}_slot=number, as kernels"):
        state_of(Path("x"), lines)
    without = [line for line in lines if "_slot=" not in line]
    with pytest.raises(TraceError, match=r"from 5\.14 on"):
        state_of(Path("x"), without)


def test_what_is_wrong_in_a_chunk_is_told_at_its_own_line() -> None:
    lines = lines_of("612_4.removed60.txt.gz")
    at = [i for i, line in enumerate(lines) if line.startswith("chunk ")]
    for number, old, new in (
        (0, "slot=-1", "slot=0"), (2, "pos=0", "pos=5"), (2, "slot=12", "slot=99"),
        (2, "isolated=0", "isolated=2"),
    ):  # fmt: skip
        bad = list(lines)
        assert old in bad[at[number]]
        bad[at[number]] = bad[at[number]].replace(old, new)
        with pytest.raises(TraceError, match=f"^x:{at[number] + 1}: "):
            state_of(Path("x"), bad)


def test_a_cut_text_is_known_as_one() -> None:
    state = of_reads()
    lines = list(state_lines(state))
    last = max(i for i, line in enumerate(lines) if line.startswith("chunk "))
    with pytest.raises(TraceError, match=r"cut, 1 of \d+ chunks and the line 'end' missing"):
        state_of(Path("x"), lines[:last])
    for cut in (lines[:last], lines[:-1], [*lines[:last], "end"]):
        with pytest.raises(TraceError, match="the text is cut"):
            state_of(Path("x"), cut)
    assert state_of(Path("x"), lines).counts


@pytest.mark.parametrize("old", [False, True])
def test_a_text_cut_inside_a_chunk_says_what_is_missing(old: bool) -> None:
    lines = lines_of("612_4.boot.txt.gz") if old else list(state_lines(of_reads()))
    starts = [i for i, line in enumerate(lines) if line.startswith("chunk ")]
    for start in (starts[0], starts[1], starts[-1]):
        for kept in (1, 2, 3):
            cut = lines[: start + kept]
            missing = [" populated=", " areas=", " blocks="][kept - 1 :]
            said = f"{', '.join(map(repr, missing))} of the chunk in line {start + 1}"
            with pytest.raises(TraceError, match=rf"^x:{len(cut)}: .*is cut, the lines {said}"):
                state_of(Path("x"), cut)
        half = [*lines[: start + 3], lines[start + 3][: len(lines[start + 3]) // 2]]
        with pytest.raises(TraceError, match=rf"^x:{len(half)}: .*(is|may be) cut"):
            state_of(Path("x"), half)


def test_an_old_text_with_too_few_pages_may_be_cut() -> None:
    lines = lines_of("612_4.removed60.txt.gz")
    last = max(i for i, line in enumerate(lines) if line.startswith("chunk "))
    while not populated_in(lines[last]):
        last -= 4
    found = KernelStateJudge().verdicts(state_of(Path("x"), lines[:last]))["POP-3"]
    assert found.verdict == BROKEN and "may be cut" in found.reason
    more = [line.replace("pcpu_nr_populated=291", "pcpu_nr_populated=290") for line in lines]
    found = KernelStateJudge().verdicts(state_of(Path("x"), more))["POP-3"]
    assert found.verdict == BROKEN and not found.reason


@pytest.mark.parametrize("hint", [1000, 2047])
def test_hints_of_the_reserved_chunk_are_judged(hint: int) -> None:
    """One granule less too: a chunk that is all free advertises all of it."""
    lines = lines_of("612_4.boot.txt.gz")
    at = next(i for i, line in enumerate(lines) if line.startswith("chunk slot=-1"))
    lines[at] = lines[at].replace("contig_hint:2048", f"contig_hint:{hint}")
    broken = [v for v in KernelStateJudge().verdicts(state_of(Path("x"), lines)).values()
              if v.verdict in (BROKEN, KNOWN)]  # fmt: skip
    assert broken and "chunk -1" in broken[0].found[0]


def test_lines_of_owners_and_bounds_are_checked(tmp_path: Path) -> None:
    lines = lines_of("612_4.boot.txt.gz")
    blocks = next(i for i, line in enumerate(lines) if line.startswith(" blocks="))
    for extra, expected in (
        (" bmap=" + "f" * 600, "at most 2049 bits"),
        (" bmap=xyz", "hexadecimal"),
        (" owners=0:1", "an area begins"),
    ):
        bad = [*lines[: blocks + 1], extra, *lines[blocks + 1 :]]
        with pytest.raises(TraceError, match=expected):
            state_of(tmp_path / "x", bad)


# other kernels


def test_what_is_known_depends_on_the_release() -> None:
    lines = lines_of("612_4.removed60.txt.gz")
    for release, clause, known in (
        ("7.1.2", "RCL-3", "known on 7.1: R1, R2"),
        ("6.6.42-vendor", "HINT-5", "known on 5.17 to 6.12.58: L1, L2, L4, L5"),
        ("5.10.223", "HINT-5", "known on 5.9 to 5.13: L1, L2, L4, L5"),
        ("4.19.0", "RCL-3", ""),
    ):
        state = state_of(Path("x"), [f"kernel {release}", *lines[1:]])
        found = KernelStateJudge().verdicts(state)[clause]
        assert (found.verdict, found.reason) == (KNOWN if known else BROKEN, known)


def copies(count: int) -> list[str]:
    """Return the text of a state with so many sidelined chunks."""
    lines = lines_of("612_4.removed60.txt.gz")
    starts = [i for i, line in enumerate(lines) if line.startswith("chunk slot=18")]
    head, kinds = lines[: starts[0]], [lines[at : at + 4] for at in starts]
    chunks: list[str] = []
    pages = 0
    for number in range(count):
        first, *rest = kinds[number % len(kinds)]
        first = re.sub(r"pos=\d+", f"pos={number}", first)
        address = 0xFF00000000000000 + number * 524288
        first = re.sub(r"base_addr=\w+", f"base_addr={address:016x}", first)
        pages += populated_in(first)
        chunks += [first, *rest]
    old = sum(populated_in(kind[0]) for kind in kinds)
    total = 0x291 - old + pages
    return [re.sub("pcpu_nr_populated=.*", f"pcpu_nr_populated={total:x}", line) for line in head
            ] + chunks  # fmt: skip


def populated_in(line: str) -> int:
    found = re.search(r" nr_populated=(\d+)", line)
    assert found
    return int(found[1])


def test_a_thousand_chunks_are_judged() -> None:
    """In 2 s on a quiet machine; here only that it is done, as others share the processors."""
    state = state_of(Path("x"), copies(1000))
    verdicts = KernelStateJudge().verdicts(state)
    assert len(state.chunks) == 1002
    assert {v.clause for v in verdicts.values() if v.verdict == KNOWN} == {"HINT-5", "RCL-3"}
    assert not cannot_go_on(state, [v.clause for v in verdicts.values() if v.verdict == BROKEN])


def two_types(names: Sequence[str] = ("boot",)) -> list[Path]:
    return [path for folder in data.shared("traces") for name in names
            for path in (folder / "cg510_4" / "state").glob(f"{name}.txt.gz")]  # fmt: skip


@pytest.mark.parametrize("path", two_types(["boot", "cg_removed30"]), ids=lambda path: path.name)
def test_a_kernel_with_two_types_of_chunks(path: Path) -> None:
    state = read_state(path)
    verdicts = KernelStateJudge().verdicts(state)
    assert state.variant == "linux_5_12" and state.snapshot.chunk_types == 2
    assert verdicts["FLT-1"].verdict == HOLDS
    assert not [v for v in verdicts.values() if v.verdict == BROKEN]
    assert ask(state, Demand(64, 8, True)).chunk is not None
    assert [after.variant for after in after_work(state)] == ["linux_5_12"]


def test_types(sound: tuple[KernelState, Any]) -> None:
    assert sound[0].types == "recorded reads"
