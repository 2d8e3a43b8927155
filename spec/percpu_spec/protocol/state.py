"""The state of the abstract machine: what each chunk and each actor is at, at page level.

Every field is a plain value or a z3 term. A chunk's pages are numbered from 0.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from percpu_spec.protocol.operators import Number, Or, Truth
from percpu_spec.protocol.pages import Span


class Place(IntEnum):
    """Where a chunk is. ACTIVE stands for every list by hint, slot 0 included."""

    NONE = 0  # not live
    ACTIVE = 1
    FREE = 2
    SIDELINED = 3
    TO_DEPOPULATE = 4
    OWNED = 5  # on no list, held by a running step
    RESERVED = 6  # on no list for ever


class Phase(IntEnum):
    """Where an actor stands, at a point where pcpu_lock is free.

    All but IDLE hold pcpu_alloc_mutex. An actor is a blocking allocation or the balance work;
    frees and atomic allocations are over in one action and need none.
    """

    IDLE = 0  # not begun, done, or waiting for the mutex
    SEARCHING = 1  # an allocation that found no room, or failed
    FILLING = 2  # an allocation populates a hole under its area
    WORKING = 3  # the balance work, with no range of pages
    DRAINING = 4  # it releases pages of a free chunk that it owns
    RELEASING = 5  # reclaim releases empty pages
    RELEASED = 6  # reclaim has released pages and goes on with the chunk
    FLUSHING = 7  # reclaim flushes the TLB for what it released
    FLUSHED = 8  # reclaim has flushed and is to put the chunk somewhere
    POPULATING = 9  # the balance work populates a hole


class ChunkState(NamedTuple):
    """One chunk. Page sets: used (an area touches it), populated, stale.

    Stale: released, and some CPU may still translate its address. empties is the chunk's
    nr_empty_pop_pages; owner is the actor that holds an OWNED chunk.
    """

    place: Any
    isolated: Truth
    owner: Any
    used: Any
    populated: Any
    stale: Any
    empties: Number


class Position(NamedTuple):
    """What an actor holds: pages [start, end) of chunk `at`, and the span [lo, hi).

    Reclaim's span covers the pages released in this pass over the chunk.
    """

    phase: Any
    at: Any
    start: Number
    end: Number
    lo: Number
    hi: Number

    @property
    def span(self) -> Span:
        """The pages held."""
        return Span(self.start, self.end)


class MachineWorld(Protocol):
    """What never changes in a run, and what ranges over all chunks."""

    @property
    def high(self) -> Number:
        """The float that reclaim leaves, in pages."""

    @property
    def first(self) -> Any:
        """The first chunk."""

    @property
    def reserved(self) -> Any:
        """The reserved chunk, or nowhere."""

    @property
    def nobody(self) -> Any:
        """No actor."""

    @property
    def nowhere(self) -> Any:
        """No chunk."""

    @property
    def no_pages(self) -> Any:
        """The empty page set."""

    @property
    def has_reserved(self) -> bool:
        """Whether there is a reserved chunk."""

    def table(self, default: Any, /) -> Any:
        """Return a table in which every key has the default."""

    def pages(self, c: Any, /) -> Number:
        """Return how many pages a chunk has."""

    def least_empty(self, c: Any, /) -> Number:
        """Return the empty pages from which on a free lets a chunk be reclaimed."""

    def every_chunk(self, s: State, holds: Callable[[ChunkState], Truth], /) -> Truth:
        """Return whether a property holds of every chunk. Only for guards, not negated."""

    def total(self, s: State, weight: Callable[[State, Any], Number], /) -> Number:
        """Return the sum of the chunks' weights."""


class State(NamedTuple):
    """The whole machine: tables of chunks and actors, the mutex's holder, the float."""

    world: MachineWorld
    chunks: Any
    actors: Any
    mutex: Any
    floating: Number

    def with_chunk(self, c: Any, chunk: ChunkState, floating: Number) -> State:
        """Return the state with one chunk and the float replaced."""
        return State(self.world, self.chunks.put(c, chunk), self.actors, self.mutex, floating)

    def with_actor(self, a: Any, position: Position) -> State:
        """Return the state with one actor at another position."""
        return State(
            self.world, self.chunks, self.actors.put(a, position), self.mutex, self.floating
        )

    def with_phase(self, a: Any, phase: Phase) -> State:
        """Return the state with one actor at a phase in which it holds no chunk."""
        return self.with_actor(a, standing(phase, self.world.nowhere))

    def with_mutex(self, holder: Any) -> State:
        """Return the state with the mutex in other hands."""
        return State(self.world, self.chunks, self.actors, holder, self.floating)


def standing(phase: Phase, at: Any, start: Number = 0, end: Number = 0) -> Position:
    """Return a position without a span."""
    return Position(phase, at, start, end, 0, 0)


def is_immutable(s: State, c: Any) -> Truth:
    """Return whether a chunk is the first or the reserved one."""
    return Or(c == s.world.first, c == s.world.reserved)


def start_state(world: MachineWorld, first: Any, reserved: Any) -> State:
    """Return the state at boot; first and reserved: the pages that each of the two has in use.

    Both are populated whole. Nobody runs.
    """
    none, nobody = world.no_pages, world.nobody
    chunks = world.table(ChunkState(Place.NONE, False, nobody, none, none, none, 0))
    nr = world.pages(world.first)
    floating = nr - first.size
    chunks = chunks.put(
        world.first, ChunkState(Place.ACTIVE, False, nobody, first, none.add(0, nr), none, floating)
    )
    if world.has_reserved:
        nr = world.pages(world.reserved)
        whole = none.add(0, nr)
        apart = ChunkState(Place.RESERVED, False, nobody, reserved, whole, none, nr - reserved.size)
        chunks = chunks.put(world.reserved, apart)
    return State(world, chunks, world.table(standing(Phase.IDLE, world.nowhere)), nobody, floating)
