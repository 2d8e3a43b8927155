"""Traces of machines with other pages than 4096 bytes, made from runs of the model itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from percpu_proofs.cli import main
from percpu_proofs.recorded.replay.comparison import conform_trace
from percpu_proofs.recorded.traces.reader import read_run
from percpu_proofs.run.choices import drawn
from percpu_proofs.run.inputs import TraceError
from percpu_reference import build
from percpu_reference import events as made
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import ATOMIC, KERNEL

LARGE = Geometry(unit=196608, static=65536, reserved=0, dyn=131072, cpus=2, page=65536, spare=2)
SINGLE = Geometry(
    unit=32768, static=0, reserved=0, dyn=32768, cpus=1, backing="km", page=16384
)  # fmt: skip
MODULE = 1 << 44  # of the first chunk's base


def text_of(event: made.Event) -> str:
    if isinstance(event, made.AllocPercpu):
        flags = "GFP_ATOMIC" if event.is_atomic else "GFP_KERNEL"
        return (
            f"percpu_alloc_percpu: call_site=x+0x1/0x2 reserved=0 is_atomic={event.is_atomic:d} "
            f"size={event.size} align={event.align} base_addr={event.base_addr + MODULE:016x} "
            f"off={event.off} ptr={event.ptr + 4096:016x} bytes_alloc={event.bytes_alloc} "
            f"gfp_flags={flags}"
        )
    base = f"base_addr={event.base_addr + MODULE:016x}" if not isinstance(
        event, made.AllocPercpuFail
    ) else ""  # fmt: skip
    if isinstance(event, made.FreePercpu):
        return f"percpu_free_percpu: {base} off={event.off} ptr={event.ptr + 4096:016x}"
    if isinstance(event, made.CreateChunk):
        return f"percpu_create_chunk: {base}"
    if isinstance(event, made.DestroyChunk):
        return f"percpu_destroy_chunk: {base}"
    return (
        f"percpu_alloc_percpu_fail: reserved=0 is_atomic={event.is_atomic:d} size={event.size} "
        f"align={event.align}"
    )


def written(folder: Path, sizes: Geometry) -> Path:
    """Write a run of the model as a machine of these sizes would record it."""
    events: list[made.Event] = []
    allocator = build("linux_6_12", sizes, trace=events.append)
    choices, areas = drawn(sizes.page), []
    areas.append(allocator.alloc(8, 8))
    for _ in range(150):
        if choices.number(100) < 60 or len(areas) < 3:
            size = choices.pick((8, 512, 4096, sizes.page // 2, sizes.page))
            gfp = ATOMIC if choices.number(5) == 0 else KERNEL
            areas.append(allocator.alloc(min(size, sizes.largest), 8, gfp=gfp))
        else:
            allocator.free(areas.pop(1 + choices.number(len(areas) - 1)))
        if allocator.work_pending:
            allocator.balance()
    lines = [
        f"     x-1 [000] ..... {number:10}: {text_of(event)}"
        for number, event in enumerate(events[1:], 1)
    ]
    (folder / "trace.txt").write_text("\n".join(["# tracer: nop", *lines]) + "\n")
    head = "Linux version 6.12.117\n"
    parts = f"s{sizes.static} r0 d{sizes.dyn}"
    filled = (sizes.static + sizes.dyn) // sizes.page
    if sizes.smp:
        head += f"percpu: Embedded {filled} pages/cpu {parts} u{sizes.unit}\n"
    head += f"pcpu-alloc: {parts} u{sizes.unit} alloc=1*{sizes.unit * sizes.units}\n"
    units = [*map(str, range(sizes.cpus)), *["-"] * sizes.spare]
    (folder / "dmesg.txt").write_text(f"{head}pcpu-alloc: [0] {' '.join(units)} \n")
    return folder


def test_a_run_of_large_pages_is_placed_whole(tmp_path: Path) -> None:
    run = written(tmp_path, LARGE)
    assert read_run(run).geometry.text == LARGE.text
    report = conform_trace(run)
    assert report.ok, report.mismatches
    assert report.placed == report.allocations > 50
    assert report.memory[0].pages_all_units == 4 * report.memory[0].pages  # spare units count


@pytest.mark.deep
def test_a_run_of_pages_that_are_not_told(tmp_path: Path) -> None:
    run = written(tmp_path, SINGLE)
    with pytest.raises(TraceError, match="page=4096 or page=8192 or page=16384 or page=32768 fit"):
        read_run(run)
    report = conform_trace(run, sizes={"page": "16384"})
    assert report.ok, report.mismatches
    assert report.placed == report.allocations > 50
    assert not conform_trace(run, sizes={"page": "4096"}).ok  # the wrong page shows


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def test_the_page_is_told_on_the_command_line(tmp_path: Path) -> None:
    run = written(tmp_path, SINGLE)
    for command in (("conform", "trace"), ("run",)):
        code, output = call(*command, run)
        assert code == 2
        assert f"{run / 'dmesg.txt'}:2: expected a log that tells the page size" in output
        assert call(*command, run, "--geometry", "page=16384")[0] == 0
        code, output = call(*command, run, "--geometry", "page=65536")
        assert code == 2
        assert "a unit of 32768 bytes is of whole pages, found '65536'" in output


def test_log(tmp_path: Path) -> None:
    dmesg = written(tmp_path, LARGE) / "dmesg.txt"
    code, output = call("log", dmesg)
    assert code == 0
    assert "4 units, 2 of them without CPU" in output
    assert f"--geometry {LARGE.text}" in output
    fields = json.loads(call("log", dmesg, "--json")[1])["layout"]
    assert (fields["page"], fields["page_cost"], fields["percpu_page"]) == (65536, 131072, 262144)
    noisy = tmp_path / "console.txt"
    noisy.write_bytes(b"\xff\x00firmware\r\n" + dmesg.read_bytes().replace(b"\n", b"\r\n"))
    assert json.loads(call("log", noisy, "--json")[1])["layout"] == fields
    (tmp_path / "empty.txt").write_text("nothing of it\n")
    code, output = call("log", tmp_path / "empty.txt")
    assert code == 2
    assert "ignore_loglevel" in output
