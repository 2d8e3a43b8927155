"""Which chunk of a recorded state is which of a trace, where the trace has hashed addresses.

Text made by a kernel has addresses behind %p hashed: only which are equal can be told. A state
read out of memory has the true ones. What tells the chunks is which offsets were in use in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

from percpu_proofs.traces.events import UNKNOWN, Alloc, CreateChunk, DestroyChunk, Event, Free
from percpu_proofs.traces.snapshot import ChunkSnapshot, Snapshot

Uses = dict[int, dict[int, bool]]
"""By chunk of a trace: offsets that events show in use, or not, at one moment."""


def addressed(snapshot: Snapshot, events: Sequence[Event], index: int) -> Snapshot:
    """Return a state of the moment before event `index` with the trace's addresses in it.

    A state that shares addresses with the trace stays as it is; so do chunks that no event names.
    """
    named = {event.base for event in events if isinstance(event, Alloc | Free)}
    chunks = [*snapshot.chunks(), snapshot.first_chunk]
    if not named or any(chunk.base_addr in named for chunk in chunks):
        return snapshot
    names = _matched(uses(events, index), {c.base_addr: c for c in snapshot.chunks()})

    def renamed(chunk: ChunkSnapshot) -> ChunkSnapshot:
        return replace(chunk, base_addr=names.get(chunk.base_addr, chunk.base_addr))

    reserved = snapshot.reserved_chunk
    return replace(
        snapshot,
        first_chunk=renamed(snapshot.first_chunk),
        reserved_chunk=None if reserved is None else renamed(reserved),
        lists=tuple(tuple(map(renamed, chunks)) for chunks in snapshot.lists),
    )


def uses(events: Sequence[Event], index: int) -> Uses:
    """Return what events tell of chunks that exist at a moment, before it or after."""
    found: Uses = {}
    _read(found, islice(events, index, None), Free, CreateChunk, DestroyChunk)
    before = (events[i] for i in range(index - 1, -1, -1))
    _read(found, before, Alloc, DestroyChunk, CreateChunk)
    return {base: used for base, used in found.items() if used and base != UNKNOWN}


def _read(
    found: Uses,
    events: Iterable[Event],
    live: type[Event],
    absent: type[Event],
    over: type[Event],
) -> None:
    """Enter what events tell, read away from the moment: `live` first means in use then.

    `absent` of a chunk means that it is not there, unless events told of it; `over` that they
    tell nothing further.
    """
    ended: set[int] = set()
    for event in events:
        if not isinstance(event, Alloc | Free | CreateChunk | DestroyChunk) or event.base in ended:
            continue
        if isinstance(event, Alloc | Free):
            found.setdefault(event.base, {}).setdefault(event.off, isinstance(event, live))
        elif isinstance(event, over):
            ended.add(event.base)
            found.setdefault(event.base, {})
        elif isinstance(event, absent):
            ended.add(event.base)


def _matched(used: Uses, chunks: dict[int, ChunkSnapshot]) -> dict[int, int]:
    """Return the trace's name of each chunk of a state that it knows, the surest first."""
    pairs: list[tuple[int, int, int, int]] = []
    for base, of_base in used.items():
        live = {off for off, in_use in of_base.items() if in_use}
        free = of_base.keys() - live
        for address, chunk in chunks.items():
            wrong = len(live - chunk.areas.keys()) + len(free & chunk.areas.keys())
            pairs.append((wrong, -len(live & chunk.areas.keys()), base, address))
    names: dict[int, int] = {}
    taken: set[int] = set()
    for wrong, shared, base, address in sorted(pairs):
        if base not in taken and address not in names and wrong <= max(-shared, 0):
            names[address] = base
            taken.add(base)
    return names
