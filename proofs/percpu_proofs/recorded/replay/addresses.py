"""Which chunk of a recorded state is which of a trace, where the trace has hashed addresses.

Text made by a kernel has addresses behind %p hashed: only which are equal can be told. A state
read out of memory has the true ones. What tells the chunks is which offsets were in use in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from percpu_proofs.recorded.states.snapshot import ChunkSnapshot, Snapshot
from percpu_proofs.recorded.traces import events as ev

_GRANULE = 4  # bytes to a bit of a chunk's map

Uses = dict[int, dict[int, bool]]
"""By chunk of a trace: offsets that events show in use, or not, at one moment."""


def addressed(snapshot: Snapshot, events: Sequence[ev.TraceEvent], index: int) -> Snapshot:
    """Return a state of the moment before event `index` with the trace's addresses in it.

    Chunks whose addresses stand in both stay as they are; so do those that no event names. An
    address that is no hash and stands in the trace alone is that of no chunk of the state.
    """
    named = {event.base for event in events if isinstance(event, ev.Alloc | ev.Free)}
    chunks = {chunk.base_addr: chunk for chunk in snapshot.chunks()}
    made = {event.base for event in events if isinstance(event, ev.CreateChunkEvent)}
    if not named - chunks.keys() - made and (named & chunks.keys() or not named):
        return snapshot
    unknown = (pair for pair in uses(events, index).items() if not ev.is_plain(pair[0]))
    used = {base: of for base, of in unknown if base not in chunks}
    names: dict[int, int] = {}
    if ev.FIRST in used:
        names[snapshot.first_chunk.base_addr] = ev.FIRST
    for event in events:
        if isinstance(event, ev.Alloc) and event.reserved and snapshot.reserved_chunk is not None:
            if not ev.is_plain(event.base):
                names[snapshot.reserved_chunk.base_addr] = event.base  # it alone serves these
            break
    used = {base: of for base, of in used.items() if base not in names.values()}
    left = chunks.keys() - named - names.keys()
    names |= _matched(used, {address: chunks[address] for address in left})

    def renamed(chunk: ChunkSnapshot) -> ChunkSnapshot:
        return replace(chunk, base_addr=names.get(chunk.base_addr, chunk.base_addr))

    reserved = snapshot.reserved_chunk
    return replace(
        snapshot,
        first_chunk=renamed(snapshot.first_chunk),
        reserved_chunk=None if reserved is None else renamed(reserved),
        lists=tuple(tuple(map(renamed, chunks)) for chunks in snapshot.lists),
    )


def uses(events: Sequence[ev.TraceEvent], index: int) -> Uses:
    """Return what events tell of chunks that exist at a moment, before it or after."""
    found: Uses = {}
    _read(found, islice(events, index, None), ev.Free, ev.CreateChunkEvent, ev.DestroyChunkEvent)
    before = (events[i] for i in range(index - 1, -1, -1))
    _read(found, before, ev.Alloc, ev.DestroyChunkEvent, ev.CreateChunkEvent)
    return {base: used for base, used in found.items() if used and base != ev.UNKNOWN}


def _read(
    found: Uses,
    events: Iterable[ev.TraceEvent],
    live: type[ev.TraceEvent],
    absent: type[ev.TraceEvent],
    over: type[ev.TraceEvent],
) -> None:
    """Enter what events tell, read away from the moment: `live` first means in use then.

    `absent` of a chunk means that it is not there, unless events told of it; `over` that they
    tell nothing further.
    """
    ended: set[int] = set()
    for event in events:
        if (
            not isinstance(event, ev.Alloc | ev.Free | ev.CreateChunkEvent | ev.DestroyChunkEvent)
            or event.base in ended
        ):
            continue
        if isinstance(event, ev.Alloc | ev.Free):
            found.setdefault(event.base, {}).setdefault(event.off, isinstance(event, live))
        elif isinstance(event, over):
            ended.add(event.base)
            found.setdefault(event.base, {})
        elif isinstance(event, absent):
            ended.add(event.base)


def _matched(used: Uses, chunks: dict[int, ChunkSnapshot]) -> dict[int, int]:
    """Return the trace's name of each chunk of a state that it knows, the surest first."""
    pairs: list[tuple[int, int, int, int, int]] = []
    for base, of_base in used.items():
        live = {off for off, in_use in of_base.items() if in_use}
        free = of_base.keys() - live
        for address, chunk in chunks.items():
            areas = chunk.areas.keys()
            wrong, shared = len(live - areas) + len(free & areas), len(live & areas)
            inside = max(of_base, default=0) < _GRANULE * len(chunk.alloc_map)
            if inside and wrong <= shared:
                untold = len(areas) - shared + chunk.immutable  # such were not made in the trace
                pairs.append((wrong, -shared, untold, base, address))
    names: dict[int, int] = {}
    taken: set[int] = set()
    for *_, base, address in sorted(pairs):
        if base not in taken and address not in names:
            names[address] = base
            taken.add(base)
    return names
