"""What a recorded kernel run consists of: one record type per kind of event.

Sizes, alignments and offsets are in bytes except where a field says bits or pages. Addresses are
plain integers. `t` is the recorder's clock, None for allocations logged before tracing began;
`pid` is known only where the source prints it (text does, jsonl does not).
Source: include/trace/events/percpu.h and the probes listed in a run's manifest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

UNKNOWN: Final = -1
"""The address of what a kernel printed as (ptrval): it had no key to hash addresses with yet."""
HASHES: Final = 1 << 32
"""Hashes of addresses lie below: 64-bit kernels have all their addresses above."""
FIRST: Final = 1 << 63
"""The name of a first chunk whose address is not told; others have those behind (losses.py)."""


def is_plain(base: int) -> bool:
    """Return whether the address of a chunk is a true one: no hash, and no name for want of it.

    Those of 32-bit kernels cannot be told from hashes.
    """
    return base >= HASHES and not 0 <= base - FIRST < HASHES


@dataclass(slots=True)
class TraceEvent:
    """Any recorded event."""

    t: int | None
    cpu: int | None
    pid: int | None = field(default=None, kw_only=True)


@dataclass(slots=True)
class ChunkEvent(TraceEvent):
    """Concerns the chunk at an address."""

    base: int


@dataclass(slots=True)
class PagesEvent(ChunkEvent):
    """Concerns pages [start, end) of a chunk."""

    start: int
    end: int


@dataclass(slots=True)
class Alloc(TraceEvent):
    """A successful allocation, printed after both locks are released (percpu_alloc_percpu)."""

    reserved: bool
    atomic: bool
    size: int
    align: int
    base: int
    off: int
    ptr: int
    call_site: str | None = None
    bytes_alloc: int | None = None
    gfp: str | None = None  # flag names joined by |, or a hexadecimal number


@dataclass(slots=True)
class Free(ChunkEvent):
    """A free, printed under pcpu_lock (percpu_free_percpu)."""

    off: int
    ptr: int


@dataclass(slots=True)
class Fail(TraceEvent):
    """A failed allocation, printed after pcpu_lock is released (percpu_alloc_percpu_fail)."""

    reserved: bool
    atomic: bool
    size: int
    align: int


@dataclass(slots=True)
class CreateChunkEvent(ChunkEvent):
    """A chunk created, under the mutex, before it is listed (percpu_create_chunk)."""


@dataclass(slots=True)
class DestroyChunkEvent(ChunkEvent):
    """A chunk destroyed, under the mutex, after it is unlisted (percpu_destroy_chunk)."""


@dataclass(slots=True)
class Mark(TraceEvent):
    """A line that the guest wrote into the trace (tracing_mark_write)."""

    text: str


@dataclass(slots=True)
class Lost(TraceEvent):
    """Here events are missing, as the recorder says: of one CPU, or of any (cpu None).

    They lie behind the last event of that CPU before this one. `missing` is how many, None where
    that is not told.
    """

    missing: int | None = None


@dataclass(slots=True)
class AllocArea(ChunkEvent):
    """Entry of pcpu_alloc_area, under pcpu_lock: bits wanted, alignment and start hint in bits."""

    bits: int
    align: int
    start: int


@dataclass(slots=True)
class AreaReturn(TraceEvent):
    """Return of pcpu_alloc_area, under pcpu_lock: byte offset, negative if nothing was found."""

    off: int


@dataclass(slots=True)
class AreaFree(ChunkEvent):
    """Entry of pcpu_free_area, under pcpu_lock."""

    off: int


@dataclass(slots=True)
class Populated(PagesEvent):
    """Pages [start, end) book-kept as populated, under pcpu_lock."""


@dataclass(slots=True)
class Depopulated(PagesEvent):
    """Pages [start, end) book-kept as given back, under pcpu_lock."""


@dataclass(slots=True)
class PopulateCall(PagesEvent):
    """Population of pages [start, end) asked for, pcpu_lock released."""


@dataclass(slots=True)
class BalanceEntry(TraceEvent):
    """Entry of the balance work, before the mutex."""


@dataclass(slots=True)
class BalanceReturn(TraceEvent):
    """Return of the balance work, the mutex released."""


@dataclass(slots=True)
class BalanceFree(TraceEvent):
    """Entry of pcpu_balance_free, both locks held."""

    empty_only: bool


@dataclass(slots=True)
class Relocate(ChunkEvent):
    """Entry of pcpu_chunk_relocate, under pcpu_lock, with the slot the chunk had before."""

    oslot: int
