"""The operation language and the machine that applies it."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest

from percpu_proofs.run.driver import Driver
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import Operation, parse_operations, read_operations, text_of
from percpu_reference import build
from percpu_spec import gfp
from percpu_spec.geometry import Geometry

HERE = Path("x.ops")

ACCEPTED = [
    ("a 7 24 8 -", ("a", 7, 24, 8, False, gfp.KERNEL)),
    ("a 0 0 0 A", ("a", 0, 0, 0, False, gfp.ATOMIC)),
    ("a 1 8 4 N", ("a", 1, 8, 4, False, gfp.NOWAIT)),
    ("a 1 8 4 O", ("a", 1, 8, 4, False, gfp.NOIO)),
    ("a 1 8 4 RAG", ("a", 1, 8, 4, True, gfp.ATOMIC | gfp.ACCOUNT)),
    ("a 1 8 4 WF", ("a", 1, 8, 4, False, gfp.KERNEL | gfp.NOWARN | gfp.NOFAIL)),
    ("  f\t7  ", ("f", 7, 0, 0, False, 0)),
    ("b", ("b", 0, 0, 0, False, 0)),
    ("B # only if pending", ("B", 0, 0, 0, False, 0)),
    ("Q 12", ("Q", 12, 0, 0, False, 0)),
    ("U 1", ("U", 1, 0, 0, False, 0)),
    ("E", ("E", 0, 0, 0, False, 0)),
]

REFUSED = [
    ("a 1 8 8", "expected 'a HANDLE SIZE ALIGN FLAGS'"),
    ("a", "expected 'a HANDLE SIZE ALIGN FLAGS'"),
    ("a 1 8 8 - -", "expected 'a HANDLE SIZE ALIGN FLAGS'"),
    ("a x 8 8 -", "expected 'a HANDLE SIZE ALIGN FLAGS'"),
    ("a 1 -8 8 -", "numbers decimal"),
    ("a 1 1_0 8 -", "numbers decimal"),
    ("a 1 ٣ 8 -", "numbers decimal"),
    ("a 1 123456789012345678901 8 -", "20 digits at most"),
    ("a 1 8 " + "9" * 5000 + " -", "20 digits at most"),
    ("f " + "9" * 5000, "expected 'f HANDLE', numbers decimal, 20 digits at most"),
    ("P " + "9" * 5000, "expected 'P COUNT'"),
    ("a 1 8 8 X", "flags - or letters of AGNOFRW"),
    ("a 1 8 8 -A", "flags - or letters"),
    ("a 1 8 8 WW", "each once"),
    ("a 1 8 8 AN", "at most one of A, N, O"),
    ("f", "expected 'f HANDLE'"),
    ("f 1 2", "expected 'f HANDLE'"),
    ("f 0x1", "expected 'f HANDLE'"),
    ("b 1", "expected 'b'"),
    ("P", "expected 'P COUNT'"),
    ("P many", "expected 'P COUNT'"),
    ("U 2", "expected 'U 0 or U 1'"),
    ("E 1", "expected 'E'"),
    ("x 1", "expected an operation, one of a f b B P Q M m C Z K H U E"),
    ("free 1", "expected an operation"),
]


@pytest.mark.parametrize(("line", "operation"), ACCEPTED)
def test_accepts(line: str, operation: tuple[object, ...]) -> None:
    listed = parse_operations(HERE, ["# head", "", line])
    assert listed.operations == [operation]
    assert list(listed.lines) == [3]


@pytest.mark.parametrize(("line", "message"), REFUSED)
def test_refuses(line: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_operations(HERE, ["a 5 8 8 -", "# comment", line])
    assert str(caught.value).startswith("x.ops:3: expected ")
    assert message in str(caught.value)
    assert caught.value.line == 3


@pytest.mark.parametrize("operation", [operation for _, operation in ACCEPTED])
def test_text_is_read_back(operation: Operation) -> None:
    assert parse_operations(HERE, [text_of(operation)]).operations == [operation]


def test_expects_an_operation() -> None:
    with pytest.raises(InputError, match="expected at least one operation"):
        parse_operations(HERE, ["# nothing", ""])


# files


TEXT = "".join(f"a {n} 8 8 -\n" for n in range(5000))


@pytest.mark.parametrize("name", ["list.ops", "list.ops.gz", "list"])
def test_gzip_is_known_by_content(tmp_path: Path, name: str) -> None:
    for number, raw in enumerate((TEXT.encode(), gzip.compress(TEXT.encode()))):
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(raw)
        assert len(read_operations(path).operations) == 5000


def test_gzip_members_follow_one_another(tmp_path: Path) -> None:
    path = tmp_path / "two"
    path.write_bytes(gzip.compress(b"a 1 8 8 -\n") + gzip.compress(b"f 1\n") + bytes(8))
    assert [op[0] for op in read_operations(path).operations] == ["a", "f"]


def test_truncated_gzip_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(TEXT.encode())[:-20])
    with pytest.raises(InputError, match="the gzip stream ends early") as caught:
        read_operations(path)
    unpacked = zlib.decompressobj(31).decompress(path.read_bytes())
    assert caught.value.line == unpacked.count(b"\n") + 1 > 1


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (gzip.compress(b"a 1 8 8 -\n", mtime=0)[:-8] + bytes(8), "a sound gzip stream"),
        (b"\x1f\x8b\x08\x00rubbish that is no deflate stream", "a sound gzip stream"),
        (b"a 1 8 8 -\n\xff\xfe\n", "UTF-8 text"),
    ],
)
def test_damaged_files(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=message):
        read_operations(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="expected a readable file"):
            read_operations(path)


# handles


MISUSES = [
    (["f 3"], 1, "expected a handle allocated before, found 'handle 3'"),
    (
        ["a 1 8 8 -", "f 1", "", "f 1"],
        4,
        "expected a handle not freed yet, found 'handle 1, freed at line 2'",
    ),
    (
        ["a 1 8 8 -", "a 1 16 8 -"],
        2,
        "expected a handle not in use, found 'handle 1, allocated at line 1'",
    ),
    (["a 1 0 8 -", "f 1", "f 1"], 3, "expected a handle not freed yet"),
]


@pytest.mark.parametrize("contracts", ["off", "fast"])
@pytest.mark.parametrize(("lines", "line", "message"), MISUSES)
def test_misuse_is_the_callers_error(
    contracts: str, lines: list[str], line: int, message: str
) -> None:
    machine = Driver(build("linux_6_12", Geometry(), contracts=contracts))  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        machine.run(parse_operations(HERE, lines))
    assert str(caught.value).startswith(f"x.ops:{line}: ")
    assert message in str(caught.value)


def test_failed_allocation_may_be_freed_and_repeated() -> None:
    machine = Driver(build("linux_6_12", Geometry()))
    machine.run(parse_operations(HERE, ["a 1 0 8 W", "a 1 8 8 -", "a 2 0 8 W", "f 2", "f 1"]))
    assert machine.handles == {}
    assert machine.operation == 5


def test_parts_of_a_run_count_on() -> None:
    listed = parse_operations(HERE, [f"a {n} 8 8 -" for n in range(10)])
    allocator = build("linux_6_12", Geometry(), contracts="fast")
    machine = Driver(allocator)
    machine.run(listed, 0, 4)
    assert machine.operation == 4
    machine.run(listed, 4)
    assert machine.operation == 10
    assert allocator.monitor is not None
    assert allocator.monitor.operation == 10


SCRIPTS = [
    ("P 2", lambda env: env.page_fault.next, 2),
    ("Q 3", lambda env: env.page_fault.kth, 3),
    ("M 4", lambda env: env.map_fault.next, 4),
    ("m 5", lambda env: env.map_fault.kth, 5),
    ("C 6", lambda env: env.vm_fault.next, 6),
    ("Z 7", lambda env: env.metadata_fault.kth, 7),
    ("K 8", lambda env: env.killed_waits, 8),
    ("H 9", lambda env: env.charge_fault.next, 9),
    ("U 0", lambda env: env.has_objcg, False),
]


@pytest.mark.parametrize(("line", "read", "value"), SCRIPTS)
def test_failures_are_scripted(line: str, read, value: object) -> None:  # type: ignore[no-untyped-def]
    allocator = build("linux_6_12", Geometry())
    Driver(allocator).run(parse_operations(HERE, [line]))
    assert read(allocator.env) == value


def test_asynchronous_work_becomes_available() -> None:
    allocator = build("linux_6_12", Geometry(async_enabled=False))
    Driver(allocator).run(parse_operations(HERE, ["E"]))
    assert allocator.async_enabled
