"""What a comparison with a recorded run found: figures, differences, and what was assumed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from percpu_contracts.contract import Level
from percpu_proofs.recorded.replay.holders import WhoReport
from percpu_proofs.run.failures import Failures
from percpu_proofs.run.runner import ClauseVerdict, Sample
from percpu_spec.counts import counted

SHOWN = 20  # differences and mismatches listed; all are counted


@dataclass(slots=True)
class TriedOrder:
    """Moments placed elsewhere, and the event that the model does not produce then."""

    moments: list[str]
    line: int
    what: str
    detail: str


@dataclass(slots=True)
class EventMismatch:
    """An event that the model did not produce."""

    line: int
    t: int | None
    what: str
    detail: str
    tried: int = 0  # other orders in which it was not produced either
    nearest: list[TriedOrder] = field(default_factory=list)  # those of them that came furthest


@dataclass(slots=True)
class SnapshotReport:
    """The model's state against one recorded state."""

    phase: str
    torn: bool  # events lie between its begin and its end
    compared: bool  # the replay was there
    differences: list[dict[str, str]] = field(default_factory=list)  # the first ones
    counts: dict[str, int] = field(default_factory=dict)  # of each kind that differs
    undetermined: tuple[str, ...] = ()  # kinds that this trace leaves open

    @property
    def equal(self) -> bool:
        """Whether nothing differs that the trace determines, or the recording is torn."""
        return self.torn or not set(self.counts) - set(self.undetermined)


@dataclass(slots=True)
class Loss:
    """Where the recorder lost events, of which CPU, and how many; None where it does not say."""

    line: int
    cpu: int | None
    count: int | None


@dataclass(slots=True)
class ReplayStretch:
    """Events that were replayed without a break: where they stand, and what they begin from."""

    first_line: int
    last_line: int
    start: str
    events: int


@dataclass(slots=True)
class PartReport:
    """How much of a trace was checked without a state to begin from, and what that leaves open."""

    events: int = 0
    allocations: int = 0  # each for its alignment, its bounds, and what is known to be in use
    failures: int = 0
    frees: int = 0
    frees_known: int = 0  # of areas that these events saw allocated
    hashed: bool = False  # addresses: which are equal can be told, and offsets
    chunks: dict[str, str] = field(default_factory=dict)  # by address: what is known of each
    undetermined: tuple[str, ...] = (
        "which areas were in use before: an allocation may lie on one, a free may be of none",
        "hints, lists and populated pages: no placement was computed",
    )


@dataclass(slots=True)
class Timing:
    """A moment that no event shows, where another event shows that the rule's guess is wrong.

    Two legal timings that differ: under the first the model does what `because` says, under the
    second it produces what the kernel did.
    """

    what: str
    assumed_line: int  # where the rule puts it
    found_line: int  # it lay just before this
    because: str  # the contradiction that the assumption led to


@dataclass(slots=True)
class Undetermined:
    """Something that the trace does not tell, how often, and what was assumed."""

    what: str
    count: int
    assumed: str


@dataclass(slots=True)
class TraceReport:
    """One run against the model. Counts are of events; a placement is chunk and offset."""

    run: str
    kernel: str
    variant: str
    start: str  # the state that the replay begins in
    inputs: tuple[str, ...]  # what is taken from the trace
    contracts: Level = "off"
    allocations: int = 0
    placed: int = 0
    failures: int = 0
    failures_matched: int = 0
    failed: Failures = field(default_factory=Failures)
    start_hints: int = 0
    start_hints_matched: int = 0
    frees: int = 0
    skipped: int = 0  # allocations and frees before the state that the replay begins in
    unasked_work: int = 0  # balance work that ran although the model had not asked for it
    snapshots: list[SnapshotReport] = field(default_factory=list)
    mismatches: list[EventMismatch] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    undetermined: list[Undetermined] = field(default_factory=list)
    replays: int = 0  # parts replayed with other timings
    lost: list[Loss] = field(default_factory=list)
    stretches: list[ReplayStretch] = field(default_factory=list)  # that were replayed
    partly: PartReport | None = None  # events that were not, checked as far as they tell
    who: WhoReport = field(default_factory=WhoReport)
    memory: list[Sample] = field(default_factory=list)  # over time, by event
    checked: int = 0  # events replayed under contracts
    clauses: list[ClauseVerdict] = field(default_factory=list)
    stopped_by: str | None = None  # the clause whose unexpected violation ended the check
    final_checksum: int | None = None  # of the state after the last event
    doubt: str = ""  # why the state that it begins in may be of another moment
    waiting: str = ""  # why the run could not be compared at all
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the model produced everything that the trace determines."""
        return (
            not self.waiting
            and not self.mismatches
            and self.placed == self.allocations
            and self.failures_matched == self.failures
            and self.start_hints_matched == self.start_hints
            and self.unasked_work == 0
            and self.stopped_by is None
            and all(s.equal and s.compared for s in self.snapshots)
        )

    @property
    def violations(self) -> list[ClauseVerdict]:
        """The clauses found broken under contracts, those the variant declares included."""
        return [verdict for verdict in self.clauses if verdict.verdict == "violated"]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        clauses = {v.clause: asdict(v) for v in self.clauses}
        violations = {v.clause: clauses[v.clause] for v in self.violations}
        checked = {
            "replayed": sum(stretch.events for stretch in self.stretches),
            "partly": self.partly.events if self.partly else 0,
        }
        return asdict(self) | {
            "ok": self.ok, "clauses": clauses, "violations": violations, "events": checked,
        }  # fmt: skip

    def rows(self) -> list[tuple[str, str]]:
        """Return name and value of each line of a summary, markup of rich in the values."""
        rows = [("run", f"{self.run} ({self.kernel})")]
        if self.waiting:
            rows.append(("compared", f"[yellow]no: {self.waiting}[/yellow]"))
            return [*rows, ("allocations", f"{self.allocations}, none compared")]
        whole = [s for s in self.snapshots if not s.torn]
        if self.stretches:
            rows.append(("model", f"{self.variant}, from {self.start}"))
            rows.append(("allocations placed", _ratio(self.placed, self.allocations)))
            rows.append(("failures matched", _ratio(self.failures_matched, self.failures)))
        else:
            rows.append(("begins from", f"[yellow]{self.start}[/yellow]"))
        rows.extend(self._part_rows())
        if self.start_hints:
            rows.append(("start hints", _ratio(self.start_hints_matched, self.start_hints)))
        if whole:
            equal = sum(s.compared and s.equal for s in whole)
            rows.append(("quiet states equal", _ratio(equal, len(whole))))
            exact = sum(s.compared and not s.counts for s in whole)
            if exact < equal:
                rows.append(("of them in everything", str(exact)))
        if torn := [s.phase for s in self.snapshots if s.torn]:
            rows.append(("torn states", ", ".join(torn)))
        if self.doubt:
            rows.append(("the state", f"[yellow]{self.doubt}[/yellow]"))
        for m in self.mismatches[:SHOWN]:
            tried = f" ({counted(m.tried, 'order')} tried)" if m.tried else ""
            rows.append(("mismatch", f"[red]line {m.line}: {m.what}: {m.detail}[/red]{tried}"))
            for order in m.nearest:
                found = f"line {order.line}: {order.what}: {order.detail}"
                rows.append(("a nearest order", f"{'; '.join(order.moments)}; then {found}"))
        rows.extend(("left open", f"{u.what}: {u.count}, {u.assumed}") for u in self.undetermined)
        if self.timings:
            stretches = "stretch" if self.replays == 1 else "stretches"
            tried = f"{self.replays} {stretches} tried"
            rows.append(("timings inferred", f"{len(self.timings)}, {tried}"))
        if self.unasked_work:
            rows.append(("work not asked for", f"[red]{self.unasked_work}[/red]"))
        rows.append(("seconds", f"{self.seconds:.1f}"))
        return rows

    def _part_rows(self) -> list[tuple[str, str]]:
        """Return what was lost, what was not replayed, and what was checked of that."""
        rows = []
        for loss in self.lost[:SHOWN]:
            count = "events" if loss.count is None else counted(loss.count, "event")
            cpu = "" if loss.cpu is None else f" of CPU {loss.cpu}"
            rows.append(("lost", f"[yellow]{count}{cpu}, told in line {loss.line}[/yellow]"))
        for again in self.stretches[1:]:
            rows.append(("begun anew", f"from {again.start}, line {again.first_line}"))
        if self.partly is None:
            if self.skipped:
                skipped = counted(self.skipped, "operation")
                rows.append(("before the start", f"{skipped}, not compared"))
            return rows
        part = self.partly
        checked = (
            f"{counted(part.events, 'event')}: {counted(part.allocations, 'allocation')} for "
            f"alignment, bounds and what is known to be in use; {counted(part.frees, 'free')}, "
            f"{part.frees_known} of areas whose allocation was seen"
        )
        rows.append(("checked alone", checked))
        if part.hashed:
            rows.append(("addresses", "hashed: only offsets, and which are equal, can be told"))
        rows.extend((f"chunk {name}", what) for name, what in list(part.chunks.items())[:SHOWN])
        rows.extend(("left open", what) for what in part.undetermined)
        return rows


def _ratio(part: int, whole: int) -> str:
    colour = "green" if part == whole else "red"
    return f"[{colour}]{part} of {whole}[/{colour}]"
