"""Where the percpu memory of a state is: used, empty, stranded; and each chunk, hints beside truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.recorded.states.snapshot import ChunkSnapshot, Snapshot
from percpu_proofs.show.picture import list_name
from percpu_spec.counts import counted
from percpu_spec.definitions import empty_populated_pages, longest_run, served_areas, slots_per_type
from percpu_spec.geometry import Geometry

WAITS = "waits for reclaim"


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes over all CPUs, by the bitmaps; pages are those of one unit.

    percpu_kb is Percpu of /proc/meminfo, which counts units without CPU too. empty: pages in the
    float. above_high: those of them that the float would have to give up to come down to HIGH.
    stranded: empty pages of sidelined chunks, which are in no float. waiting: those of chunks on
    to_depopulate, in no float either, which the work is to release.
    """

    percpu_kb: int
    used: int
    reserved_used: int
    empty: int
    above_high: int
    stranded: int
    waiting: int
    float_pages: int
    high: int
    page_cost: int  # of a populated page


def memory_of(state: KernelState) -> Memory:
    """Return the memory of a state."""
    snapshot, geometry = state.snapshot, state.snapshot.geometry
    cost = geometry.page * geometry.cpus
    floats = [snapshot.float_of(kind) for kind in range(snapshot.chunk_types)]
    empty = stranded = waiting = 0
    for chunk in state.chunks:
        pages = empty_populated_pages(chunk, geometry)
        if not chunk.isolated:
            empty += pages
        elif _waits(snapshot, chunk):
            waiting += pages
        else:
            stranded += pages
    reserved = snapshot.reserved_chunk
    return Memory(
        percpu_kb=snapshot.nr_populated * geometry.page * geometry.units // 1024,
        used=sum(used_bytes(chunk, geometry) for chunk in state.chunks) * geometry.cpus,
        reserved_used=used_bytes(reserved, geometry) * geometry.cpus if reserved else 0,
        empty=empty * cost,
        above_high=sum(max(pages - geometry.empty_high, 0) for pages in floats) * cost,
        stranded=stranded * cost,
        waiting=waiting * cost,
        float_pages=sum(floats),
        high=geometry.empty_high,
        page_cost=cost,
    )


def _waits(snapshot: Snapshot, chunk: ChunkSnapshot) -> bool:
    """Return whether a chunk waits for reclaim."""
    slot = chunk.slot % slots_per_type(snapshot)
    return chunk.isolated and slot == snapshot.to_depopulate_slot


def isolated_kb(memory: Memory) -> str:
    """Return in words what isolated chunks keep."""
    waits = f", {memory.waiting // 1024} kB on to_depopulate" if memory.waiting else ""
    return f"{memory.stranded // 1024} kB stranded in sidelined chunks{waits}"


def used_bytes(chunk: ChunkSnapshot, geometry: Geometry) -> int:
    """Return the bytes of a unit that areas of a chunk take, the hidden parts excepted."""
    return sum(end - start for start, end in served_areas(chunk, geometry)) * geometry.granule


@dataclass(frozen=True, slots=True)
class ChunkMemory:
    """One chunk: its number and list, its pages, bytes of one unit, what it says and has."""

    chunk: str
    address: str
    list: str
    used_pages: int
    empty_pages: int
    hole_pages: int
    areas: int
    used_bytes: int
    free_bytes: int
    advertises: int  # contig_hint
    longest: int  # free run, by the map
    isolated: bool
    notes: tuple[str, ...]


def chunk_rows(state: KernelState) -> Iterator[ChunkMemory]:
    """Yield a row a chunk, list by list, the reserved one last."""
    snapshot, geometry = state.snapshot, state.snapshot.geometry
    for chunk, name in state.names.items():
        areas = list(served_areas(chunk, geometry))
        empty = empty_populated_pages(chunk, geometry)
        populated = chunk.populated.count(1)
        longest = longest_run(chunk) * geometry.granule
        advertised = chunk.chunk_md.contig_hint * geometry.granule
        reserved = chunk is snapshot.reserved_chunk
        yield ChunkMemory(
            chunk=name,
            address=f"{chunk.base_addr:x}",
            list="reserved" if reserved else list_name(snapshot, chunk.slot),
            used_pages=populated - empty,
            empty_pages=empty,
            hole_pages=chunk.nr_pages - populated,
            areas=len(areas),
            used_bytes=sum(end - start for start, end in areas) * geometry.granule,
            free_bytes=chunk.free_bytes,
            advertises=advertised,
            longest=longest,
            isolated=chunk.isolated,
            notes=tuple(_notes(state, chunk, empty, advertised, longest)),
        )


def _notes(
    state: KernelState, chunk: ChunkSnapshot, empty: int, advertised: int, longest: int
) -> Iterator[str]:
    snapshot, geometry = state.snapshot, state.snapshot.geometry
    granule = geometry.granule
    if chunk is snapshot.first_chunk:
        yield "first"
    if chunk is snapshot.reserved_chunk:
        yield "modules' static variables"
        return
    most = min(longest, geometry.largest)
    if chunk.slot % slots_per_type(snapshot) == 0 and longest:
        yield f"not searched, {most} bytes would fit"
    elif advertised < longest and advertised < geometry.largest:
        yield f"unreachable for {advertised + granule}..{most} bytes"
    waits = _waits(snapshot, chunk)
    if waits:
        yield WAITS
    if chunk.isolated and empty:
        kb = empty * geometry.page * geometry.cpus // 1024
        yield f"{counted(empty, 'empty page')}: {kb} kB {'to release' if waits else 'stranded'}"
