"""What a trace leaves open, and what was assumed or inferred in its place."""

from __future__ import annotations

from collections.abc import Sequence

from percpu_proofs.recorded.replay.moves import UNSET, MomentMove
from percpu_proofs.recorded.replay.report import Timing, TriedOrder, Undetermined
from percpu_proofs.recorded.replay.requests import TracePlan, TraceRequest
from percpu_proofs.recorded.replay.search import InferredMoment, OrderSearch
from percpu_proofs.recorded.traces import events as ev

NEAREST = 3  # orders shown for an event that none explains
_TAKEN = (ev.Alloc, ev.AllocArea, ev.Free, ev.Populated, ev.Depopulated)  # what changes the state
_MOMENTS = {
    "work": "balance work begins, or takes pcpu_lock again",
    "call": "an allocation searches, or marks its failure",
    "again": "an allocation searches in vain, before a chunk comes up",
    "creator": "another allocation creates the chunk",
}


def nearest(plan: TracePlan, search: OrderSearch) -> list[TriedOrder]:
    """Return the orders that came nearest to explaining the last contradiction."""
    lines = plan.trace.lines
    last = len(lines) - 1
    return [
        TriedOrder(
            [_shown(move, lines) for move in attempt.moves],
            lines[min(attempt.found.index, last)],
            attempt.found.kind,
            attempt.found.detail,
        )
        for attempt in search.nearest(NEAREST)
    ]


def _shown(move: MomentMove, lines: Sequence[int]) -> str:
    what = _MOMENTS[move.moment.kind]
    if move.before == UNSET:
        return f"{what} as assumed at first"
    if move.moment.kind == "creator":
        return what
    return f"{what} before line {lines[min(move.before, len(lines) - 1)]}"


def timing(plan: TracePlan, inferred: InferredMoment) -> Timing:
    """Return an inferred moment with the lines it stands for."""
    lines = plan.trace.lines
    return Timing(
        what=_MOMENTS[inferred.moment.kind],
        assumed_line=lines[min(inferred.moment.at, len(lines) - 1)],
        found_line=lines[min(inferred.before, len(lines) - 1)],
        because=inferred.because,
    )


def undetermined(plan: TracePlan, search: OrderSearch) -> list[Undetermined]:
    """Return what the trace leaves open, with what was assumed."""
    work = [c for c in search.taken.values() if c.moment.kind == "work"]
    probed = [c for c in work if c.before >= plan.probed_from]
    silent = [c for c in work if c.before < plan.probed_from]
    found = [
        Undetermined(
            "moments of the balance work between two of its events, with other work in between",
            sum(c.before > c.since for c in probed),
            "taken just before the later one",
        ),
        Undetermined(
            "runs of the balance work whose moment and pages no event shows",
            len({c.moment.at for c in silent}),
            "taken at once after being asked for, but as inferred where that cannot be",
        ),
        Undetermined(
            "requests whose place among those of other CPUs no event shows",
            sum(_unordered(plan, request) for request in plan.requests),
            "taken where they are printed, but as inferred where that cannot be",
        ),
    ]
    return [one for one in found if one.count]


def summed(one: list[Undetermined], other: list[Undetermined]) -> list[Undetermined]:
    """Return what two stretches of a trace leave open, the same things counted together."""
    found = {each.what: each for each in one}
    for each in other:
        before = found.get(each.what)
        count = each.count + (before.count if before else 0)
        found[each.what] = Undetermined(each.what, count, each.assumed)
    return list(found.values())


def _unordered(plan: TracePlan, request: TraceRequest) -> bool:
    """Return whether operations of other CPUs lie between a request's print and its CPU's last."""
    events = plan.trace.events
    cpu = events[request.index].cpu
    if request.area >= 0 or cpu is None:
        return False
    between = (events[i] for i in range(plan.before[request.index] + 1, request.index))
    return any(isinstance(event, _TAKEN) and event.cpu not in (cpu, None) for event in between)
