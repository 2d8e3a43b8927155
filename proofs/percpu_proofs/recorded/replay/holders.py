"""Who holds percpu memory at a moment of a trace, by the place that asked for it and by page."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from percpu_proofs.recorded.source import lines_of, problem
from percpu_proofs.recorded.states.snapshot import Snapshot, pages_of
from percpu_proofs.recorded.traces import events as ev
from percpu_proofs.recorded.traces.dialects import is_callers, stack_frame
from percpu_proofs.recorded.traces.reader import TraceRun
from percpu_proofs.run.inputs import TraceError

BEFORE: Final = "(allocated before the trace)"
UNTOLD: Final = "(call site not printed)"
_PAGE: Final = 4096  # bytes, where no layout tells

_LEAKS: Final = re.compile(
    r"\[[0-9]{2}(?::[0-9]{2}){2}\] Top [0-9]+ stacks with outstanding allocations:"
)
_STACK: Final = re.compile(r"\s*([0-9]{1,18}) bytes in ([0-9]{1,18}) allocations from stack\s*")
_LEAK: Final = re.compile(r"\s*addr = \S+ size = [0-9]+\s*")
_SIZE_BEHIND: Final = re.compile(r"(?<=[0-9a-f])/0x[0-9a-f]+")

PageOf = tuple[int, int]  # chunk address and page number


@dataclass(slots=True)
class Holder:
    """One place that asked for memory, and what of it is in use. Bytes are those of one unit."""

    call_site: str
    areas: int = 0
    bytes: int = 0
    pages: int = 0  # that its areas touch
    chunks: int = 0
    pins_pages: int = 0  # of them those where no one else has an area: freed if it frees
    pins_chunks: list[str] = field(default_factory=list)  # likewise, by address


@dataclass(slots=True)
class HeldPage:
    """One page in use: by how many areas and bytes, and whose they are."""

    chunk: str
    page: int
    areas: int
    bytes: int
    call_sites: list[str]


@dataclass(slots=True)
class WhoReport:
    """The areas in use after so many events. `complete` tells whether they are all there are."""

    at: int = 0
    line: int = 0
    complete: bool = True
    why: str = ""  # what may be missing
    areas: int = 0
    bytes: int = 0
    page: int = _PAGE
    call_sites: list[Holder] = field(default_factory=list)  # who holds most bytes first
    pages: list[HeldPage] = field(default_factory=list)  # by chunk and page


class _Area(NamedTuple):
    """An area in use, and who asked for it."""

    size: int
    site: str


class Holders:
    """Follows the areas in use through a run; a replay says where it knows all of them."""

    def __init__(self, run: TraceRun, at: int | None) -> None:
        """`at`: how many events, marks not counted, are taken; None: all."""
        self.run = run
        self.at = at
        self.known: dict[int, dict[PageOf, int]] = {}  # by event: sizes of all areas in use
        self.live: dict[tuple[int, int], _Area] = {}
        self.out = WhoReport()

    def begins(self, index: int, state: Snapshot | None) -> None:
        """Note that before event `index` all areas in use are known: none, or those of a state."""
        self.known[index] = {
            (chunk.base_addr, off): size
            for chunk in (state.chunks() if state is not None else ())
            for off, size in chunk.areas.items()
        }

    def report(self) -> WhoReport:
        """Return who holds what at the moment asked for."""
        out, trace = self.out, self.run.trace
        if 0 not in self.known:
            out.complete, out.why = False, "areas allocated before the first event are not known"
        for index, event in enumerate(trace.events):
            if index in self.known:
                self._all_known(self.known[index])
            if isinstance(event, ev.Mark):
                continue
            if self.at is not None and out.at >= self.at:
                break
            if isinstance(event, ev.Lost):
                out.complete = False
                out.why = (
                    "events are lost: areas freed meanwhile may still be listed, areas allocated "
                    "then are missing"
                )
                continue
            out.at += 1
            out.line = trace.lines[index]
            match event:
                case ev.Alloc():
                    # some tools print the function's size behind the offset, others not
                    site = _SIZE_BEHIND.sub("", event.call_site or UNTOLD)
                    self.live[event.base, event.off] = _Area(event.size, site)
                case ev.Free():
                    self.live.pop((event.base, event.off), None)
                case ev.DestroyChunkEvent():
                    self.live = {k: v for k, v in self.live.items() if k[0] != event.base}
                case _:
                    pass
        else:
            if len(trace.events) in self.known:
                self._all_known(self.known[len(trace.events)])
        self._group()
        return out

    def _all_known(self, sizes: dict[PageOf, int]) -> None:
        """Take over all areas in use; whose they are stays known where events told."""
        self.out.complete, self.out.why = True, ""
        sites = {(place, area.size): area.site for place, area in self.live.items()}
        self.live = {
            place: _Area(size, sites.get((place, size), BEFORE)) for place, size in sizes.items()
        }

    def _group(self) -> None:
        out = self.out
        if self.run.sizes is not None:
            out.page = self.run.sizes.page
        of_page: defaultdict[PageOf, list[str]] = defaultdict(list)
        inside: Counter[PageOf] = Counter()  # bytes
        of_chunk: defaultdict[int, set[str]] = defaultdict(set)
        holders: dict[str, Holder] = {}
        for (base, off), (size, site) in self.live.items():
            holder = holders.setdefault(site, Holder(site))
            holder.areas += 1
            holder.bytes += size
            of_chunk[base].add(site)
            for page, part in pages_of(off, size, out.page):
                of_page[base, page].append(site)
                inside[base, page] += part
        out.areas, out.bytes = len(self.live), sum(area.size for area in self.live.values())
        for base, of in sorted(of_chunk.items()):
            for site in of:
                holders[site].chunks += 1
                holders[site].pins_chunks += [f"{base:x}"] if len(of) == 1 else []
        for (base, page), areas in sorted(of_page.items()):
            sites = sorted(set(areas))
            for site in sites:
                holders[site].pages += 1
                holders[site].pins_pages += len(sites) == 1
            out.pages.append(
                HeldPage(f"{base:x}", page, len(areas), inside[base, page], sites)
            )
        out.call_sites = _most_first(holders.values())


def is_memleak(path: Path) -> bool:
    """Return whether a file is what memleak prints, by its first line that is no comment."""
    if not path.is_file():
        return False
    try:
        first = next((text for _, text in lines_of(path) if text and text[0] != "#"), "")
    except TraceError:
        return False  # the reader of traces says what is wrong
    return _LEAKS.fullmatch(first.strip()) is not None


def of_memleak(path: Path) -> WhoReport:
    """Return who holds memory by the last report that bcc's memleak --percpu printed in a file.

    Whoever asked for an area is the first place of its stack outside the allocator. Raises
    TraceError for a line that memleak does not print.
    """
    stacks: list[Holder] = []
    last = 0  # line of a stack
    for number, text in lines_of(path):
        if _LEAKS.fullmatch(text.strip()):
            stacks.clear()
        elif group := _STACK.fullmatch(text):
            stacks.append(Holder("", areas=int(group[2]), bytes=int(group[1])))
            last = number
        elif text.strip() and text[0] != "#" and not _LEAK.fullmatch(text):
            place = stack_frame(text)
            if place is None or not stacks:
                raise problem(path, number, "N bytes in N allocations from stack, or a place", text)
            place = re.sub(r" \[kernel\]$", "", place)
            if not stacks[-1].call_site and is_callers(place):
                stacks[-1].call_site = place
    sites: dict[str, Holder] = {}
    for one in stacks:
        site = one.call_site or UNTOLD
        holder = sites.setdefault(site, Holder(site))
        holder.areas += one.areas
        holder.bytes += one.bytes
    return WhoReport(
        line=last if stacks else 0,
        complete=False,
        why="memleak tells neither chunks nor pages, and the first stacks alone; a trace with its "
        "state does (conform recorder)",
        areas=sum(one.areas for one in stacks),
        bytes=sum(one.bytes for one in stacks),
        call_sites=_most_first(sites.values()),
    )


def _most_first(holders: Iterable[Holder]) -> list[Holder]:
    return sorted(holders, key=lambda one: (-one.bytes, one.call_site))
