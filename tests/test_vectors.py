"""The model against recorded states, and the comparison against recordings that are wrong."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from percpu_proofs import data
from percpu_proofs.recorded.vectors import VectorReport, conform_vectors, read_vector
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import OperationList, read_operations
from percpu_proofs.run.state_record import Recorder, checksum, differing_bits
from percpu_reference import build
from percpu_spec.geometry import Geometry

SHIPPED = data.folder("vectors")
SMALL = SHIPPED / "24-reserved-u64-c4-r8.jsonl.gz"
MEMCG = SHIPPED / "28-memcg-u64-c4.jsonl.gz"
C10 = data.folder("bench") / "c10.ops.gz"

Record = dict[str, Any]


def test_shipped_vectors() -> None:
    report = conform_vectors([SHIPPED])
    assert report == VectorReport(files=12, operations=6035)


@pytest.mark.skipif(not data.shared("vectors"), reason="no ../shared/vectors beside the repository")
@pytest.mark.deep
def test_all_vectors() -> None:
    told: list[tuple[int, int]] = []
    report = conform_vectors(data.shared("vectors")[:1], lambda *at: told.append(at))
    assert report == VectorReport(files=32, operations=33514)
    assert len(told) == 32
    assert told[-1][0] == told[-1][1]


# the state and its checksum


def test_c10_ends_in_the_known_state() -> None:
    machine = Driver(build("linux_6_12", Geometry()))
    machine.run(read_operations(C10))
    assert checksum(machine.allocator) == 299521483


def test_every_state_on_the_way_has_its_checksum() -> None:
    """A slip in a hint update often heals within a few operations: compare after each."""
    allocator = build("linux_6_12", Geometry())
    machine, recorder, listed = Driver(allocator), Recorder(allocator), read_operations(C10)
    rolling = 0
    # chunks are created, and the first areas freed
    machine.run(listed, 0, 2000)
    for n in range(2000, 5000):
        machine.run(listed, n, n + 1)
        rolling = zlib.crc32(b"%d" % recorder.read().crc, rolling)
    # as computed when the list's end and every recorded vector were the kernel's
    assert rolling == 744067453


def test_a_repeated_reading_sees_every_change() -> None:
    """The recorder keeps what has not changed; nothing may look unchanged that is not."""
    vector = read_vector(MEMCG)
    allocator = build("linux_6_12", vector.geometry)
    machine, recorder = Driver(allocator), Recorder(allocator)
    for n in range(300):
        machine.run(vector.listed, n, n + 1)
        kept, fresh = recorder.read(), Recorder(allocator).read()
        assert kept.texts == fresh.texts
        assert kept.crc == fresh.crc == vector.records[n + 1]["crc"]


# recordings that differ


def records_of(path: Path) -> list[Record]:
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def write(path: Path, records: list[Record]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def changed_chunk(record: Record) -> Record:
    chunk: Record = record["changed"][0]
    return chunk


def first(records: list[Record], wanted: Callable[[Record], bool]) -> int:
    return next(n for n, record in enumerate(records) if wanted(record))


def allocated(record: Record) -> bool:
    return record["op"] == "a" and record["ok"] == 1 and bool(record["changed"])


def failed(record: Record) -> bool:
    return record["op"] == "a" and record["ok"] == 0


def boot(record: Record) -> bool:
    return record["op"] == "init"


def bump(name: str) -> Callable[[Record], None]:
    def change(record: Record) -> None:
        record[name] += 1

    return change


def bump_in(outer: str, name: str) -> Callable[[Record], None]:
    def change(record: Record) -> None:
        record[outer][name] += 1

    return change


def in_chunk(name: str) -> Callable[[Record], None]:
    def change(record: Record) -> None:
        chunk = changed_chunk(record)
        if name == "md":
            chunk["md"][6] += 1
        elif name == "blk":
            chunk["blk"][1][3] += 1
        elif name in ("pop", "amap", "bmap"):
            chunk[name] = format(int(chunk[name], 16) ^ 0x11, "x")
        else:
            chunk[name] += 1

    return change


def drop_changed(record: Record) -> None:
    record["changed"].pop(0)


def add_changed(record: Record) -> None:
    record["changed"].append(changed_chunk(record) | {"id": 99})


def reverse_lists(record: Record) -> None:
    record["slots"][0][1].append(77)


def boot_chunk(record: Record) -> None:
    record["chunks"][0]["eo"] += 4


TAMPERED = [
    (boot, bump("nr_slots"), "nr_slots"),
    (boot, bump("sidelined_slot"), "sidelined_slot"),
    (boot, bump("free_slot"), "free_slot"),
    (boot, bump("to_depop_slot"), "to_depop_slot"),
    (boot, bump_in("x", "warn"), "x.warn"),
    (boot, bump_in("g", "nr_pop"), "g.nr_pop"),
    (boot, reverse_lists, "slots[0][1]"),
    (boot, boot_chunk, "chunks[0].eo"),
    (boot, bump("crc"), "crc"),
    (allocated, bump("ok"), "ok"),
    (allocated, bump("h"), "h"),
    (allocated, bump("chunk"), "chunk"),
    (allocated, bump("off"), "off"),
    (failed, bump("warn"), "warn"),
    (lambda r: r["op"] == "f", bump("ok"), "ok"),
    (lambda r: r["op"] == "B", bump("ran"), "ran"),
    (lambda r: "arg" in r, bump("arg"), "arg"),
    *[
        (allocated, bump_in("x", name), f"x.{name}")
        for name in ("tlb", "warn", "prwarn", "stacks", "charged", "objrefs", "nsched")
    ],
    *[
        (allocated, bump_in("g", name), f"g.{name}")
        for name in (
            *("nr_pop", "nr_empty", "sched", "atomic_failed"),
            *("live_pages", "page_allocs", "creates", "destroys"),
        )
    ],
    (allocated, reverse_lists, "slots[0][1]"),
    *[
        (allocated, in_chunk(name), f".{name}")
        for name in (
            *("slot", "cslot", "iso", "imm", "free", "npages", "npop", "nempty", "so", "eo"),
            *("pop", "amap", "bmap"),
        )
    ],
    (allocated, in_chunk("md"), ".md[6]"),
    (allocated, in_chunk("blk"), ".blk[1][3]"),
    (allocated, drop_changed, "changed["),
    (allocated, add_changed, "changed[99]"),
    (allocated, bump("crc"), "crc"),
]


@pytest.mark.parametrize(("wanted", "change", "field"), TAMPERED)
def test_every_field_is_compared(
    tmp_path: Path,
    wanted: Callable[[Record], bool],
    change: Callable[[Record], None],
    field: str,
) -> None:
    records = records_of(SHIPPED / "21-popfail-u32-c4-odd.jsonl.gz")
    at = first(records, wanted)
    change(records[at])
    report = conform_vectors([write(tmp_path / "v.jsonl", records[: at + 3])])
    found = report.first_mismatch
    assert report.mismatches == 1
    assert found is not None
    assert found.line == at + 1
    assert field in found.field
    assert f"v.jsonl:{at + 1}: after" in str(found)


def test_object_vectors_are_compared(tmp_path: Path) -> None:
    records = records_of(MEMCG)
    at = first(records, lambda r: bool(r.get("changed")) and bool(r["changed"][0].get("objcg")))
    changed_chunk(records[at])["objcg"].append(4095)
    report = conform_vectors([write(tmp_path / "v.jsonl", records[: at + 1])])
    assert report.first_mismatch is not None
    assert report.first_mismatch.field.endswith(".objcg")


def test_bitmaps_show_where_they_differ() -> None:
    assert differing_bits("ff", "fe") == "bits 0 (model 0)"
    assert differing_bits("0", "ff0") == "bits 4-11 (model 1)"
    assert differing_bits("555", "000").endswith("...")


def test_earlier_kernels_print_fewer_failures(tmp_path: Path) -> None:
    records = records_of(SMALL)[:30]
    records[0]["version"] = "6.1"
    for record in records:
        record["x"] |= {"prwarn": 0, "stacks": 0}
    report = conform_vectors([write(tmp_path / "v.jsonl", records)])
    assert report.mismatches == 0
    assert "x.prwarn" in report.not_compared


# recordings that cannot be used


def cut_geometry(records: list[Record]) -> None:
    records[0]["geom"]["unit"] = 4096


def lose_a_size(records: list[Record]) -> None:
    del records[0]["geom"]["cpus"]


def change_version(records: list[Record]) -> None:
    records[0]["version"] = "5.12"


def lose_a_field(records: list[Record]) -> None:
    del records[2]["crc"]


def lose_a_hint(records: list[Record]) -> None:
    del records[2]["changed"][0]["md"]


def lose_a_line(records: list[Record]) -> None:
    del records[2]


def garble_an_operation(records: list[Record]) -> None:
    records[2]["in"] = "a 1 many 8 -"


def empty_an_operation(records: list[Record]) -> None:
    records[2]["in"] = " "


def odd_dynamic_part(records: list[Record]) -> None:
    records[0]["geom"]["static"] = 5001


def huge_unit(records: list[Record]) -> None:
    records[0]["geom"]["unit"] = 1 << 40


def nest_a_field(records: list[Record]) -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    records[2]["slots"] = deep


def free_twice(records: list[Record]) -> None:
    records[2]["in"] = "f 9999"


UNUSABLE = [
    (cut_geometry, 1, "a geometry that a kernel boots with"),
    (lose_a_size, 1, "geom with fields unit"),
    (odd_dynamic_part, 1, "a dynamic part of whole granules of 4 bytes"),
    (huge_unit, 1, "expected at most 67108864"),
    (nest_a_field, 3, "one JSON object (nested more than 32 deep)"),
    (change_version, 1, "version 6.12 or 6.1"),
    (lose_a_field, 3, "fields crc"),
    (lose_a_hint, 3, "chunks with fields"),
    (lose_a_line, 3, "record n=2"),
    (garble_an_operation, 3, "'a HANDLE SIZE ALIGN FLAGS'"),
    (empty_an_operation, 3, "an operation in the field 'in'"),
    (free_twice, 3, "a handle allocated before"),
]


@pytest.mark.parametrize(("damage", "line", "expected"), UNUSABLE)
def test_unusable_recordings(
    tmp_path: Path, damage: Callable[[list[Record]], None], line: int, expected: str
) -> None:
    records = records_of(SMALL)[:6]
    damage(records)
    with pytest.raises(InputError) as caught:
        conform_vectors([write(tmp_path / "v.jsonl", records)])
    assert str(caught.value).startswith(f"{tmp_path / 'v.jsonl'}:{line}: expected ")
    assert expected in str(caught.value)


def test_endless_nesting(tmp_path: Path) -> None:
    path = write(tmp_path / "v.jsonl", records_of(SMALL)[:2])
    path.write_text(path.read_text() + "[" * 100_000 + "\n")
    with pytest.raises(InputError, match=r"v.jsonl:3: expected one JSON object"):
        conform_vectors([path])


def test_a_file_without_manifest_may_be_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "v.jsonl", records_of(SMALL)[:6])
    report = conform_vectors([path])
    assert report.mismatches == 0
    assert report.notes == [f"{path}: no manifest beside it: completeness not known"]
    assert conform_vectors([SMALL]).notes == []


def test_folders_are_not_searched_deeper(tmp_path: Path) -> None:
    for inner in (".venv", "deeper"):
        (tmp_path / inner).mkdir()
        (tmp_path / inner / SMALL.name).write_bytes(b"")
    (tmp_path / f".{SMALL.name}").write_bytes(b"")
    assert conform_vectors([manifest(tmp_path)]).files == 1


def test_cut_line(tmp_path: Path) -> None:
    path = write(tmp_path / "v.jsonl", records_of(SMALL)[:6])
    path.write_text(path.read_text()[:-40])
    with pytest.raises(InputError, match=r"v.jsonl:6: expected one JSON object"):
        conform_vectors([path])


def manifest(folder: Path, **changes: object) -> Path:
    """Put the small vector and its manifest entry, with changes, in a folder."""
    (folder / SMALL.name).write_bytes(SMALL.read_bytes())
    entries = json.loads((SHIPPED / "manifest.json").read_text())["files"]
    entry = next(e for e in entries if e["file"] == SMALL.name)
    (folder / "manifest.json").write_text(json.dumps({"files": [entry | changes]}))
    return folder


def test_manifest_is_held_against_the_files(tmp_path: Path) -> None:
    assert conform_vectors([manifest(tmp_path)]).mismatches == 0
    for changes, message in (
        ({"sha256": "0" * 64}, "expected sha256 0000"),
        ({"ops": 601}, "expected 601 operations"),
        ({"file": "other.jsonl.gz"}, "expected this file, named in manifest.json"),
    ):
        with pytest.raises(InputError, match=message):
            conform_vectors([manifest(tmp_path, **changes)])


def test_unreadable_manifest(tmp_path: Path) -> None:
    (manifest(tmp_path) / "manifest.json").write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object with the files of this folder"):
        conform_vectors([tmp_path])


def test_folder_without_vectors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected at least one file"):
        conform_vectors([tmp_path])


def test_lists_keep_their_lines() -> None:
    vector = read_vector(SMALL)
    assert isinstance(vector.listed, OperationList)
    assert list(vector.listed.lines) == list(range(2, len(vector.records) + 1))
