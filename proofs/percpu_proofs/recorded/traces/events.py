"""What a recorded kernel run consists of: one record type per kind of event.

Sizes, alignments and offsets are in bytes except where a field says bits or pages. Addresses are
plain integers. `t` is the recorder's clock, None for allocations logged before tracing began;
`pid` is known only where the source prints it (text does, jsonl does not).
Source: include/trace/events/percpu.h and the probes listed in a run's manifest.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

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


class Alloc(NamedTuple):
    """A successful allocation, printed after both locks are released (percpu_alloc_percpu)."""

    t: int | None
    cpu: int | None
    reserved: bool
    atomic: bool
    size: int
    align: int
    base: int
    off: int
    ptr: int
    bytes_alloc: int | None = None
    gfp: str | None = None  # flag names joined by |, or a hexadecimal number
    call_site: str | None = None
    pid: int | None = None


class Free(NamedTuple):
    """A free, printed under pcpu_lock (percpu_free_percpu)."""

    t: int | None
    cpu: int | None
    base: int
    off: int
    ptr: int
    pid: int | None = None


class Fail(NamedTuple):
    """A failed allocation, printed after pcpu_lock is released (percpu_alloc_percpu_fail)."""

    t: int | None
    cpu: int | None
    reserved: bool
    atomic: bool
    size: int
    align: int
    pid: int | None = None


class CreateChunkEvent(NamedTuple):
    """A chunk created, under the mutex, before it is listed (percpu_create_chunk)."""

    t: int | None
    cpu: int | None
    base: int
    pid: int | None = None


class DestroyChunkEvent(NamedTuple):
    """A chunk destroyed, under the mutex, after it is unlisted (percpu_destroy_chunk)."""

    t: int | None
    cpu: int | None
    base: int
    pid: int | None = None


class Mark(NamedTuple):
    """A line that the guest wrote into the trace (tracing_mark_write)."""

    t: int | None
    cpu: int | None
    text: str
    pid: int | None = None


class Lost(NamedTuple):
    """Here events are missing, as the recorder says: of one CPU, or of any (cpu None).

    They lie behind the last event of that CPU before this one. `missing` is how many, None where
    that is not told.
    """

    t: int | None
    cpu: int | None
    missing: int | None = None
    pid: int | None = None


class AllocArea(NamedTuple):
    """Entry of pcpu_alloc_area, under pcpu_lock: bits wanted, alignment and start hint in bits."""

    t: int | None
    cpu: int | None
    base: int
    bits: int
    align: int
    start: int
    pid: int | None = None


class AreaReturn(NamedTuple):
    """Return of pcpu_alloc_area, under pcpu_lock: byte offset, negative if nothing was found."""

    t: int | None
    cpu: int | None
    off: int
    pid: int | None = None


class AreaFree(NamedTuple):
    """Entry of pcpu_free_area, under pcpu_lock."""

    t: int | None
    cpu: int | None
    base: int
    off: int
    pid: int | None = None


class Populated(NamedTuple):
    """Pages [start, end) book-kept as populated, under pcpu_lock."""

    t: int | None
    cpu: int | None
    base: int
    start: int
    end: int
    pid: int | None = None


class Depopulated(NamedTuple):
    """Pages [start, end) book-kept as given back, under pcpu_lock."""

    t: int | None
    cpu: int | None
    base: int
    start: int
    end: int
    pid: int | None = None


class PopulateCall(NamedTuple):
    """Population of pages [start, end) asked for, pcpu_lock released."""

    t: int | None
    cpu: int | None
    base: int
    start: int
    end: int
    pid: int | None = None


class BalanceEntry(NamedTuple):
    """Entry of the balance work, before the mutex."""

    t: int | None
    cpu: int | None
    pid: int | None = None


class BalanceReturn(NamedTuple):
    """Return of the balance work, the mutex released."""

    t: int | None
    cpu: int | None
    pid: int | None = None


class BalanceFree(NamedTuple):
    """Entry of pcpu_balance_free, both locks held."""

    t: int | None
    cpu: int | None
    empty_only: bool
    pid: int | None = None


class Relocate(NamedTuple):
    """Entry of pcpu_chunk_relocate, under pcpu_lock, with the slot the chunk had before."""

    t: int | None
    cpu: int | None
    base: int
    oslot: int
    pid: int | None = None


Event: TypeAlias = (
    Alloc
    | Free
    | Fail
    | CreateChunkEvent
    | DestroyChunkEvent
    | Mark
    | Lost
    | AllocArea
    | AreaReturn
    | AreaFree
    | Populated
    | Depopulated
    | PopulateCall
    | BalanceEntry
    | BalanceReturn
    | BalanceFree
    | Relocate
)
"""Any recorded event."""
