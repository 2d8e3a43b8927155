"""What events alone tell, where no state says what was allocated before them."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from percpu_proofs.conformance.report import Mismatch, PartReport
from percpu_proofs.traces.events import (
    HASHES,
    UNKNOWN,
    Alloc,
    CreateChunk,
    DestroyChunk,
    Fail,
    Free,
    Lost,
)
from percpu_proofs.traces.reader import Trace
from percpu_spec.geometry import Geometry

_IMAGE = 1 << 31  # where percpu symbols begin at 0 (x86-64), these are pointers into the image
CREATED = "created in the trace: vmalloc memory, not the kernel's linear map"
FIRST = "the first chunk: pointers into it are offsets in the unit of boot"
RESERVED = "the reserved chunk"
_GRANULE = 4  # bytes: what sizes and offsets are multiples of


@dataclass(slots=True)
class _Chunk:
    """What is known of a chunk: areas in use by offset, and offsets known to be freed."""

    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)  # off: (bytes, pointer)
    offsets: list[int] = field(default_factory=list)  # of areas in use, in order
    freed: set[int] = field(default_factory=set)
    origin: str = "there before these events"
    allocations: int = 0
    lowest: int = 0  # offset of them


class Partly:
    """Checks events that follow one another, nothing of them missing, without a state."""

    def __init__(self, trace: Trace, geometry: Geometry | None, out: PartReport) -> None:
        self.trace = trace
        self.unit = geometry.unit if geometry is not None else None
        self.out = out
        self.problems: list[Mismatch] = []
        self.chunks: defaultdict[int, _Chunk] = defaultdict(_Chunk)

    def check(self, indexes: Iterable[int]) -> list[Mismatch]:
        """Return what contradicts the events before it. A loss makes everything unknown."""
        for index in indexes:
            event = self.trace.events[index]
            self.out.events += not isinstance(event, Lost)
            match event:
                case Lost():
                    self.chunks.clear()
                case Alloc():
                    self._allocated(index, event)
                case Free():
                    self._freed(index, event)
                case Fail():
                    self.out.failures += 1
                case CreateChunk() | DestroyChunk() if event.base != UNKNOWN:
                    chunk = self.chunks.pop(event.base, None)
                    if chunk is not None and chunk.sizes:
                        said = "created" if isinstance(event, CreateChunk) else "destroyed"
                        detail = f"chunk {event.base:x} {said} with {len(chunk.sizes)} areas in it"
                        self._wrong(index, "chunk", detail)
                    if isinstance(event, CreateChunk):
                        self.chunks[event.base].origin = CREATED
                case _:
                    pass
        return self.problems

    def _wrong(self, index: int, kind: str, detail: str) -> None:
        t = self.trace.events[index].t
        self.problems.append(Mismatch(self.trace.lines[index], t, kind, detail))

    def _allocated(self, index: int, event: Alloc) -> None:
        self.out.allocations += 1
        off, size = event.off, event.size
        if off % max(event.align, _GRANULE):
            self._wrong(index, "alignment", f"offset {off} is no multiple of {event.align}")
        if size <= 0 or size % _GRANULE or (self.unit and off + size > self.unit):
            bound = f" in a unit of {self.unit}" if self.unit else ""
            self._wrong(index, "bounds", f"{size} bytes at offset {off}{bound}")
        if event.base == UNKNOWN:
            return
        chunk = self.chunks[event.base]
        self.out.hashed |= 0 < event.base < HASHES
        if event.base >= HASHES and event.ptr < _IMAGE:
            chunk.origin = RESERVED if event.reserved else FIRST
        chunk.lowest = min(chunk.lowest, off) if chunk.allocations else off
        chunk.allocations += 1
        self.out.chunks[f"{event.base:x}"] = (
            f"{chunk.origin}; {chunk.allocations} allocations, the lowest at offset {chunk.lowest}"
        )
        place = bisect_left(chunk.offsets, off)
        near = chunk.offsets[max(place - 1, 0) : place + 1]
        over = [o for o in near if o < off + size and off < o + chunk.sizes[o][0]]
        if over:
            detail = f"{event.base:x}+{off}, {size} bytes: in use since an allocation at +{over[0]}"
            self._wrong(index, "double placement", detail)
        if off not in chunk.sizes:
            chunk.offsets.insert(place, off)
        chunk.sizes[off] = size, event.ptr
        chunk.freed -= set(range(off, off + size, _GRANULE)) & chunk.freed

    def _freed(self, index: int, event: Free) -> None:
        self.out.frees += 1
        if event.base == UNKNOWN:
            return
        chunk, off = self.chunks[event.base], event.off
        known = chunk.sizes.pop(off, None)
        if known is not None:
            self.out.frees_known += 1
            del chunk.offsets[bisect_left(chunk.offsets, off)]
            if event.ptr != known[1]:
                detail = f"{event.base:x}+{off} has pointer {event.ptr:x}, allocated {known[1]:x}"
                self._wrong(index, "pointer", detail)
        elif off in chunk.freed:
            self._wrong(index, "free", f"{event.base:x}+{off}: free already, or events are lost")
        chunk.freed.add(off)
