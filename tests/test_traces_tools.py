"""Traces as tracing tools print them: read alike, begun anywhere, gone on with behind losses."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from random_traces import FIRST, Machine
from tool_texts import GEOMETRY, Sequence, bpftrace, hashed, perf, trace_cmd, tracefs, write

from percpu_proofs.cli import main
from percpu_proofs.commands.source import InputKind, kind_of
from percpu_proofs.recorded.replay import search
from percpu_proofs.recorded.replay.actors import model_in_state
from percpu_proofs.recorded.replay.comparison import conform_trace
from percpu_proofs.recorded.replay.event_checks import UNTOLD, count_failures
from percpu_proofs.recorded.replay.states_beside import FEW, _vouched, with_marks
from percpu_proofs.recorded.states.text import read_snapshot
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.reader import between_losses, read_run, read_trace
from percpu_proofs.run import failures
from percpu_proofs.run.inputs import InputError, TraceError
from percpu_reference.variants import variant_class

PRINTED = (ev.Alloc, ev.Free, ev.Fail, ev.CreateChunkEvent, ev.DestroyChunkEvent)
TOOLS: dict[str, Callable[[list[ev.TraceEvent]], str]] = {
    "trace.txt": tracefs,
    "trace-cmd.txt": trace_cmd,
    "perf.txt": perf,
    "bpftrace.txt": bpftrace,
}
STACKS: dict[str, Callable[[list[ev.TraceEvent]], str]] = {
    "trace-cmd.txt": lambda events: trace_cmd(events, stack=True),
    "perf.txt": lambda events: perf(events, stack=True),
    "bpftrace.txt": bpftrace,
}


def drawn(seed: int) -> list[ev.TraceEvent]:
    """Return the events of a drawn run of two CPUs that a kernel without probes prints."""
    events = [event for event in Machine(seed).run(500) if isinstance(event, PRINTED)]
    return [replace(event, t=n, cpu=event.cpu or 0, pid=7) for n, event in enumerate(events, 1)]


def bare(events: list[ev.TraceEvent] | tuple[ev.TraceEvent, ...]) -> list[ev.TraceEvent]:
    """Return events without what some tools leave out."""
    found = []
    for event in events:
        if isinstance(event, ev.Alloc):
            event = replace(event, call_site=None, gfp=None, bytes_alloc=None)
        found.append(replace(event, t=0, pid=0))
    return found


@pytest.fixture(scope="module")
def run() -> Sequence:
    """A run that is traced from its middle on, with states at both ends and twice between."""
    started = Sequence(3).go(60)
    started.events.clear()
    return started.save("before1").go(300).save("one").go(150).save("two").go(150).save("after1")


# reading


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_tells_the_same(name: str, tmp_path: Path) -> None:
    events = drawn(5)
    (tmp_path / name).write_text(TOOLS[name](events))
    assert bare(list(read_trace(tmp_path / name).events)) == bare(events)
    assert kind_of(tmp_path / name) is InputKind.TRACE


def test_what_failed_has_its_flags_and_its_reason(tmp_path: Path) -> None:
    """A request of the reserved chunk fails for want of room there, atomic or not (API-7)."""
    wanted = [
        (True, False, "R", failures.RESERVED),
        (True, True, "AR", failures.RESERVED),
        (False, True, "A", failures.ATOMIC),
        (False, False, "-", UNTOLD),
    ]
    events = [ev.Fail(at, 0, reserved, atomic, 8, 4, pid=7)
              for at, (reserved, atomic, *_) in enumerate(wanted, 1)]  # fmt: skip
    (tmp_path / "trace.txt").write_text(tracefs([*events]))
    failed = count_failures(read_trace(tmp_path / "trace.txt"))
    assert [(kind.flags, kind.reason) for kind in failed.by_size] == [row[2:] for row in wanted]
    assert [(kind.count, kind.of) for kind in failed.by_size] == [(1, 1)] * 4
    assert failed.first is not None and failed.first.reason == failures.RESERVED


@pytest.mark.parametrize("name", STACKS)
def test_stacks_tell_the_call_site(name: str, run: Sequence, tmp_path: Path) -> None:
    (tmp_path / name).write_text(STACKS[name](run.events))
    printed = [e.call_site for e in read_trace(tmp_path / name).events if isinstance(e, ev.Alloc)]
    asked = [e.call_site for e in run.events if isinstance(e, ev.Alloc)]
    assert len(printed) == len(asked) > 100
    for site, wanted in zip(printed, asked, strict=True):
        assert site is not None and wanted is not None
        assert site.split("/")[0].split(" ")[0] == wanted.split("/")[0]


def test_stacks_of_tracefs_belong_to_their_cpu(tmp_path: Path) -> None:
    (tmp_path / "trace").write_text(
        "# tracer: nop\n"
        "  a-1 [000] d..2. 1: percpu_alloc_percpu: reserved=0 is_atomic=0 size=4 align=4 "
        "base_addr=00000000aa off=8 ptr=(ptrval)\n"
        "  b-2 [001] d..2. 2: percpu_alloc_percpu: reserved=0 is_atomic=0 size=4 align=4 "
        "base_addr=00000000aa off=16 ptr=(ptrval)\n"
        "  a-1 [000] d..2. 3: <stack trace>\n => pcpu_alloc\n => alloc_desc\n"
        "  b-2 [001] d..2. 4: <stack trace>\n => __alloc_percpu\n => ip6_init [ipv6]\n"
    )
    events = read_trace(tmp_path / "trace").events
    sites = [event.call_site for event in events if isinstance(event, ev.Alloc)]
    assert sites == ["alloc_desc", "ip6_init [ipv6]"]


FORMS = [
    "x 1 [000] 2.5: percpu:percpu_alloc_percpu: [FAILED TO PARSE] call_site=0xffffffff81 "
    "reserved=1 is_atomic=0 size=8 align=4 base_addr=0xff00 off=12 ptr=0x60 bytes_alloc=16 "
    "gfp_flags=3264",
    "x 1/7 [000] 2.5:    1 percpu:percpu_alloc_percpu: size=8 align=4 off=12 ptr=0x60 "
    "base_addr=0xff00 is_atomic=0 reserved=1",
    "nsecs=25 cpu=0 tid=1 tracepoint:percpu:percpu_alloc_percpu reserved=true is_atomic=false "
    "size=8 align=4 base_addr=0xff00 off=12 ptr=0x60 call_site=nf_x+32",
    '{"type": "printf", "data": "x-1 [000] 25: percpu_alloc_percpu: reserved=1 is_atomic=0 size=8 '
    'align=4 base_addr=0xff00 off=12 ptr=0x60\\n"}',
    "> x-1 [000] d..1. 25: percpu_alloc_percpu: call_site=nf_x+0x1/0x2 [nf tables] reserved=1 "
    "is_atomic=0 size=8 align=4 base_addr=000000000000ff00 off=12 ptr=0000000000000060 "
    "bytes_alloc=16 gfp_flags=GFP_KERNEL|__GFP_ZERO",
    # as Debian's tools of 6.1 write them: tracefs, which left the flags out; trace-cmd report -l
    "         x-1     [000] .....           25: percpu_alloc_percpu: call_site=nf_x+0x23/0x120 "
    "reserved=1 is_atomic=0 size=8 align=4 base_addr=ff00 off=12 ptr=0000000000000060 "
    "bytes_alloc=16 gfp_flags=",
    "        x-1       0.....     2.5: percpu_alloc_percpu:  call_site=nf_x+0x23 reserved=1 "
    "is_atomic=0 size=8 align=4 base_addr=0xff00 off=12 ptr=0x60 bytes_alloc=16 "
    "gfp_flags=GFP_KERNEL",
]


@pytest.mark.parametrize("text", FORMS)
def test_fields_in_any_form(text: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_text(text + "\n")
    (event,) = read_trace(tmp_path / "t").events
    wanted = ev.Alloc(25, 0, True, False, 8, 4, 0xFF00, 12, 0x60, pid=1)
    assert isinstance(event, ev.Alloc)
    assert replace(event, call_site=None, gfp=None, bytes_alloc=None) == wanted


def test_stacks_of_perf_go_on_into_the_program(tmp_path: Path) -> None:
    """As perf script 6.1 wrote it."""
    (tmp_path / "perf.txt").write_text(
        "cgroups   170 [000]   381.416053:      percpu:percpu_alloc_percpu: reserved=0 is_atomic=0 "
        "size=8 align=8 base_addr=0xffa95f61bfc00000 off=760 ptr=0x8025acc30002f8\n"
        "\tffffffff890a5b9c pcpu_alloc+0x5ec ([kernel.kallsyms])\n"
        "\tffffffff893a0173 percpu_ref_init+0x23 ([kernel.kallsyms])\n"
        "\t           311d7 __mkdir+0x7 (/bin/cgroups)\n"
        "\t           6c0d1 std::vector<int>::push_back(int const&)+0x41 (/usr/lib/a b.so)\n"
        "\t2f747365745f7570 [unknown] ([unknown])\n\n"
    )
    (event,) = read_trace(tmp_path / "perf.txt").events
    assert isinstance(event, ev.Alloc) and event.call_site == "percpu_ref_init+0x23"


def test_kinds_of_losses(tmp_path: Path) -> None:
    free = "percpu:percpu_free_percpu: base_addr=0xff00 off=4 ptr=0x60"
    (tmp_path / "t").write_text(
        f"x 1 [002] 1.1: {free}\nCPU:2 [LOST 123 EVENTS]\nCPU:1 [EVENTS DROPPED]\n"
        "##### CPU 3 buffer started ####\nLost 5 events\n[...]\n"
        f"x 1 [002] 1.2: PERF_RECORD_LOST lost 17\nx 1 [002] 1.3: {free}\n"
    )
    lost = [event for event in read_trace(tmp_path / "t").events if isinstance(event, ev.Lost)]
    assert [(one.cpu, one.missing) for one in lost] == [
        (2, 123), (1, None), (3, None), (None, 5), (None, None), (2, 17),
    ]  # fmt: skip
    (tmp_path / "t").write_text(f"x 1 [002] 1.1: {free}\nProcessed 9 events and lost 3 chunks!\n")
    with pytest.raises(TraceError, match=r":2: expected no lost events, or their places: perf scr"):
        read_trace(tmp_path / "t")


def test_overwritten_events_lie_before_all_others(run: Sequence, tmp_path: Path) -> None:
    text = tracefs(run.events)
    kept = len(run.events)
    (tmp_path / "t").write_text(text.replace(f"{kept}/{kept}", f"{kept}/{kept + 9}"))
    assert read_trace(tmp_path / "t").events[0] == ev.Lost(0, None, 9)


def test_a_loss_reaches_back_to_its_cpus_last_event() -> None:
    def on(cpu: int | None) -> ev.TraceEvent:
        return ev.Mark(0, cpu, "")

    lost = ev.Lost(0, 1)
    assert between_losses([on(0), on(1), on(0), on(0), lost, on(0)]) == [(0, 2), (5, 6)]
    assert between_losses([on(0), on(1), on(0), replace(lost, cpu=None)]) == [(0, 2)]
    assert between_losses([on(0), lost, on(1), on(0), lost]) == [(2, 3)]


# beginning in a state


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("shown", [list, hashed], ids=["true", "hashed"])
def test_a_trace_begins_in_a_saved_state(
    name: str,
    shown: Callable[[list[ev.TraceEvent]], list[ev.TraceEvent]],
    run: Sequence,
    tmp_path: Path,
) -> None:
    """Where a tool prints no marks, the moments of the states are found."""
    report = conform_trace(write(tmp_path / "run", name, TOOLS[name](shown(run.events)), run))
    assert report.ok, report.mismatches
    assert report.start == "the recorded state before1"
    assert report.placed == sum(isinstance(event, ev.Alloc) for event in run.events) > 250
    assert "after1" in [state.phase for state in report.snapshots]
    assert report.partly is None and report.skipped == 0


@pytest.mark.parametrize("shown", [list, hashed], ids=["true", "hashed"])
def test_a_changed_offset_is_found(
    shown: Callable[[list[ev.TraceEvent]], list[ev.TraceEvent]],
    run: Sequence,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "BUDGET", 20_000)  # no order explains it, however many are tried
    events = shown(run.events)
    at = [i for i, event in enumerate(events) if isinstance(event, ev.Alloc)][40]
    last = events[at]
    assert isinstance(last, ev.Alloc)
    events[at] = replace(last, off=last.off + 4 * last.align)
    for later in range(at + 1, len(events)):
        event = events[later]
        if isinstance(event, ev.Free) and (event.base, event.off) == (last.base, last.off):
            events[later] = replace(event, off=last.off + 4 * last.align)
            break
    report = conform_trace(write(tmp_path / "run", "trace.txt", tracefs(events), run))
    assert not report.ok and report.mismatches[0].what == "placement", report.mismatches


def test_a_changed_state_is_found_behind_hashes(run: Sequence, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", "trace.txt", tracefs(hashed(run.events)), run)
    state = folder / "state" / "two.txt"
    text = state.read_text()
    number = int(text.partition("pcpu_nr_empty_pop_pages=")[2].split()[0])
    old, new = (f"pcpu_nr_empty_pop_pages={n}\n" for n in (number, number + 1))
    state.write_text(text.replace(old, new, 1))
    report = conform_trace(folder)
    differing = {s.phase: s.counts for s in report.snapshots if s.counts}
    assert differing == {"two": {"globals": 1}}


def test_a_given_state_is_placed_by_what_is_in_use(run: Sequence, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", "perf.txt", perf(run.events), run)
    for name in ("before1", "after1", "two"):
        (folder / "state" / f"{name}.txt").unlink()
    given = (folder / "state" / "one.txt").rename(tmp_path / "mine.txt")
    report = conform_trace(folder, state=given)
    assert report.start == "the recorded state mine" and not report.mismatches
    assert report.placed == report.allocations > 100 and report.skipped > 100
    other = tmp_path / "other.txt"
    other.write_text(Sequence(4).go(90).save("x").states["x"])
    with pytest.raises(TraceError, match=r"other\.txt: expected a state taken while the trace ran"):
        conform_trace(folder, state=other)


def of_another_boot(text: str) -> str:
    """Return a state with its chunks at other addresses, as KASLR has them."""
    return re.sub(
        r"base_addr=(\w+)", lambda found: f"base_addr={int(found[1], 16) + (1 << 40):x}", text
    )


def test_a_given_state_of_another_boot_is_refused(run: Sequence, tmp_path: Path) -> None:
    """Also where all that the trace does could be done in it."""
    given = tmp_path / "mine.txt"
    given.write_text(of_another_boot(run.states["before1"]))
    placed = [event for event in run.events if isinstance(event, ev.Alloc)][:9]
    said = r"mine\.txt: expected a state of this trace's boot: none of its chunks"
    for events in (run.events, placed):
        (tmp_path / "perf.txt").write_text(perf(list(events)))
        with pytest.raises(TraceError, match=said):
            conform_trace(tmp_path / "perf.txt", state=given)


@pytest.mark.parametrize("shown", [list, hashed], ids=["true", "hashed"])
def test_nothing_vouches_for_a_given_state(
    shown: Callable[[list[ev.TraceEvent]], list[ev.TraceEvent]], run: Sequence, tmp_path: Path
) -> None:
    """A trace that begins with a new chunk has nothing in common with any state."""
    base = 0xFF5511110000
    events = [
        ev.CreateChunkEvent(1, 0, base, pid=7),
        ev.Alloc(2, 0, False, False, 48, 8, base, 17920, 1, "x+0x1/0x2", 96, "GFP_KERNEL", pid=7),
    ]
    given, path = tmp_path / "mine.txt", tmp_path / "perf.txt"
    given.write_text(run.states["before1"])
    path.write_text(perf(shown(events)))
    with pytest.raises(TraceError, match="this trace's boot: no chunk and no area in use is in b"):
        conform_trace(path, state=given)


@pytest.mark.parametrize("shown", [list, hashed], ids=["true", "hashed"])
def test_a_given_state_of_the_boot_has_mismatches(
    shown: Callable[[list[ev.TraceEvent]], list[ev.TraceEvent]], run: Sequence, tmp_path: Path
) -> None:
    """What contradicts a state that its addresses or areas vouch for is a mismatch."""
    made = {(e.base, e.off) for e in run.events if isinstance(e, ev.Alloc)}
    freed = (e for e in run.events if isinstance(e, ev.Free))
    area = next(e for e in freed if (e.base, e.off) not in made)
    wrong = next(e for e in run.events if isinstance(e, ev.Alloc) and not e.reserved)
    wrong = replace(
        wrong, t=run.events[-1].t, size=4, align=4, base=area.base, off=20480, bytes_alloc=16
    )
    given, path = tmp_path / "mine.txt", tmp_path / "perf.txt"
    given.write_text(run.states["before1"])
    path.write_text(perf(shown([area, wrong])))
    report = conform_trace(path, state=given)
    assert report.placed == 0 and [found.what for found in report.mismatches] == ["placement"]


@pytest.mark.parametrize("shown", [list, hashed], ids=["true", "hashed"])
@pytest.mark.parametrize("fit", [0, 1, FEW - 1, FEW])
def test_a_state_that_the_first_allocations_fit_by_chance(
    fit: int, shown: Callable[[list[ev.TraceEvent]], list[ev.TraceEvent]], tmp_path: Path
) -> None:
    """Addresses vouch for a state; behind hashes that of another boot may serve some."""
    started = Sequence(3).go(60)
    started.events.clear()
    started.live.clear()  # nothing is freed that was there before
    run = started.save("before1").go(4 * FEW, target=1000)
    made = [event for event in run.events if isinstance(event, ev.Alloc)]
    wrong = made[fit]
    dynamic = [c for c in run.model.chunks() if c is not run.model.reserved_chunk
               and f"{c.base_addr:x} " in run.states["before1"]]
    chunk = max(dynamic, key=lambda c: c.alloc_map.rfind(0))
    far = chunk.alloc_map.rfind(0) * 4  # free, and not where a search ends first
    events = run.events[2 : run.events.index(wrong)]  # behind the marks
    events.append(replace(wrong, size=4, align=4, base=chunk.base_addr, off=far, bytes_alloc=16))
    given, path = tmp_path / "mine.txt", tmp_path / "perf.txt"
    given.write_text(run.states["before1"])
    path.write_text(perf(shown(events)))
    if shown is hashed:
        with pytest.raises(TraceError, match="this state may not belong to this trace"):
            conform_trace(path, state=given)
        return
    report = conform_trace(path, state=given)
    assert [found.what for found in report.mismatches] == ["placement"] and report.placed == fit
    assert ("may not belong to this moment" in report.doubt) == (fit < FEW)


@pytest.mark.parametrize(("offs", "own", "vouched"), [
    ((0, 1), (), True), ((0, 1, None, None), (), False), ((None,), (), False), ((0,), (0,), False),
])  # fmt: skip
def test_what_vouches_behind_hashes(
    offs: tuple[int | None, ...], own: tuple[int, ...], vouched: bool, run: Sequence, tmp_path: Path
) -> None:
    """Areas freed: of the state's (by number) or not; own: allocated in the trace before."""
    (tmp_path / "s.txt").write_text(run.states["before1"])
    state = read_snapshot(tmp_path / "s.txt", GEOMETRY)
    chunk = replace(max(state.chunks(), key=lambda c: len(c.areas)), base_addr=0xABCD)
    areas = list(chunk.areas)
    lists = [tuple(chunk if len(c.areas) == len(areas) else c for c in cs) for cs in state.lists]
    state = replace(state, lists=tuple(lists))
    events: list[ev.TraceEvent] = [
        ev.Alloc(1, 0, False, False, 8, 8, 0xABCD, areas[n], 1, None, 16, pid=7) for n in own
    ]
    events += [ev.Free(2, 0, 0xABCD, 2 if n is None else areas[n], 1, pid=7) for n in offs]
    assert _vouched(state, events) == vouched


def test_a_given_state_of_another_kernel_is_refused(run: Sequence, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", "perf.txt", perf(run.events), run)
    given = tmp_path / "mine.txt"
    given.write_text(run.states["one"].replace("kernel 6.12.117", "kernel 6.12.9"))
    with pytest.raises(InputError, match=r"boot, which is of 6\.12\.117 .*, found '6\.12\.9'"):
        conform_trace(folder, state=given)
    given.write_text(re.sub(r"pcpu_unit_size=\d+", "pcpu_unit_size=8192", run.states["one"]))
    with pytest.raises(InputError, match=r"boot, whose units are of 65536 bytes, found '8192'"):
        conform_trace(folder, state=given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "expected a saved state (state live --save FILE, or state CORE --save "
         "FILE), found 'an empty file'"),
        (lambda text: "Percpu Memory Statistics\n", "FILE): percpu_stats has no maps, found"),
        (lambda text: text[text.index("reserved:"):], "begins with 'kernel RELEASE', found 'reser"),
        (lambda text: text.partition("\n")[2], "a line 'kernel RELEASE', found 'none'"),
        (lambda text: re.sub("pcpu_unit_size=.*\n", "", text), "a line pcpu_unit_size=number, f"),
        (lambda text: re.sub("pcpu_nr_slots=.*\n", "", text), "a line pcpu_nr_slots=number, got"),
    ],
)  # fmt: skip
def test_what_is_no_state_is_told(
    change: Callable[[str], str], said: str, run: Sequence, tmp_path: Path
) -> None:
    given, path = tmp_path / "mine.txt", tmp_path / "perf.txt"
    given.write_text(change(run.states["before1"]))
    path.write_text(perf(run.events))
    result = CliRunner().invoke(main, ["conform", "trace", str(path), "--state", str(given)])
    assert result.exit_code == 2 and f"{given}" in result.output and said in result.output


@pytest.mark.parametrize("log", [None, "[9] Linux version 6.12.117 (x)\n[9] eth0: up\n"])
def test_a_state_tells_the_layout(log: str | None, run: Sequence, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", "perf.txt", perf(run.events), run, dmesg=False)
    if log is not None:
        (folder / "dmesg.txt").write_text(log)  # that of boot was overwritten
    report = conform_trace(folder)
    assert report.ok and report.kernel == "6.12.117"
    assert report.placed == report.allocations > 250


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("work=idle", "before1"), ("work=pending", "before1"), ("work=running", "one"),
        ("pcpu_lock=1", "one"), ("mutex_owner=kworker/0:1[51]", "one"),
    ],
)  # fmt: skip
def test_a_replay_begins_at_rest(line: str, start: str, run: Sequence, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", "trace.txt", tracefs(run.events), run)
    state = folder / "state" / "before1.txt"
    state.write_text(state.read_text().replace("reserved:\n", f"{line}\nreserved:\n"))
    assert conform_trace(folder).start == f"the recorded state {start}"


def test_of_several_moments_the_outermost_is_a_states(tmp_path: Path) -> None:
    """What came and went between two states leaves no trace in them."""
    run = Sequence(6).go(40)
    run.events.clear()
    run.save("before1", mark=False)
    area = run.model.alloc(64, 8)
    assert area is not None
    run.model.free(area)
    run.save("after1", mark=False)
    folder = write(tmp_path / "run", "trace.txt", tracefs(run.events), run)
    events = with_marks(read_run(folder)).trace.events
    told = [event.text if isinstance(event, ev.Mark) else type(event) for event in events]
    assert told == ["snap:before1:begin", "snap:before1:end", ev.Alloc, ev.Free,
                    "snap:after1:begin", "snap:after1:end"]  # fmt: skip


def test_work_asked_for_in_a_state_is_pending(run: Sequence, tmp_path: Path) -> None:
    for work in ("pending", "idle"):
        path = tmp_path / f"{work}.txt"
        path.write_text(run.states["one"].replace("reserved:\n", f"work={work}\nreserved:\n"))
        model = model_in_state(variant_class("linux_6_12"), read_snapshot(path, GEOMETRY))
        assert model.work_pending == (work == "pending")


# losses


def with_loss(
    events: list[ev.TraceEvent], start: int, end: int, *, told: bool = True
) -> list[ev.TraceEvent]:
    """Return events without those of [start, end), and a word about it at the next one."""
    lost: list[ev.TraceEvent] = [ev.Lost(events[end].t, None, end - start)] if told else []
    return [*events[:start], *lost, *events[end:]]


def text_with_loss(events: list[ev.TraceEvent]) -> str:
    """Return tracefs text of events, a loss as it prints one."""
    at = next((i for i, event in enumerate(events) if isinstance(event, ev.Lost)), None)
    some = [event for event in events if not isinstance(event, ev.Lost)]
    lines = tracefs(some).splitlines()
    if at is not None:
        lost = events[at]
        assert isinstance(lost, ev.Lost)
        said = f"CPU:1 [LOST {lost.missing} EVENTS]"
        lines.insert(4 + at, said)
    return "\n".join(lines) + "\n"


def test_behind_a_loss_the_next_state_begins(run: Sequence, tmp_path: Path) -> None:
    middle = next(i for i, e in enumerate(run.events) if "snap:one" in getattr(e, "text", ""))
    cut = with_loss(run.events, middle - 120, middle - 60)
    report = conform_trace(write(tmp_path / "run", "trace.txt", text_with_loss(cut), run))
    assert report.ok, report.mismatches
    assert [s.start for s in report.stretches] == [f"the recorded state {s}" for s in (
        "before1", "one")]  # fmt: skip
    assert [(one.cpu, one.count) for one in report.lost] == [(1, 60)]
    assert report.partly is not None and 40 <= report.partly.events <= 70
    assert report.placed == report.allocations > 150
    assert [state.phase for state in report.snapshots] == ["two", "after1"]
    checked = report.to_dict()["events"]
    assert checked["replayed"] + checked["partly"] >= len(cut) - 5
    silent = with_loss(run.events, middle - 120, middle - 60, told=False)
    folder = write(tmp_path / "silent", "trace.txt", text_with_loss(silent), run)
    try:
        assert not conform_trace(folder).ok
    except TraceError as error:  # a free of what was never allocated
        assert "expected the offset of a live area" in str(error)


def test_without_a_later_state_the_rest_is_checked_alone(run: Sequence, tmp_path: Path) -> None:
    last = max(i for i, e in enumerate(run.events) if "snap:two" in getattr(e, "text", ""))
    folder = write(tmp_path / "run", "trace.txt", text_with_loss(
        with_loss(run.events[:-2], last + 30, last + 60)), run)  # fmt: skip
    (folder / "state" / "after1.txt").unlink()
    report = conform_trace(folder)
    assert report.ok and len(report.stretches) == 1
    assert report.partly is not None and report.partly.allocations > 20
    assert not report.who.complete and "events are lost" in report.who.why


# without a state


def test_without_a_state_what_can_be_is_checked(run: Sequence, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", "perf.txt", perf(run.events), Sequence(1), dmesg=False)
    report = conform_trace(folder)
    counts = Counter(type(event) for event in run.events)
    assert report.ok and report.start.startswith("no state")
    assert report.partly is not None
    assert report.partly.allocations == counts[ev.Alloc]
    assert report.partly.frees == counts[ev.Free] > report.partly.frees_known > 0
    assert report.partly.undetermined and not report.partly.hashed
    origins = {int(base, 16): said for base, said in report.partly.chunks.items()}
    created = {event.base for event in run.events if isinstance(event, ev.CreateChunkEvent)}
    assert {base for base, said in origins.items() if said.startswith("created")} == (
        created & origins.keys()
    ) != set()
    assert [b for b, said in origins.items() if said.startswith("the first chunk")] == [FIRST]
    assert report.to_dict()["events"] == {"replayed": 0, "partly": report.partly.events}
    result = CliRunner().invoke(main, ["conform", "trace", str(folder / "perf.txt"), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.output)["partly"]["allocations"] == counts[ev.Alloc]


def moved(events: list[ev.TraceEvent], by: int) -> list[ev.TraceEvent]:
    at = next(i for i, e in enumerate(events) if isinstance(e, ev.Alloc) and e.align == 64)
    event = events[at]
    assert isinstance(event, ev.Alloc)
    return [*events[:at], replace(event, off=event.off + by), *events[at + 1 :]]


def twice(kind: type[ev.TraceEvent]) -> Callable[[list[ev.TraceEvent]], list[ev.TraceEvent]]:
    def change(events: list[ev.TraceEvent]) -> list[ev.TraceEvent]:
        at = [i for i, event in enumerate(events) if isinstance(event, kind)][-1]
        return [*events[: at + 1], *events[at:]]

    return change


def destroyed(events: list[ev.TraceEvent]) -> list[ev.TraceEvent]:
    last = [event for event in events if isinstance(event, ev.Alloc)][-1]
    return [*events, ev.DestroyChunkEvent(events[-1].t, last.cpu, last.base, pid=7)]


def repointed(events: list[ev.TraceEvent]) -> list[ev.TraceEvent]:
    seen = set()
    for at, event in enumerate(events):
        if isinstance(event, ev.Alloc):
            seen.add((event.base, event.off))
        elif isinstance(event, ev.Free) and (event.base, event.off) in seen:
            return [*events[:at], replace(event, ptr=event.ptr + 4), *events[at + 1 :]]
    raise AssertionError


def of_odd_size(events: list[ev.TraceEvent]) -> list[ev.TraceEvent]:
    at = next(i for i, e in enumerate(events) if isinstance(e, ev.Alloc))
    event = events[at]
    assert isinstance(event, ev.Alloc)
    return [*events[:at], replace(event, size=event.size + 1), *events[at + 1 :]]


WRONG: list[tuple[str, Callable[[list[ev.TraceEvent]], list[ev.TraceEvent]]]] = [
    ("alignment", lambda events: moved(events, 4)),
    ("double placement", twice(ev.Alloc)),
    ("free", twice(ev.Free)),
    ("chunk", destroyed),
    ("pointer", repointed),
    ("bounds", of_odd_size),
]


@pytest.mark.parametrize(("kind", "change"), WRONG, ids=[kind for kind, _ in WRONG])
def test_what_contradicts_itself_is_found(
    kind: str,
    change: Callable[[list[ev.TraceEvent]], list[ev.TraceEvent]],
    run: Sequence,
    tmp_path: Path,
) -> None:
    events = change(run.events)
    folder = write(tmp_path / "run", "perf.txt", perf(hashed(events)), Sequence(1))
    report = conform_trace(folder)
    assert report.partly is not None and report.partly.hashed
    assert not report.ok and kind in {mismatch.what for mismatch in report.mismatches}


def test_addresses_that_are_not_told_are_the_first_chunks(tmp_path: Path) -> None:
    """Until a chunk is created; then a chunk that is not told ends what can be replayed."""
    run = Sequence(2).save("before1").go(200)
    created = next(i for i, e in enumerate(run.events) if isinstance(e, ev.CreateChunkEvent))
    events = [
        replace(event, base=ev.UNKNOWN)
        if isinstance(event, ev.Alloc | ev.Free | ev.CreateChunkEvent)
        else event
        for event in run.events
    ]  # fmt: skip
    folder = write(tmp_path / "run", "trace.txt", tracefs(events), run)
    report = conform_trace(folder)
    assert report.ok, report.mismatches
    assert created <= report.stretches[0].events + 2 <= created + 3
    assert report.placed == report.allocations == created - 2 - sum(
        not isinstance(event, ev.Alloc) for event in events[2:created]
    )
    assert report.partly is not None and report.partly.events > 150


# who


@pytest.mark.parametrize("name", STACKS)
def test_who_holds_memory(name: str, run: Sequence, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", name, STACKS[name](run.events), run)
    who = conform_trace(folder).who
    sizes = {
        (chunk.base_addr, off): (bits.find(1, off // 4 + 1) * 4 - off)
        for chunk in run.model.chunks()
        for bits in [chunk.bound_map]
        for off in range(0, 4 * len(chunk.alloc_map), 4)
        if chunk.alloc_map[off // 4] and bits[off // 4]
    }
    assert who.complete and (who.areas, who.bytes) == (len(sizes), sum(sizes.values()))
    told = {(e.base, e.off): e for e in run.events if isinstance(e, ev.Alloc)}
    wanted = Counter(
        (told[place].call_site or "").split("+")[0] if place in told and place in last_allocated(
            run.events) else "(allocated before the trace)"
        for place in sizes
    )  # fmt: skip
    assert {one.call_site.split("+")[0]: one.areas for one in who.call_sites} == wanted
    pages = {
        (f"{base:x}", page)
        for (base, off), size in sizes.items()
        for page in range(off // 4096, (off + size - 1) // 4096 + 1)
    }
    assert {(one.chunk, one.page) for one in who.pages} == pages
    assert sum(one.bytes for one in who.pages) == who.bytes
    alone = Counter(one.call_sites[0] for one in who.pages if len(one.call_sites) == 1)
    assert {o.call_site: o.pins_pages for o in who.call_sites if o.pins_pages} == alone and alone


def last_allocated(events: list[ev.TraceEvent]) -> set[tuple[int, int]]:
    """Return the areas whose last event is an allocation."""
    last = {(e.base, e.off): e for e in events if isinstance(e, ev.Alloc | ev.Free)}
    return {place for place, event in last.items() if isinstance(event, ev.Alloc)}


def test_who_at_a_moment(run: Sequence, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", "trace.txt", tracefs(run.events), run)
    at = 50
    taken = [event for event in run.events if not isinstance(event, ev.Mark)][:at]
    kinds = Counter(type(event) for event in taken)
    arguments = ["conform", "trace", str(folder), "--who", "--json", "--at"]
    at_start, later = (
        json.loads(CliRunner().invoke(main, [*arguments, str(n)]).output)["who"] for n in (0, at)
    )
    assert later["areas"] == at_start["areas"] + kinds[ev.Alloc] - kinds[ev.Free]
    assert [one["call_site"] for one in at_start["call_sites"]] == ["(allocated before the trace)"]
    shown = CliRunner().invoke(main, ["conform", "trace", str(folder), "--who"])
    assert shown.exit_code == 0 and "who holds memory" in shown.output
    assert CliRunner().invoke(main, ["conform", "trace", str(folder), "--at", "3"]).exit_code == 2


MEMLEAK = """\
[14:15:40] Top 10 stacks with outstanding allocations:
\t900 bytes in 9 allocations from stack
\t\tgone+0x1 [kernel]
[14:15:46] Top 10 stacks with outstanding allocations:
\taddr = 37100 size = 8
\t8 bytes in 1 allocations from stack
\t\tpcpu_alloc+0x3d8 [kernel]
\t\tperf_trace_event_init+0xc9 [kernel]
\t16 bytes in 2 allocations from stack
\t\tpcpu_alloc+0x3d8 [kernel]
\t\tnf_init+0x33 [nf_tables]
"""


def test_stacks_of_memleak(tmp_path: Path) -> None:
    (tmp_path / "leaks.txt").write_text(MEMLEAK)
    arguments = ["conform", "trace", "--who", str(tmp_path / "leaks.txt")]
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code == 0
    (only,) = json.loads(result.output)["runs"]
    found = [(o["call_site"], o["areas"], o["bytes"]) for o in only["who"]["call_sites"]]
    assert found == [("nf_init+0x33 [nf_tables]", 2, 16), ("perf_trace_event_init+0xc9", 1, 8)]
    assert "perf_trace_event_init" in CliRunner().invoke(main, arguments).output
    (tmp_path / "leaks.txt").write_text(MEMLEAK + "rubbish\n")
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_a_state_of_the_end_stands_behind_losses_told_at_the_end(
    run: Sequence, tmp_path: Path
) -> None:
    """As bpftrace tells them: where they fell nothing says, and nothing is called different."""
    text = bpftrace(run.events) + "\nLost 240 events\nLost 97 events\n"
    report = conform_trace(write(tmp_path / "run", "bpftrace.txt", text, run))
    assert report.ok, report.snapshots
    assert report.stretches[-1].start == "the recorded state after1"
