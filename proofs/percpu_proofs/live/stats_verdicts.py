"""What the text of percpu_stats determines: the clauses that it can break, and who keeps memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from percpu_proofs.live.verdicts import Verdict, verdict_of
from percpu_proofs.recorded.states.stats_text import GRANULE, ChunkStats, PercpuStats
from percpu_proofs.run.runner import counted
from percpu_spec.catalogue import clauses
from percpu_spec.geometry import PAGE_SIZES
from percpu_spec.releases import RELEASES

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


@dataclass(frozen=True, slots=True)
class StatsRow:
    """One chunk: bytes of one unit, and what keeps its memory."""

    chunk: int
    role: str
    type: int
    areas: int
    empty_pages: int
    used_bytes: int
    free_bytes: int
    advertises: int
    longest: int
    note: str


def stats_rows(stats: PercpuStats) -> Iterator[StatsRow]:
    """Yield a row a chunk, in the order of the text."""
    for chunk in stats.chunks:
        rows = chunk.rows
        yield StatsRow(
            chunk.number, chunk.role, chunk.chunk_type, rows["nr_alloc"], rows["empty_pop_pages"],
            stats.used(chunk), rows["free_bytes"], rows["contig_bytes"], chunk.longest,
            _note(stats, chunk),
        )  # fmt: skip


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
