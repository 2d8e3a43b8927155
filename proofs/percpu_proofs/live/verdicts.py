"""What the clauses say of a kernel's state, or of its percpu_stats as far as that determines it.

Each clause holds, is broken, is known to be broken on its release, or is not asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from percpu_contracts.registry import RECORDED, STATES, Scope, When, asked, statements
from percpu_contracts.situations import subjectless
from percpu_contracts.whole_state import WholeState
from percpu_proofs.recorded.states.kernel_state import KernelState, waiting
from percpu_proofs.recorded.states.snapshot import ChunkSnapshot
from percpu_proofs.recorded.states.stats_text import ChunkStats, PercpuStats
from percpu_proofs.recorded.traces.events import GRANULE
from percpu_reference.variants import SINCE, variant_class
from percpu_spec.catalogue import clauses
from percpu_spec.counts import counted
from percpu_spec.definitions import Listing
from percpu_spec.geometry import PAGE_SIZES
from percpu_spec.releases import RELEASES

HOLDS, KNOWN, BROKEN, NOT_ASKED = "holds", "known", "broken", "not asked"
NO_BOUNDS = "the text has no boundary bits"
MAYBE_CUT = "the text does not tell how many chunks there are: it may be cut"
NO_OPERATION = "speaks of operations; a state shows none"
NOT_DETERMINED = (
    "which pages of a chunk are populated, and so what Percpu of /proc/meminfo counts",
    "which page each area pins",
    "who holds an area",
    "on which list a chunk is, but for sidelined and to_depopulate",
    "the hints of pages: HINT-2 to HINT-4, HINT-7, HINT-8",
    "the maps: MAP-1 to MAP-5, POP-2, POP-3; POP-1, but for empty pages that no free bytes are for",
    "how many CPUs and units there are",
    "the kernel's release",
    "whether work was pending: BAL-2 and RCL-3 are judged as if the allocator was at rest",
)
_IN_ORDER = ("cur_min_alloc", "cur_med_alloc", "cur_max_alloc", "max_alloc_size")
UNTOLD = "percpu_stats does not tell it"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One clause's verdict: what was found wrong, and why it is known or was not asked."""

    clause: str
    verdict: str
    found: tuple[str, ...] = ()
    reason: str = ""


def verdict_of(
    clause: str, found: Iterable[str], *, known: str = "", unasked: str = "", reason: str = ""
) -> Verdict:
    """Return a clause's verdict by what was found wrong.

    known: why it is known to be broken. unasked: why it was not asked, if nothing was found.
    reason: what is added where it is broken and not known.
    """
    messages = tuple(found)
    if messages:
        return Verdict(clause, KNOWN if known else BROKEN, messages, known or reason)
    return Verdict(clause, NOT_ASKED if unasked else HOLDS, (), unasked)


def verdict_records(verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """Return verdicts with plain values, by clause."""
    return {
        v.clause: {"verdict": v.verdict, "found": list(v.found), "reason": v.reason}
        for v in verdicts.values()
    }


def broken(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Return the clauses that are broken, and not known to be on the kernel's release."""
    return [clause for clause, verdict in verdicts.items() if verdict.verdict == BROKEN]


class KernelStateJudge:
    """Judges states of one kernel, one after the other: what has not changed costs little."""

    def __init__(self) -> None:
        self._whole = WholeState({"HINT-6": ""})

    def verdicts(self, state: KernelState) -> dict[str, Verdict]:
        """Return the verdict of every clause, in the catalogue's order.

        Those on a torn state are hints: what they read may have changed meanwhile.
        """
        waits = waiting(state.quiescence, state.signs)
        found: dict[str, list[str]] = defaultdict(list)
        for clause, wrong in self._found(state, waits):
            found[clause].append(wrong)
        known = variant_class(state.variant).EXPECTED if state.variant else {}
        releases = _releases(state.variant)
        reasons = subjectless(Listing(state.snapshot)) | _not_asked(state, waits)
        return {
            clause: verdict_of(
                clause, found[clause], unasked=reasons.get(clause, ""),
                known=f"known on {releases}: {known[clause]}" if clause in known else "",
                reason=MAYBE_CUT if clause == "POP-3" and _lacks_chunks(state) else "",
            )
            for clause in clauses()
        }  # fmt: skip

    def _found(self, state: KernelState, waits: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Yield (clause, what is wrong), with the chunk's number."""
        for chunk in state.names:
            for clause, wrong in chunk_violations(self._whole, state, chunk, waits):
                if clause != "MAP-3" or chunk.has_bounds:
                    yield clause, wrong
        listing = Listing(state.snapshot)
        moments = When.ALWAYS, When.ISOLATED, When.QUIESCENT
        for clause, predicate in asked(Scope.ALLOCATOR, *moments, without=set(waits)):
            wrong = predicate(listing)
            if wrong is not None and not (clause == "FLT-1" and _may_be_held(listing, waits)):
                yield clause, wrong


def chunk_violations(
    whole: WholeState, state: KernelState, chunk: ChunkSnapshot, waits: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield (clause, what is wrong) of one chunk; waits: clauses that are not asked now."""
    for clause, wrong in whole.broken_by(chunk, state.snapshot.geometry, "POP-1" not in waits):
        yield clause, f"chunk {state.names[chunk]}: {wrong.removeprefix('chunk: ')}"


def _may_be_held(listing: Listing, waits: Mapping[str, str]) -> bool:
    """Return whether a chunk that a step holds off the lists may account for what the float has.

    That is so while the mutex is held: chunks that the work destroys are on a list of its own until
    their pages are gone, and count. Then their pages are missing among the populated ones too.
    """
    if "POP-3" not in waits:
        return False
    floats = sum(listing.float_of(kind) for kind in range(listing.chunk_types))
    counted = sum(c.nr_empty_pop_pages for c in listing.live if not c.isolated)
    populated = [p for c, p in asked(Scope.ALLOCATOR, When.ALWAYS) if c == "POP-3"]
    return floats > counted and any(predicate(listing) for predicate in populated)


def _lacks_chunks(state: KernelState) -> bool:
    """Return whether a text that may be cut has fewer populated pages than the kernel counted."""
    snapshot = state.snapshot
    listed = sum(chunk.populated.count(1) for chunk in state.chunks)
    # the first chunk's pages are counted with those of the static and reserved parts
    apart = snapshot.geometry.static + snapshot.geometry.reserved
    return not state.counts and snapshot.nr_populated > listed + -(-apart // snapshot.geometry.page)


def _not_asked(state: KernelState, waits: Mapping[str, str]) -> dict[str, str]:
    """Return why some clauses are not asked of a state."""
    reasons = dict.fromkeys(RECORDED.not_asked(), NO_OPERATION)
    in_step = {s.clause for s in statements() if s.scope in STATES}
    reasons |= {clause: reason for clause, reason in waits.items() if clause in in_step}
    if not all(chunk.has_bounds for chunk in state.snapshot.chunks()):
        reasons["MAP-3"] = NO_BOUNDS
    inapplicable = variant_class(state.variant).NOT_APPLICABLE if state.variant else {}
    reasons |= {"HINT-6": "asked of reference only", **inapplicable}
    return reasons


def _releases(variant: str) -> str:
    """Return the releases that a variant stands for, in words."""
    listed = next((one.releases for one in RELEASES if one.variant == variant), "")
    if listed or variant not in SINCE:
        return listed
    first = SINCE[variant]
    major, behind = min(since for since in SINCE.values() if since > first)
    return f"{first[0]}.{first[1]} to {major}.{behind - 1}"


def stats_verdicts(stats: PercpuStats) -> dict[str, Verdict]:
    """Return the verdict of every clause; what is broken on all releases with it is known."""
    asked = {
        "FLT-1": _float, "BAL-2": _free_chunks, "RCL-3": _stranded, "STAT-1": _counts,
        "HINT-1": _overclaimed, "HINT-5": _behind, "POP-1": _without_room,
    }  # fmt: skip
    verdicts = {}
    for clause in clauses():
        found = asked[clause](stats) if clause in asked else ()
        releases = [one.releases for one in RELEASES if clause in one.breaks]
        known = f"known on {releases[0].split()[0]} to {RELEASES[-1].releases}" if releases else ""
        unasked = UNTOLD if clause not in asked or clause == "POP-1" else ""
        if clause == "HINT-5" and (chunks := ", ".join(map(str, _may_be_behind(stats)))):
            unasked = f"whether the longest run lies in one page is not told (chunk {chunks})"
        verdicts[clause] = verdict_of(clause, found, known=known, unasked=unasked)
    return verdicts


def _listed(stats: PercpuStats) -> list[ChunkStats]:
    return [chunk for chunk in stats.chunks if chunk.role != "reserved"]


def floats(stats: PercpuStats) -> list[int]:
    """Return the sum of the chunks' empty populated pages for each type, isolated ones left out."""
    return [
        sum(c.rows["empty_pop_pages"] for c in _listed(stats)
            if not c.isolated and c.chunk_type == kind)
        for kind in range(stats.types)
    ]  # fmt: skip


def empty_pages(stats: PercpuStats, role: str) -> int:
    """Return the empty populated pages of a unit that isolated chunks keep, in no float.

    role: sidelined, which strands them, or to_depopulate, which the work is to release.
    """
    return sum(c.rows["empty_pop_pages"] for c in stats.chunks if c.role == role)


def isolated_words(stats: PercpuStats) -> str:
    """Return in words which pages isolated chunks keep."""
    waiting = empty_pages(stats, "to_depopulate")
    waits = f", {waiting} on to_depopulate for the work to release" if waiting else ""
    return f"{counted(empty_pages(stats, 'sidelined'), 'page')} stranded in sidelined chunks{waits}"


def _without_room(stats: PercpuStats) -> Iterator[str]:
    """POP-1 as far as it is determined: what is free has room for the empty pages."""
    page = min(stats.pages, default=min(PAGE_SIZES))
    for chunk in stats.chunks:
        empty, free = chunk.rows["empty_pop_pages"], chunk.rows["free_bytes"]
        room = free // page if chunk.longest >= page else 0
        if empty > room:
            longest = f", {chunk.longest} in a row" if chunk.longest < free else ""
            yield (
                f"chunk {chunk.number}: {counted(empty, 'empty page')} in {free} free "
                f"bytes{longest}"
            )


def _float(stats: PercpuStats) -> Iterator[str]:
    printed, sums = stats.counters["empty_pop_pages"], floats(stats)
    if printed not in (sum(sums), sums[0]):  # some 5.10.y print the first type's alone
        yield f"empty_pop_pages {printed}, the chunks' sum to {counted(sum(sums), 'page')}"


def _fully_free(stats: PercpuStats) -> list[ChunkStats]:
    return [c for c in _listed(stats)
            if c.role != "first" and c.rows["free_bytes"] == stats.unit]  # fmt: skip


def _free_chunks(stats: PercpuStats) -> Iterator[str]:
    for kind in range(stats.types):
        free = [chunk for chunk in _fully_free(stats) if chunk.chunk_type == kind]
        if len(free) > 1:
            of = f" of type {kind}" if stats.types > 1 else ""
            yield f"{len(free)} fully free chunks{of}, if no work was pending"


def _stranded(stats: PercpuStats) -> Iterator[str]:
    for chunk in _listed(stats):
        pages = chunk.rows["empty_pop_pages"]
        if chunk.role == "to_depopulate":
            yield f"chunk {chunk.number} waits on to_depopulate, if no work was pending"
        elif chunk.isolated and pages:
            yield f"chunk {chunk.number} is sidelined and keeps {counted(pages, 'empty page')}"


def _counts(stats: PercpuStats) -> Iterator[str]:
    rows = stats.counters
    lives = sum(chunk.rows["nr_alloc"] for chunk in stats.chunks)
    current = rows["nr_cur_alloc"]
    if not current == rows["nr_alloc"] - rows["nr_dealloc"] == lives:
        made = rows["nr_alloc"] - rows["nr_dealloc"]
        yield f"nr_cur_alloc {current}, made less freed {made}, areas of the chunks {lives}"
    yield from _areas(stats)
    yield from _sizes(stats)
    if rows["nr_chunks"] != len(_listed(stats)):
        yield f"nr_chunks {rows['nr_chunks']}, {len(_listed(stats))} are listed"
    for name in ("alloc", "chunks"):
        now, most = rows[f"nr_cur_{name}" if name == "alloc" else "nr_chunks"], f"nr_max_{name}"
        if rows.get(most, now) < now:
            yield f"{most} {rows[most]}, below the present {now}"


def _areas(stats: PercpuStats) -> Iterator[str]:
    """Each area takes a granule at least, and what is used is areas.

    That of the first chunk may be some bytes of the static part, which ends on no granule.
    """
    for chunk in stats.chunks:
        areas, used = chunk.rows["nr_alloc"], stats.used(chunk)
        if areas * GRANULE > used or (used >= GRANULE and not areas):
            yield f"chunk {chunk.number}: {counted(areas, 'area')} in {used} used bytes"


def _sizes(stats: PercpuStats) -> Iterator[str]:
    """The sizes of a chunk's areas are in order, and within what was ever seen.

    Of an area that ends a unit the kernel leaves out the last granule.
    """
    for chunk in stats.chunks:
        rows = chunk.rows
        if not any(rows.get(f"cur_{which}_alloc", 0) for which in ("min", "med", "max")):
            continue
        ends = rows["free_bytes"] == rows["sum_frag"]
        least = stats.counters.get("min_alloc_size", 0) - GRANULE * ends
        told = [
            ("min_alloc_size", least),
            *((name, rows[name]) for name in _IN_ORDER if name in rows),
            ("max_alloc_size of all", stats.counters.get("max_alloc_size", stats.unit)),
        ]
        for (small, less), (large, more) in pairwise(told):
            if less > more:
                yield f"chunk {chunk.number}: {small} {less}, above {large} {more}"


def _overclaimed(stats: PercpuStats) -> Iterator[str]:
    for chunk in stats.chunks:
        contig = chunk.rows["contig_bytes"]
        if contig > chunk.longest:
            yield f"chunk {chunk.number}: contig_bytes {contig}, longest run {chunk.longest} bytes"


def _behind(stats: PercpuStats) -> Iterator[str]:
    """HINT-5 as far as it is determined: a chunk is behind by a page of the largest that fits."""
    page = max(stats.pages, default=max(PAGE_SIZES))
    for chunk in stats.chunks:
        short = chunk.longest - chunk.rows["contig_bytes"]
        if short >= page:
            yield f"chunk {chunk.number}: contig_bytes is {short} short of its longest run"


def _may_be_behind(stats: PercpuStats) -> list[int]:
    """Return the chunks of which it is not determined: a run that fits in a page may lie in one."""
    page = max(stats.pages, default=max(PAGE_SIZES))
    least = min(stats.pages, default=min(PAGE_SIZES))
    return [
        chunk.number for chunk in stats.chunks
        if (short := chunk.longest - chunk.rows["contig_bytes"]) > 0
        and (chunk.longest <= page or short >= least)
    ]  # fmt: skip


def stats_rows(stats: PercpuStats) -> Iterator[dict[str, int | str]]:
    """Yield a row a chunk, in the order of the text: bytes of one unit, what keeps its memory."""
    for chunk in stats.chunks:
        rows = chunk.rows
        yield {
            "chunk": chunk.number, "role": chunk.role, "type": chunk.chunk_type,
            "areas": rows["nr_alloc"], "empty_pages": rows["empty_pop_pages"],
            "used_bytes": stats.used(chunk), "free_bytes": rows["free_bytes"],
            "advertises": rows["contig_bytes"], "longest": chunk.longest,
            "note": _note(stats, chunk),
        }  # fmt: skip


def _note(stats: PercpuStats, chunk: ChunkStats) -> str:
    """Return what keeps a chunk's memory."""
    areas, empty = chunk.rows["nr_alloc"], chunk.rows["empty_pop_pages"]
    if chunk.role in ("first", "reserved"):
        return ""
    if chunk.role == "to_depopulate":
        return f"waits for the work, with {counted(empty, 'empty page')}"
    if chunk.isolated and empty:
        return f"{counted(empty, 'empty page')} stranded"
    if not areas:
        return "fully free"
    if not empty and chunk.rows["free_bytes"] > stats.unit // 2:
        pin = "pins" if areas == 1 else "pin"
        return f"no empty page: {counted(areas, 'area')} {pin} what is populated"
    return ""
