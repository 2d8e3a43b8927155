"""Every legal order of steps is tried: drawn runs are explained, changed ones are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from depth import deep_unless
from random_traces import Machine, write_run

from percpu_proofs.recorded.replay import comparison
from percpu_proofs.recorded.replay.comparison import conform_trace
from percpu_proofs.recorded.replay.report import TraceReport
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.reader import Trace, read_run

LATER_PROBES = frozenset((ev.BalanceFree, ev.Depopulated))  # that not every recording has
KERNELS = [
    ("linux_6_12", frozenset[type[ev.TraceEvent]]()),
    ("linux_6_12", LATER_PROBES),
    ("linux_5_12", LATER_PROBES),
    ("linux_7_1", LATER_PROBES),
]


def drawn(
    seed: int, cpus: int, variant: str, without: frozenset[type[ev.TraceEvent]]
) -> list[ev.TraceEvent]:
    return Machine(seed, cpus, variant, without).run(600)


def replayed(folder: Path, events: list[ev.TraceEvent], cpus: int, variant: str) -> TraceReport:
    return conform_trace(write_run(folder / "run", events, cpus, variant))


@pytest.mark.parametrize("cpus", [2, 4])
@pytest.mark.parametrize(("variant", "without"), KERNELS, ids=["all", "some", "5.10", "7.1"])
@pytest.mark.parametrize(
    "seeds", deep_unless(lambda seeds: seeds.stop <= 8, [range(8), range(8, 60)])
)
def test_drawn_runs_are_explained(
    seeds: range, variant: str, without: frozenset[type[ev.TraceEvent]], cpus: int, tmp_path: Path
) -> None:
    """Work and marks among the steps of others, creations that failed unseen: all are found."""
    timings, missed = 0, []
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        report = replayed(folder, drawn(seed, cpus, variant, without), cpus, variant)
        timings += len(report.timings)
        if report.ok:
            assert report.placed and report.start_hints == report.start_hints_matched > 0
        else:
            missed.append((seed, report.mismatches))
    assert not missed
    assert timings  # some moments were not where the rules put them


HARD = [
    ("linux_5_12", 2, 11),  # a failure is marked between the work on two types of chunks
    ("linux_5_12", 2, 20),  # the chunk is of the second type: the first creation failed
    ("linux_5_12", 4, 59),
    ("linux_6_12", 4, 19),  # the work began at one of many moments
    ("linux_6_12", 2, 66),  # two moments of it, behind many others
    ("linux_6_12", 2, 101),  # a run of the work that nothing asks for in the order found first
    ("linux_5_12", 2, 5006),  # a moment put off, and a state kept before it comes
    ("linux_6_12", 4, 173),  # the work passes others by: up to them, and behind them
    ("linux_5_12", 4, 5004),  # a chunk leaves a list before the work looks there, and comes back
    ("linux_7_1", 2, 7008),  # work is asked for under the lock, long before the print
    ("linux_7_1", 2, 9110),
    ("linux_5_12", 4, 9354),  # the first order that gets past an event is a wrong one
    ("linux_5_12", 4, 9357),  # two orders found before were
]
QUICK = [row for row in HARD if row[2] in (11, 20, 59, 19, 101, 5004, 7008, 9357)]


@pytest.mark.parametrize(
    ("variant", "cpus", "seed"), deep_unless(lambda *of: of in QUICK, HARD)
)
def test_orders_that_take_two_thoughts(variant: str, cpus: int, seed: int, tmp_path: Path) -> None:
    report = replayed(tmp_path, drawn(seed, cpus, variant, LATER_PROBES), cpus, variant)
    assert report.ok, report.mismatches


@pytest.mark.deep
def test_what_was_under_way_at_a_loss_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An area is being taken, and the events that would tell who takes it are lost."""
    events = drawn(1, 2, "linux_6_12", frozenset())
    folder = write_run(tmp_path / "run", events, 2, "linux_6_12")
    at = next(i for i in range(300, 600) if isinstance(events[i], ev.AllocArea))
    whole = read_run(folder)
    kept = [*whole.trace.events[: at + 2], ev.Lost(events[at].t, events[at].cpu, 9)]
    cut = Trace(whole.trace.path, kept, whole.trace.lines[: at + 3])
    monkeypatch.setattr(comparison, "read_run", lambda *_: replace(whole, trace=cut))
    report = conform_trace(folder)
    assert report.ok and report.placed == report.allocations, report.mismatches
    assert report.stretches[0].events == at + 1
    monkeypatch.setattr(comparison, "TAIL", 0)
    assert not conform_trace(folder).ok


def nth(events: list[ev.TraceEvent], kind: type[ev.TraceEvent], number: int) -> int:
    return [i for i, event in enumerate(events) if isinstance(event, kind)][number]


@pytest.mark.deep
@pytest.mark.parametrize("seed", [1, 2])
def test_a_changed_placement_is_refused(seed: int, tmp_path: Path) -> None:
    """An area is found elsewhere than the model finds it, in all events that tell of it."""
    events = drawn(seed, 2, "linux_6_12", frozenset())
    at = nth(events, ev.AreaReturn, 40)
    taken = events[at]
    assert isinstance(taken, ev.AreaReturn) and isinstance(events[at - 2], ev.AllocArea)
    base, off = events[at - 2].base, taken.off
    events[at] = replace(taken, off=off + 40000)  # no other area lies there
    for later in range(at + 1, len(events)):
        event = events[later]
        if isinstance(event, ev.Alloc | ev.Free | ev.AreaFree) and (event.base, event.off) == (
            base,
            off,
        ):
            events[later] = replace(event, off=off + 40000)
            if isinstance(event, ev.Free):
                break
    report = replayed(tmp_path, events, 2, "linux_6_12")
    assert not report.ok
    found = report.mismatches[0]
    assert found.line == at - 1 and found.what in ("placement", "start hint"), found
    assert found.nearest and len(found.nearest) <= 3
    assert any(name == "a nearest order" for name, _ in report.rows())


@pytest.mark.deep
@pytest.mark.parametrize("kind", [ev.Populated, ev.Relocate, ev.CreateChunkEvent])
def test_a_lost_event_is_named(kind: type[ev.TraceEvent], tmp_path: Path) -> None:
    events = drawn(1, 2, "linux_6_12", frozenset())
    at = nth(events, kind, -2)
    report = replayed(tmp_path, events[:at] + events[at + 1 :], 2, "linux_6_12")
    assert not report.ok
    assert at - 10 <= report.mismatches[0].line <= at + 60, (at, report.mismatches)
