"""Kernels' memory read: recorded reads, with drgn and without, and what refuses to be read."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_kernel import FakeKernel, MemoryRecording, write_reads
from test_state_judged import READS, STATES, of_reads, same

from percpu_proofs import data
from percpu_proofs.live import source
from percpu_proofs.live.kernel_memory import (
    KernelMemory,
    RecordedMemory,
    UnreadableError,
    memory_of_reads,
)
from percpu_proofs.live.memory import owner_bytes, page_owners
from percpu_proofs.live.reader import Reader, TornError
from percpu_proofs.live.sample import (
    TRIES,
    UnstableError,
    changes,
    equal_chunks,
    judge_stable_chunks,
    read_samples,
    samples_svg,
    stable_copy,
    watch,
)
from percpu_proofs.live.subject import SubjectKind, kind_of, read_subject, state_in
from percpu_proofs.live.verdicts import BROKEN, HOLDS, KernelStateJudge
from percpu_proofs.recorded.states.kernel_state import Stability
from percpu_proofs.recorded.states.saved_state import read_state
from percpu_proofs.recorded.states.snapshot import state_differences
from percpu_proofs.run.inputs import InputError
from percpu_reference.variants import Allocator, build
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ACCOUNT, KERNEL

READS_61 = STATES / "reads61_2.removed.json.gz"
READS_72 = STATES / "reads72_2.removed.json.gz"
OTHERS = [path for folder in data.shared("states") for path in folder.glob("reads-*.json.gz")]


@pytest.mark.parametrize("path", [READS, READS_61, READS_72, *OTHERS], ids=lambda path: path.name)
def test_recorded_reads_replay(path: Path) -> None:
    state = of_reads(path)
    assert state.stability is Stability.AT_REST
    verdicts = KernelStateJudge().verdicts(state)
    assert not [v for v in verdicts.values() if v.verdict == BROKEN]
    assert verdicts["MAP-3"].verdict == HOLDS


def test_recorded_reads_are_the_state_that_was_saved() -> None:
    ours, theirs = of_reads(), read_state(STATES / "612_4.removed60.txt.gz")
    pairs = zip(ours.snapshot.chunks(), theirs.snapshot.chunks(), strict=True)
    same(
        replace(theirs, quiescence=ours.quiescence, types=ours.types),
        replace(
            ours,
            snapshot=replace(
                ours.snapshot,
                globals=theirs.snapshot.globals,
                first_chunk=theirs.snapshot.first_chunk,
                reserved_chunk=theirs.snapshot.reserved_chunk,
                lists=theirs.snapshot.lists,
            ),
        ),
    )
    for one, other in pairs:
        for name in ("alloc_map", "populated", "areas", "chunk_md", "md_blocks", "free_bytes"):
            assert getattr(one, name) == getattr(other, name)


def through_drgn(memory: RecordedMemory) -> source.DrgnMemory:
    """Return recorded memory behind a program of drgn's."""
    drgn = pytest.importorskip("drgn")
    program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        try:
            return memory.read(address, count)
        except UnreadableError as error:
            raise drgn.FaultError(str(error), address) from None

    def find(program: Any, name: str | None, address: int | None, one: bool) -> list[Any]:
        kind, binding = drgn.SymbolKind.OBJECT, drgn.SymbolBinding.GLOBAL
        return [
            drgn.Symbol(known, at, memory.size(known) or 8, binding, kind)
            for known, at in memory.symbols.items()
            if name in (None, known) and address in (None, at)
        ]

    program.add_memory_segment(0, (1 << 64) - 1, read)
    program.register_symbol_finder("recorded", find, enable_index=0)
    types: Any = memory  # it has the offsets, as a kernel's BTF
    return source.DrgnMemory(program, types, memory.types)


@pytest.mark.parametrize("path", [READS, READS_61, READS_72], ids=lambda path: path.name)
def test_with_drgn_and_without_the_state_is_the_same(path: Path) -> None:
    reader = Reader(through_drgn(memory_of_reads(path)))
    same(reader.state(reader.copy(), str(path)), of_reads(path))


def test_drgn_is_needed_for_cores_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(source, "drgn", None)
    core = tmp_path / "vmcore"
    core.write_bytes(b"\x7fELF" + bytes(64))
    for what, kind in ((str(core), SubjectKind.CORE), ("live", SubjectKind.LIVE)):
        assert kind_of(what) is kind
        with pytest.raises(InputError, match=r"pip install 'percpu-spec\[drgn\]'"):
            read_subject(what, kind, None, owners=False)
    state = read_subject(str(READS), SubjectKind.READS, None, owners=False)
    assert state.release.startswith("6.12.117")


def test_cores_that_are_none_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("drgn")
    flat, short = tmp_path / "flat", tmp_path / "short"
    flat.write_bytes(b"makedumpfile\0" + bytes(64))
    short.write_bytes(b"\x7fELF" + bytes(64))
    with pytest.raises(InputError, match="makedumpfile -R"):
        read_subject(str(flat), kind_of(str(flat)), None, owners=False)
    with pytest.raises(InputError, match="a core of a kernel"):
        read_subject(str(short), kind_of(str(short)), None, owners=False)
    # a core as processes leave it: no VMCOREINFO
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    note = struct.pack("<III8s", 5, 0, 1, b"CORE\0\0\0\0")
    segment = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(note), len(note), 4)
    short.write_bytes(header + segment + note)
    with pytest.raises(InputError, match="VMCOREINFO"):
        read_subject(str(short), kind_of(str(short)), None, owners=False)


def test_a_kernel_without_its_types_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("drgn")
    program = through_drgn(memory_of_reads(READS)).program

    with pytest.raises(InputError, match="symbols: kernels from"):
        source.with_types(program, Path("vmcore"), None)
    def fails(_: object) -> None:
        raise LookupError("no symbols\n  at all\n")

    monkeypatch.setattr(source.kallsyms, "load_vmlinux_kallsyms", fails)
    with pytest.raises(InputError, match=r"\(no symbols at all\)$"):
        source.with_types(program, Path("vmcore"), None)
    monkeypatch.setattr(source.kallsyms, "load_vmlinux_kallsyms", lambda _: lambda *_: [])
    with pytest.raises(InputError, match="CONFIG_DEBUG_INFO_BTF"):
        source.with_types(program, Path("vmcore"), None)


@pytest.mark.parametrize("arch", ["S390X", "ARM", "I386"])
def test_other_architectures_are_refused(arch: str) -> None:
    drgn = pytest.importorskip("drgn")
    program = drgn.Program(drgn.Platform(drgn.Architecture[arch]))
    with pytest.raises(InputError, match="64 bits, little-endian, found"):
        source.with_types(program, Path("vmcore"), None)


def test_owners_are_read() -> None:
    reader = Reader(memory_of_reads(READS_61))
    state = state_in(reader, reader.copy(), "x", owners=True)
    held: dict[str, int] = {}
    for chunk in state.chunks:
        for owner, size in owner_bytes(chunk).items():
            held[owner] = held.get(owner, 0) + size
    assert set(held) == {"/percpu_test", "not accounted"}
    assert held["/percpu_test"] == 175200
    chunk = state.chunks[2]
    pages = page_owners(chunk, 4096)
    assert set(pages) == {off // 4096 for off in chunk.areas}
    assert all(chunk.populated[at] for at in pages)
    assert sum(sum(of.values()) for of in pages.values()) == sum(chunk.areas.values())


def test_owners_that_are_not_there_are_not_told() -> None:
    reader = Reader(memory_of_reads(READS))  # which has no vectors of owners
    state = state_in(reader, reader.copy(), "x", owners=True)
    first, *others = (chunk.owners for chunk in state.chunks)
    assert others == [None] * 12 and first in ({}, None)


# kernels that were never booted


def worked(variant: str, geometry: Geometry) -> Allocator:
    """Return a model that has served, freed and depopulated."""
    model = build(variant, geometry)
    areas = [model.alloc(size, 8, gfp=KERNEL | (ACCOUNT if size % 3 else 0))
             for size in range(8, 20000, 171)]  # fmt: skip
    for area in areas[::2]:
        model.free(area)
    while model.work_pending:
        model.balance()
    model.alloc(geometry.largest, geometry.page)
    return model


K16 = {"page": 16384, "unit": 1 << 20}
K64 = {"page": 65536, "unit": 1 << 20, "static": 131072, "reserved": 65536, "dyn": 65536}
KM = {"static": 0, "reserved": 0, "dyn": 131072, "cpus": 1, "backing": "km"}
KERNELS: list[tuple[str, str, dict[str, Any], dict[str, bool]]] = [
    ("linux_5_12", "5.10.0", {}, {"old": True}),
    ("linux_5_14", "5.15.3", {}, {}),
    ("linux_6_12", "6.1.0-rt", {}, {"rt": True}),
    ("linux_6_12", "6.6.42", K16, {}),
    ("linux_6_15", "6.18.4", K64, {}),
    ("linux_7_1", "7.1.5", {"reserved": 0, "static": 8190, "dyn": 28674}, {}),
    ("linux_6_13", "6.14.0", KM, {}),
    ("linux_7_1", "7.3.0", {"cpus": 130, "groups": 2, "spare": 6}, {}),
]


@pytest.mark.parametrize(("variant", "release", "sizes", "how"), KERNELS)
def test_structures_are_found_by_name(
    variant: str, release: str, sizes: dict[str, Any], how: dict[str, bool]
) -> None:
    geometry = replace(Geometry(unit=131072, cpus=4, memcg=True), **sizes)
    model = worked(variant, geometry)
    reader = Reader(FakeKernel(model, release, **how).memory())
    state = reader.state(reader.copy(), "fake")
    assert (state.release, state.stability) == (release, Stability.AT_REST)
    odd = -geometry.static % 4  # by so much the dynamic part is smaller
    expected = replace(geometry, static=geometry.static + odd, dyn=geometry.dyn - odd)
    assert replace(state.snapshot.geometry, early=geometry.early) == expected
    assert not list(state_differences(model, state.snapshot))
    bounds = [bytes(c.bound_map) for c in model.chunks()]
    assert bounds == [bytes(c.bound_map) for c in state.snapshot.chunks()]
    floats = [model.float_of(kind) for kind in range(model.chunk_types)]
    assert floats == [state.snapshot.float_of(kind) for kind in range(model.chunk_types)]
    verdicts = KernelStateJudge().verdicts(state)
    assert not [v for v in verdicts.values() if v.verdict == BROKEN]


def test_one_float_for_two_types() -> None:
    """Kernels up to 5.11 have one for both: an int, where later ones have two."""
    model = worked("linux_5_12", Geometry(unit=131072, memcg=True))
    kernel = FakeKernel(model, "5.10.0", old=True)
    floats = [model.float_of(kind) for kind in (0, 1)]
    assert all(floats)
    kernel.number(kernel.symbols["pcpu_nr_empty_pop_pages"], sum(floats))
    kernel.sizes["pcpu_nr_empty_pop_pages"] = 4
    state = read(kernel)
    assert KernelStateJudge().verdicts(state)["FLT-1"].verdict == HOLDS
    kernel.number(kernel.symbols["pcpu_nr_empty_pop_pages"], sum(floats) + 1)
    assert KernelStateJudge().verdicts(read(kernel))["FLT-1"].verdict == BROKEN


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel(worked("linux_6_12", Geometry(unit=131072, memcg=True)), "6.12.1")


def read(kernel: FakeKernel) -> Any:
    reader = Reader(kernel.memory())
    return reader.state(reader.copy(), "fake")


def test_locks_and_work_are_told(kernel: FakeKernel) -> None:
    symbols = kernel.symbols
    kernel.number(symbols["pcpu_balance_work"], 1, 8)
    assert read(kernel).quiescence.pending and read(kernel).stability is Stability.BUSY
    kernel.number(symbols["pcpu_balance_work"], 0, 8)
    kernel.busy_worker(symbols["pcpu_balance_work"] + 8)  # of another work
    assert read(kernel).quiescence.running is False and read(kernel).stability is Stability.AT_REST
    kernel.busy_worker(symbols["pcpu_balance_work"])
    assert read(kernel).quiescence.running and read(kernel).stability is Stability.BUSY
    mutex = symbols["pcpu_alloc_mutex"]
    kernel.number(mutex, kernel.task("kworker/1:2", 77) | 1, 8)
    assert read(kernel).quiescence.owner == "kworker/1:2[77]"
    kernel.number(mutex + 16, kernel.take(32), 8)
    assert read(kernel).quiescence.waiters
    kernel.number(symbols["pcpu_lock"], 0x101)
    assert read(kernel).quiescence.lock == 0x101 and read(kernel).stability is Stability.TORN


def test_locks_of_preempt_rt_are_told() -> None:
    kernel = FakeKernel(worked("linux_6_12", Geometry(unit=131072)), "6.12.1-rt", rt=True)
    task = kernel.task("bash", 5)
    kernel.number(kernel.symbols["pcpu_lock"] + 24, task | 1, 8)
    assert read(kernel).quiescence.lock == task
    kernel.number(kernel.symbols["pcpu_alloc_mutex"] + 24, task, 8)
    kernel.number(kernel.symbols["pcpu_alloc_mutex"] + 8, task, 8)
    assert read(kernel).quiescence.owner == "bash[5]" and read(kernel).quiescence.waiters


def member(kernel: FakeKernel, chunk: int, name: str) -> int:
    return kernel.chunks[chunk] + kernel.offsets["pcpu_chunk"][name]


def loop(kernel: FakeKernel) -> None:
    link = member(kernel, 1, "list")
    kernel.number(link, link, 8)


def cut(kernel: FakeKernel) -> None:
    kernel.number(member(kernel, 1, "list") + 8, kernel.base, 8)


TORN: list[tuple[Callable[[FakeKernel], None], str]] = [
    (loop, "again"),
    (cut, "does not point back"),
    (lambda k: k.number(member(k, 1, "nr_pages"), 0), "has 0 pages"),
    (lambda k: k.number(member(k, 1, "nr_pages"), 1 << 20), "has 1048576 pages"),
]


@pytest.mark.parametrize(("damage", "words"), TORN)
def test_lists_that_do_not_hold_together(
    damage: Callable[[FakeKernel], None], words: str, kernel: FakeKernel
) -> None:
    damage(kernel)
    with pytest.raises(TornError, match=words):
        read(kernel)


DIFFERENT: list[tuple[Callable[[FakeKernel], object], str]] = [
    (lambda k: k.offsets["pcpu_chunk"].pop("md_blocks"), "no member md_blocks"),
    (lambda k: k.offsets["pcpu_block_md"].update(first_free=0), "first_free of struct"),
    (lambda k: k.symbols.pop("pcpu_unit_size"), "no variable pcpu_unit_size"),
    (lambda k: k.symbols.pop("pcpu_nr_populated"), "no variable pcpu_nr_populated"),
    (lambda k: k.number(k.symbols["pcpu_unit_size"], -4096), "a unit of -4096 bytes"),
    (lambda k: k.number(k.symbols["pcpu_nr_slots"], 1 << 30), "pcpu_nr_slots is"),
    (lambda k: k.number(k.symbols["pcpu_to_depopulate_slot"], 64), "pcpu_to_depopulate_slot is 64"),
    (lambda k: k.number(member(k, 1, "alloc_map"), 0xFFFF900000000000, 8), "were not recorded"),
    (lambda k: k.number(k.symbols["pcpu_base_addr"], 1 << 40, 8), "pcpu_base_addr"),
    (lambda k: k.number(k.symbols["pcpu_first_chunk"], k.chunks[-1], 8), "on no list"),
]


@pytest.mark.parametrize(("change", "words"), DIFFERENT)
def test_structures_that_differ_are_refused(
    change: Callable[[FakeKernel], object], words: str, kernel: FakeKernel, tmp_path: Path
) -> None:
    change(kernel)
    path = tmp_path / "reads.json.gz"
    write_reads(path, kernel.memory())
    with pytest.raises(UnreadableError, match=words):
        read(kernel)
    with pytest.raises(InputError, match=words):
        read_subject(str(path), kind_of(str(path)), None, owners=False)


def test_what_is_read_can_be_recorded(kernel: FakeKernel, tmp_path: Path) -> None:
    recording = MemoryRecording(kernel.memory())
    first = state_in(reader := Reader(recording), reader.copy(), "x", owners=False)
    path = tmp_path / "reads.json.gz"
    write_reads(path, recording.recorded())
    assert kind_of(str(path)) is SubjectKind.READS
    again = read_subject(str(path), SubjectKind.READS, None, owners=False)
    same(replace(again, types=first.types), first)


class Filtered:
    """Memory without the bytes at some address, as of a core that was filtered too far."""

    def __init__(self, kernel: FakeKernel, missing: int) -> None:
        self._memory, self._missing = kernel.memory(), missing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    def read(self, address: int, count: int) -> bytes:
        """Return bytes, if none of them is missing."""
        if address <= self._missing < address + count:
            raise UnreadableError(f"{count} bytes at {address:#x} are not there", source.WHOLE)
        return self._memory.read(address, count)


def pointed(kernel: FakeKernel, name: str) -> int:
    return int.from_bytes(kernel.memory().read(member(kernel, 1, name), 8), "little")


MISSING: list[tuple[str, Callable[[FakeKernel], int]]] = [
    *((name, lambda k, name=name: k.symbols[name]) for name in (  # type: ignore[misc]
        "pcpu_nr_slots", "pcpu_first_chunk", "pcpu_reserved_chunk", "pcpu_sidelined_slot",
        "pcpu_lock", "pcpu_alloc_mutex", "pcpu_balance_work", "__cpu_possible_mask",
    )),
    ("the head of list 2", lambda k: (
        int.from_bytes(k.memory().read(k.symbols["pcpu_chunk_lists"], 8), "little") + 2 * 16
    )),
    ("the chunk at 0x", lambda k: k.chunks[1]),
    ("populated of the chunk at 0x", lambda k: member(k, 1, "populated")),
    *((f"{name} of the chunk at 0x", lambda k, name=name: pointed(k, name))  # type: ignore[misc]
      for name in ("alloc_map", "bound_map", "md_blocks")),
]  # fmt: skip


@pytest.mark.parametrize(("words", "place"), MISSING, ids=[row[0] for row in MISSING])
def test_what_was_filtered_out_is_named(
    words: str, place: Callable[[FakeKernel], int], kernel: FakeKernel
) -> None:
    with pytest.raises(UnreadableError, match=f"^{words}.*: \\d+ bytes at ") as caught:
        reader = Reader(Filtered(kernel, place(kernel)))
        reader.copy()
    assert caught.value.advice == source.WHOLE


# running kernels


class Changing:
    """Memory in which something changes, or a list breaks, at some of the copies."""

    def __init__(self, kernel: FakeKernel, at: Callable[[int, FakeKernel], None]) -> None:
        self.kernel, self.at, self.copies = kernel, at, 0
        self._memory: KernelMemory = kernel.memory()
        self.types = "fake"

    def begin(self) -> None:
        """The next copy begins."""
        self.copies += 1
        self.at(self.copies, self.kernel)
        self._memory = self.kernel.memory()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._memory, name)

    def read(self, address: int, count: int) -> bytes:
        """Return bytes; a copy begins with the first variable."""
        if address == self.kernel.symbols["pcpu_reserved_chunk"]:
            self.begin()
        return self._memory.read(address, count)


def float_of(value: int) -> Callable[[int, FakeKernel], None]:
    """Return a change of the float in the first copies."""

    def at(copy: int, kernel: FakeKernel) -> None:
        kernel.number(kernel.symbols["pcpu_nr_empty_pop_pages"], copy if copy < value else value)

    return at


def test_a_sample_is_of_one_moment(kernel: FakeKernel) -> None:
    memory = Changing(kernel, float_of(5))
    copy = stable_copy(Reader(memory))
    assert copy.floats == (5,) and memory.copies == 6


def test_a_kernel_that_changes_all_the_time_gets_no_verdict(kernel: FakeKernel) -> None:
    memory = Changing(kernel, float_of(1 << 20))
    with pytest.raises(UnstableError, match=f"no two of {TRIES} copies agree"):
        stable_copy(Reader(memory))
    assert memory.copies == TRIES


def busy_chunk(copy: int, kernel: FakeKernel) -> None:
    """One chunk changes all the time, and its neighbours' links with it."""
    kernel.number(member(kernel, 1, "free_bytes"), copy)


def still_in(kernel: FakeKernel) -> Any:
    with pytest.raises(UnstableError) as caught:
        stable_copy(Reader(Changing(kernel, busy_chunk)))
    return caught.value.stable


def test_chunks_that_stand_still_are_judged_one_by_one(kernel: FakeKernel) -> None:
    still = still_in(kernel)
    (unstable,) = still.unstable
    assert f"at {kernel.chunks[1]:#x}" in unstable
    assert len(still.stable) == len(kernel.chunks) - 1 >= 2
    assert not [v for v in still.verdicts.values() if v.verdict == BROKEN]  # the other's MAP-2
    assert still.verdicts["MAP-2"].verdict == still.verdicts["POP-1"].verdict == HOLDS
    assert not {"FLT-1", "LIST-1", "RCL-3", "HINT-6"} & still.verdicts.keys()


def test_what_a_still_chunk_breaks_is_told(kernel: FakeKernel) -> None:
    kernel.number(member(kernel, 0, "free_bytes"), 5)
    still = still_in(kernel)
    assert still.verdicts["MAP-2"].verdict == BROKEN
    assert "free_bytes 5" in still.verdicts["MAP-2"].found[0]


def test_population_waits_for_the_mutex_chunk_by_chunk_too(kernel: FakeKernel) -> None:
    mutex = kernel.symbols["pcpu_alloc_mutex"]
    kernel.number(mutex, kernel.task("kworker/1:2", 77) | 1, 8)
    assert not {"POP-1", "POP-2"} & still_in(kernel).verdicts.keys()


@pytest.mark.parametrize("pending", [False, True])
def test_who_held_the_mutex_in_the_first_copy_may_have_populated(
    kernel: FakeKernel, pending: bool
) -> None:
    reader = Reader(kernel.memory())
    after = replace(reader.copy(), pending=pending)
    asked = {}
    for owner in (0, kernel.chunks[0]):
        still = judge_stable_chunks(reader, replace(after, owner=owner), after)
        assert still is not None and not still.unstable
        asked[owner] = still.verdicts.keys()
    free, held = asked.values()
    assert free - held == {"POP-1", "POP-2"} and held < free


def test_no_chunk_is_judged_with_the_lock_held(kernel: FakeKernel) -> None:
    kernel.number(kernel.symbols["pcpu_lock"], 1)
    assert still_in(kernel) is None


def test_a_neighbours_move_is_no_change(kernel: FakeKernel) -> None:
    reader = Reader(kernel.memory())
    before = reader.copy()
    at = kernel.offsets["pcpu_chunk"]["list"]
    address, found = next(iter(before.chunks.items()))
    moved = found.raw[:at] + b"\1" * 16 + found.raw[at + 16 :]
    after = replace(before, chunks=before.chunks | {address: replace(found, raw=moved)})
    assert equal_chunks(reader, before, after) == before.chunks.keys()


def test_equal_copies_with_the_lock_held_are_none(kernel: FakeKernel) -> None:
    kernel.number(kernel.symbols["pcpu_lock"], 1)
    with pytest.raises(UnstableError):
        stable_copy(Reader(kernel.memory()))


def test_a_torn_copy_is_taken_again(kernel: FakeKernel) -> None:
    link = member(kernel, 1, "list")
    sound = kernel.memory().read(link, 8)

    def at(copy: int, kernel: FakeKernel) -> None:
        kernel.put(link, sound if copy > 2 else link.to_bytes(8, "little"))

    memory = Changing(kernel, at)
    stable_copy(Reader(memory))
    assert memory.copies == 4


def test_samples_are_kept_as_they_are_taken(kernel: FakeKernel, tmp_path: Path) -> None:
    """Interrupted in its third pause, as by Ctrl-C: what was taken is there."""
    keep = tmp_path / "samples.jsonl"
    reader = Reader(kernel.memory())
    pauses = iter(range(3))

    def sleep(seconds: float) -> None:
        if next(pauses) == 2:
            raise KeyboardInterrupt

    seen: list[Any] = []
    with pytest.raises(KeyboardInterrupt):
        for sample in watch(reader, lambda copy: reader.state(copy, "x"), 9, keep, sleep=sleep):
            seen.append(sample)
    assert read_samples(keep) == seen and len(seen) == 3
    assert changes(None, seen[0]).startswith("percpu_kb ") and not changes(seen[0], seen[1])
    more = {**seen[0], "stranded_kb": 48, "broken": ["FLT-1"]}
    assert changes(seen[0], more) == "stranded_kb 0 -> 48, FLT-1 broken"
    with keep.open("a") as file:
        file.write('{"time": "20')  # the machine stopped
    assert len(read_samples(keep)) == 3
    drawn = samples_svg([*seen, {"time": "x", "unstable": "so"}], "live")
    assert "stranded" in drawn and "1 unstable samples are left out" in drawn
    keep.write_text(json.dumps(seen[0]) + "\n{}\n")
    with pytest.raises(InputError, match=r"samples.jsonl:2: expected a sample"):
        read_samples(keep)


# the kernel's own types


def btf() -> bytes:
    """Return types of a struct with a nameless union that has a nameless struct, and bit fields."""
    names = bytearray(b"\0")
    places: dict[str, int] = {"": 0}

    def name(text: str) -> int:
        if text not in places:
            places[text] = len(names)
            names.extend(text.encode() + b"\0")
        return places[text]

    def header(text: str, kind: int, count: int, size: int, flag: int = 0) -> bytes:
        return struct.pack("<III", name(text), flag << 31 | kind << 24 | count, size)

    def field(text: str, of: int, bits: int) -> bytes:
        return struct.pack("<III", name(text), of, bits)

    types = b"".join((
        header("int", 1, 0, 4) + struct.pack("<I", 32),  # 1
        header("", 3, 0, 0) + struct.pack("<III", 1, 1, 8),  # 2: an array
        header("", 4, 2, 8) + field("x", 1, 0) + field("y", 1, 32),  # 3: nameless struct
        header("", 8, 0, 3),  # 4: typedef of it
        header("", 5, 2, 8) + field("whole", 1, 0) + field("", 4, 0),  # 5: nameless union
        header("other", 7, 0, 0),  # 6: forward
        header("thing", 8, 0, 7),  # 7's name as a typedef before the struct itself
        header("thing", 4, 4, 24, 1)
        + field("a", 1, 0) + field("", 5, 64) + field("b", 1, 3 << 24 | 131) + field("c", 2, 160),
    ))  # fmt: skip
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names))
    return head + types + bytes(names)


def test_offsets_come_from_the_kernels_own_types() -> None:
    types = source.Btf(btf())
    found = {name: types.offset("thing", name) for name in ("a", "whole", "x", "y", "b", "c")}
    assert found == {"a": 0, "whole": 8, "x": 8, "y": 12, "b": 16, "c": 20}
    assert types.offset("thing", "z") is None and types.offset("thin", "a") is None
    with pytest.raises(UnreadableError, match="no BTF"):
        source.Btf(b"\0" * 64)


@pytest.mark.skipif(not Path("/sys/kernel/btf/vmlinux").exists(), reason="a kernel without BTF")
def test_offsets_of_the_kernel_that_runs_here() -> None:
    try:
        raw = Path("/sys/kernel/btf/vmlinux").read_bytes()
    except OSError:
        pytest.skip("unreadable")
    types = source.Btf(raw)
    assert types.offset("pcpu_block_md", "nr_bits") == 28
    assert types.offset("new_utsname", "release") == 130
    assert (types.offset("pcpu_chunk", "populated") or 0) % 8 == 0
    assert types.offset("worker", "hentry") == 0  # in a nameless union
