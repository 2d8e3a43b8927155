"""Why a failure happened there: what room the kernel's state, or its percpu_stats, has for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from percpu_proofs.live.continuation import ask, cannot_go_on
from percpu_proofs.live.subject import SubjectKind, kind_of, read_subject
from percpu_proofs.live.verdicts import KernelStateJudge, broken
from percpu_proofs.logs.advice import MachineFacts, impossible
from percpu_proofs.logs.failures import ILLEGAL, Failure
from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.recorded.states.stats_text import ChunkStats, PercpuStats, read_stats
from percpu_proofs.run import failures
from percpu_proofs.run.room import Bound, ChunkRoom, Demand, Room, Why, capacity, room_of, why
from percpu_spec.definitions import is_legal
from percpu_spec.geometry import Geometry

_UNKNOWN_ALIGN = 4
_COMPARED = {
    "release": "kernel", "page": "bytes of a page", "unit": "bytes of a unit", "units": "units",
    "cpus": "CPUs", "reserved": "reserved bytes",
}  # fmt: skip
"""What a machine keeps while it runs, and its words."""
_ANOTHER = "the state is of another machine or boot than the log"
_NOTHING = "no conclusion is drawn from it"


@dataclass(frozen=True, slots=True)
class FailureSite:
    """Where a log's failures are looked at: a state, or percpu_stats of the same machine."""

    source: str
    what: KernelState | PercpuStats
    notes: tuple[str, ...]
    stays: str = ""  # why the model does not go on from the state; empty: it does

    @property
    def machine(self) -> MachineFacts:
        """What it tells of the machine."""
        if isinstance(self.what, PercpuStats):
            page = self.what.pages[0] if len(self.what.pages) == 1 else None
            layout = self.what.layout
            return MachineFacts(page, layout["unit_size"], reserved=layout["reserved_size"])
        g = self.what.snapshot.geometry
        return MachineFacts(
            g.page, g.unit, g.units, g.cpus, g.reserved, g.backing, self.what.release, g.text
        )

    def differs(self, log: MachineFacts) -> str:
        """Return in words what it has other than the machine of a log, empty if nothing is."""
        own = self.machine
        return ", ".join(
            f"{words} {there} in the log and {here} in the state"
            for name, words in _COMPARED.items()
            if (there := getattr(log, name)) is not None
            and (here := getattr(own, name)) is not None and here != there
        )  # fmt: skip

    def against(self, logs: Iterable[MachineFacts]) -> tuple[str, ...]:
        """Return the notes, with one for each machine of the log that is another one."""
        others = dict.fromkeys(filter(None, map(self.differs, logs)))
        return (*self.notes, *(f"{_ANOTHER}: {words}; {_NOTHING}" for words in others))

    @property
    def has_reserved(self) -> bool:
        """Whether it has a reserved chunk."""
        if isinstance(self.what, PercpuStats):
            return any(chunk.role == "reserved" for chunk in self.what.chunks)
        return self.what.snapshot.reserved_chunk is not None


def open_site(source: str) -> FailureSite:
    """Return what a file, a core or `live` holds. Raises InputError or TraceError."""
    kind = kind_of(source)
    moment = f"{source} is of a moment of its own, before the failure or after it"
    if kind is SubjectKind.STATS:
        more = (
            "percpu_stats has no maps: which pages are populated, and what lies where, is open; "
            "a state tells it (percpu-spec state live --save)"
        )
        return FailureSite(source, read_stats(Path(source)), (moment, more))
    state = read_subject(source, kind, None, owners=False)
    stays = cannot_go_on(state, broken(KernelStateJudge().verdicts(state)))
    notes = (moment, f"the model does not go on from it: {stays}") if stays else (moment,)
    return FailureSite(source, state, notes, stays)


def why_at_site(place: FailureSite, failure: Failure, machine: MachineFacts) -> Why | None:
    """Return why a failure happened in that state, or what it would get; machine: of the failure.

    None for illegal ones, those that no kernel prints, and those of another machine or boot.
    """
    page = machine.page or place.machine.page or Geometry().page
    if failure.reason == ILLEGAL or place.differs(machine):
        return None
    if impossible(failure, page, machine.version) is not None:
        return None
    if failure.reserved and not place.has_reserved:
        return _no_reserve(place)
    demand = Demand(
        failure.size, failure.align or _UNKNOWN_ALIGN, bool(failure.atomic), failure.reserved
    )
    if isinstance(place.what, PercpuStats):
        return _concluded(why(room_of_stats(place.what, demand)), demand)
    state = place.what
    if not is_legal(state.snapshot.geometry, demand.size, demand.align):
        return None
    found = why(room_of(state.snapshot, demand))
    if demand.reserved or place.stays:
        return _concluded(found, demand)
    answer = ask(state, demand)
    served = answer.chunk is not None
    says = [*found.lines, f"asked of the model in this state: {answer.words}"]
    if served and demand.atomic:
        room = capacity(state.snapshot, demand.size, demand.align)
        says.append(
            f"so it failed at another moment: here populated pages have room for {room} of them "
            "before the balance work must run again"
        )
    clauses = found.clauses
    if found.served and not served:
        says.append("room is there, and the hints of blocks hide it: HINT-5, FIT-1")
        clauses += ("HINT-5", "FIT-1")
    return Why(served, "" if served else found.reason, tuple(says), clauses)


def _no_reserve(place: FailureSite) -> Why:
    size = place.machine.reserved
    told = "" if size is None else f" (r{size})"
    line = (
        f"there is no reserved chunk in it{told}: such a kernel serves modules from the others, "
        f"and never prints '{failures.RESERVED}'; {_NOTHING}"
    )
    return Why(None, failures.RESERVED, (line,), ("API-7",))


def _concluded(found: Why, demand: Demand) -> Why:
    """Return an answer with what follows where the reserved chunk serves what failed."""
    if not (found.served and demand.reserved):
        return found
    line = (
        "so it failed at another moment: here the reserved chunk serves it, as modules that go "
        "give back what they hold"
    )
    return replace(found, lines=(*found.lines, line))


def room_of_stats(stats: PercpuStats, demand: Demand) -> Room:
    """Return what percpu_stats says of the room for a request, with bounds where it is open."""
    chunks = [_chunk(stats, chunk, demand) for chunk in stats.chunks]
    return Room(demand, stats.counters["empty_pop_pages"], tuple(chunks))


def _chunk(stats: PercpuStats, chunk: ChunkStats, demand: Demand) -> ChunkRoom:
    """Return a chunk's room. The longest run is told, how it is aligned and populated is not.

    The first and the reserved chunk have all their pages. An empty page is aligned and populated.
    """
    rows = chunk.rows
    granule = Geometry().granule
    hole = Bound(max(chunk.longest - (demand.align - granule), 0), chunk.longest)
    empty = rows["empty_pop_pages"]
    backed = hole
    if chunk.role not in ("first", "reserved"):
        backed = Bound(min(min(stats.pages) if empty else 0, hole.least), hole.most)
    special = {"first": "chunk 0 (first)", "reserved": "the reserved chunk"}
    return ChunkRoom(
        special.get(chunk.role, f"chunk {chunk.number}"),
        chunk.role if chunk.role in ("reserved", "sidelined", "to_depopulate") else "a list",
        chunk.role not in ("reserved", "to_depopulate"),
        rows["free_bytes"], rows["contig_bytes"], hole, backed, empty,
    )  # fmt: skip


def site_record(place: FailureSite, logs: Iterable[MachineFacts]) -> dict[str, Any]:
    """Return where failures of a log were looked at, with plain values."""
    return {
        "source": place.source, "notes": list(place.against(logs)),
        "stays": place.stays or None,
    }  # fmt: skip
