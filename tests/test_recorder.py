"""The recorder script, against a folder that looks like tracefs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from tool_texts import Sequence, tracefs, write

from percpu_proofs import data
from percpu_proofs.cli import main
from percpu_proofs.recorded.replay.comparison import conform_trace

SCRIPT = data.folder("recorder") / "record.sh"
EVENTS = ("alloc_percpu", "free_percpu", "alloc_percpu_fail", "create_chunk", "destroy_chunk")
FILES = {
    "tracing_on": "1", "trace_marker": "", "trace_clock": "[local]", "buffer_size_kb": "1408",
    "options/overwrite": "1", "options/hash-ptr": "1", "options/stacktrace": "0",
    "per_cpu/cpu0/stats": "entries: 3\noverrun: 0\ncommit overrun: 0\ndropped events: 0\n",
}  # fmt: skip


def pretended(folder: Path, *, call_site: bool = True) -> Path:
    """Make what looks like tracefs, with an instance as the recorder makes one."""
    instance = folder / "instances" / "percpu-spec"
    for place in (folder, instance):
        for event in EVENTS:
            (place / "events" / "percpu" / f"percpu_{event}").mkdir(parents=True)
            (place / "events" / "percpu" / f"percpu_{event}" / "enable").write_text("0\n")
        shown = "field:unsigned long call_site;" if call_site else "field:bool reserved;"
        (place / "events" / "percpu" / "percpu_alloc_percpu" / "format").write_text(shown)
        for name, content in FILES.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(content)
    (instance / "trace").write_text("# tracer: nop\n what was there before\n")
    return instance


def recorded(tmp_path: Path, run: Sequence, command: str, *arguments: str) -> Path:
    """Record with the script; states come from `command`. Return the folder."""
    states = tmp_path / "states"
    write(states, "unused.txt", "", run)
    spec = tmp_path / "spec"
    spec.write_text(f"#!/bin/sh\nstates={states}/state\n{command}\n")
    spec.chmod(0o755)
    environment = os.environ | {
        "TRACEFS": str(tmp_path / "tracing"), "DEBUGFS": str(tmp_path), "PERCPU_SPEC": str(spec),
        "DMESG": f"cat {states}/dmesg.txt",
    }  # fmt: skip
    (tmp_path / "percpu_stats").write_text("Percpu Memory Statistics\n")
    (tmp_path / "proc_version").write_text("Linux version 6.12.117 (x)\n")
    script = tmp_path / "record.sh"  # the kernel under it is not the recorded one
    text = CliRunner().invoke(main, ["conform", "recorder"]).output
    script.write_text(text.replace("/proc/version", str(tmp_path / "proc_version")))
    folder = tmp_path / "folder"
    done = subprocess.run(
        ["sh", script, folder, *arguments], env=environment, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


SAVES = """\
case $4 in
*before*) cp "$states/before1.txt" "$4" ;;
*) cp "$states/after1.txt" "$4" ;;
esac"""


def traced(tmp_path: Path, instance: Path, run: Sequence) -> tuple[str, ...]:
    """Return a command that does what a run did, as far as tracefs shows it."""
    (tmp_path / "text").write_text(tracefs(run.events))
    return "cp", str(tmp_path / "text"), str(instance / "trace")


def test_a_recorded_folder_is_replayed(tmp_path: Path) -> None:
    run = Sequence(3).go(60)
    run.events.clear()
    run.save("before1").go(200).save("after1")
    instance = pretended(tmp_path / "tracing")
    folder = recorded(tmp_path, run, SAVES, *traced(tmp_path, instance, run))
    assert (instance / "tracing_on").read_text() == "0\n"
    assert (instance / "trace_clock").read_text() == "counter\n"
    assert (instance / "options/hash-ptr").read_text() == "0\n"
    assert (instance / "options/overwrite").read_text() == "0\n"
    assert (instance / "options/stacktrace").read_text() == "0\n"
    marks = (instance / "trace_marker").read_text().split()
    assert marks == [f"snap:{n}1:{part}" for n in ("before", "after") for part in ("begin", "end")]
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names >= {
        "trace.txt", "dmesg.txt", "buffer_stats.txt", "state/before1.txt", "state/after1.txt",
        "percpu_stats.before.txt", "percpu_stats.after.txt", "meminfo.after.txt",
    }  # fmt: skip
    assert (folder.stat().st_mode & 0o077) == 0
    report = conform_trace(folder)
    assert report.ok and report.start == "the recorded state before1", report.mismatches
    assert CliRunner().invoke(main, ["run", str(folder)]).exit_code == 0


BUSY = """
stats=$TRACEFS/instances/percpu-spec/per_cpu/cpu0/stats
case $4 in *before[12].txt) echo "entries: ${#4}$(cat "$stats" | wc -l)" >>"$stats" ;; esac"""


def test_a_state_read_amid_events_is_read_again(tmp_path: Path) -> None:
    run = Sequence(3).save("before1").go(5).save("after1")
    instance = pretended(tmp_path / "tracing")
    folder = recorded(tmp_path, run, SAVES + BUSY, *traced(tmp_path, instance, run))
    saved = sorted(path.stem for path in (folder / "state").iterdir())
    assert saved == ["after1", "before1", "before2", "before3"]


def test_events_are_on_while_the_command_runs(tmp_path: Path) -> None:
    run = Sequence(1).save("before1")
    instance = pretended(tmp_path / "tracing", call_site=False)
    told = tmp_path / "told"
    seen = " ".join(f"{instance}/events/percpu/percpu_{event}/enable" for event in EVENTS)
    look = f"cat {seen} {instance}/tracing_on {instance}/options/stacktrace >{told}"
    recorded(tmp_path, run, SAVES.replace("after1", "before1"), "sh", "-c", look)
    assert told.read_text().split() == ["1"] * 7  # before 5.19 stacks tell who asks
    for event in EVENTS:
        assert (instance / f"events/percpu/percpu_{event}/enable").read_text() == "0\n"


def test_without_states_it_records_all_the_same(tmp_path: Path) -> None:
    run = Sequence(1).save("before1").go(20)
    instance = pretended(tmp_path / "tracing")
    failing = "echo no permission >&2; exit 2"
    folder = recorded(tmp_path, run, failing, *traced(tmp_path, instance, run))
    assert not list((folder / "state").iterdir())
    assert "no permission" in (folder / "record.log").read_text()
    assert conform_trace(folder).partly is not None


@pytest.mark.parametrize(
    ("arguments", "said"), [([], "expected a folder"), (["x"], "no tracefs with events/percpu")]
)
def test_it_says_what_is_missing(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", SCRIPT, *arguments], env={"TRACEFS": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True, text=True, cwd=tmp_path, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and said in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_has_nothing_to_say() -> None:
    done = subprocess.run(["shellcheck", "-s", "sh", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_bpftrace_program_prints_every_field() -> None:
    text = CliRunner().invoke(main, ["conform", "recorder", "--bpftrace"]).output
    for event in EVENTS:
        assert f"tracepoint:percpu:percpu_{event}\n" in text
    place = "base_addr=0x%llx off=%d ptr=0x%llx"
    asked = "reserved=%d is_atomic=%d size=%llu align=%llu"
    for printed in (f"alloc_percpu: {asked} {place}", f"free_percpu: {place}", f"fail: {asked}"):
        assert printed in text
    assert "kstack(" in text and "comm, tid, cpu, nsecs" in text
