"""Where a step stands, and what an allocator is like: values equal in worlds that behave alike."""

from __future__ import annotations

import gc
import hashlib
import marshal
from collections.abc import Iterable
from operator import attrgetter
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

from percpu_contracts.history import History
from percpu_contracts.monitor import Monitor
from percpu_reference.chunk import Chunk, ListHead
from percpu_reference.environment import Environment
from percpu_reference.own_state import Name, UnknownStateError, named, own_state
from percpu_reference.stats import Stats
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry
from percpu_spec.views import HINTS

_hints = attrgetter(*HINTS)
_id = attrgetter("id")
_NUMBERS: dict[object, int] = {}
_MOST_CHUNKS = 64  # whose maps are held to be compared


def number_of(value: object) -> int:
    """Return a number that stands for a value in this process, the same for equal ones."""
    return _NUMBERS.setdefault(value, len(_NUMBERS))


def _state(chunk: Chunk, name: Name = _id) -> tuple[object, ...]:
    """Return what steps depend on in a chunk, but for its id and the maps of its areas."""
    return (
        chunk.isolated,
        chunk.free_bytes,
        chunk.nr_populated,
        chunk.nr_empty_pop_pages,
        bytes(chunk.populated),
        _hints(chunk.chunk_md),
        tuple(map(_hints, chunk.md_blocks)),
        () if type(chunk) is Chunk else own_state(chunk, Chunk, name),
        None if chunk.obj_exts is None else tuple(sorted(chunk.obj_exts)),
    )


def ids(chunks: Iterable[Any]) -> list[int]:
    """Return the numbers of chunks, which no view has."""
    return [chunk.id for chunk in chunks]


class Fingerprints:
    """Fingerprints of an allocator's states, each equal to those of states that behave alike."""

    def __init__(self) -> None:
        self._maps: dict[Chunk, tuple[bytes, bytes, int]] = {}

    def of(self, allocator: Allocator, history: History) -> tuple[Any, ...]:
        """Return all that the two locks protect, and what was unmapped and is not flushed yet."""
        record = self.record
        chunks = []
        for head in allocator.chunk_lists:
            chunk = head.next
            while chunk is not head:
                chunks.append((head.slot, record(chunk)))
                chunk = chunk.next
        reserved = allocator.reserved_chunk
        return (
            allocator.nr_populated,
            allocator.nr_empty_pop_pages,
            allocator.own_state(),
            allocator.alloc_mutex,
            tuple(chunks),
            tuple([record(chunk) for chunk in allocator.owned]),
            None if reserved is None else record(reserved),
            _pages(history.given_back),
            _pages(history.stale),
            frozenset(ids(history.depopulated)),
        )

    def record(self, chunk: Chunk) -> tuple[int, int]:
        """Return numbers for a chunk's state and for its maps, the same for equal ones."""
        known = self._maps.get(chunk)
        if known is None or known[0] != chunk.alloc_map or known[1] != chunk.bound_map:
            if known is None and len(self._maps) > _MOST_CHUNKS:  # most are gone again
                self._maps.clear()
            maps = bytes(chunk.alloc_map), bytes(chunk.bound_map)
            known = self._maps[chunk] = *maps, number_of(maps)
        return number_of((chunk.id, _state(chunk))), known[2]


def _pages(pages: Iterable[tuple[Any, int]]) -> frozenset[tuple[int, int]]:
    return frozenset([(chunk.id, page) for chunk, page in pages])


def state_key(allocator: Allocator, history: History | None = None) -> bytes:
    """Return a digest equal for allocators at rest that will behave alike, whatever the handles.

    With a history, what COST-1, TLB-1 and BAL-3 ask of it counts too. Chunks go by their place, not
    by how many were made before them.
    """
    reserved = allocator.reserved_chunk
    listed = [(head.slot, chunk) for head in allocator.chunk_lists for chunk in head]
    names: dict[Chunk | None, int] = {chunk: number for number, (_, chunk) in enumerate(listed)}
    names[reserved] = -1

    def name(chunk: Chunk) -> object:
        """Return a chunk's place; of one that is gone, which can only be compared, its id."""
        return names.get(chunk, ("gone", chunk.id))

    def contents(chunk: Chunk) -> tuple[object, ...]:
        return _state(chunk, name), bytes(chunk.alloc_map)

    first = allocator.first_chunk
    past: Any = None
    if history is not None:
        past = (
            sorted(names[chunk] for chunk in history.depopulated if chunk in names),
            sorted((names[chunk], page) for chunk, page in history.stale if chunk in names),
            history.runs,
        )
    whole: Any = (
        allocator.nr_empty_pop_pages,
        allocator.own_state(name),
        allocator.work_pending,
        allocator.atomic_alloc_failed,
        allocator.env.faults(),
        past,
        [(slot, contents(chunk), chunk is first) for slot, chunk in listed],
        None if reserved is None else contents(reserved),
    )
    # version 2 of the format has no references, so equal values have equal bytes
    return hashlib.blake2b(marshal.dumps(whole, 2), digest_size=16).digest()


def generator_key(steps: Any) -> tuple[Any, ...]:
    """Return where a generator stands, and those that it waits for.

    What it iterates over is among its referents only, not among its local variables.
    """
    key: list[Any] = []
    waiting = steps
    while steps is not None:
        if not isinstance(steps, GeneratorType):
            key.append(_value(steps, waiting, "a loop"))
            break
        frame = steps.gi_frame
        if frame is None:  # run to its end
            break
        key.append(frame.f_lasti)
        for name, value in frame.f_locals.items():
            known = type(value)
            if known is int or known is bool or value is None:
                key.append(value)
            elif known is Chunk:
                key.append(("chunk", value.id))
            else:
                key.append(_value(value, steps, name))
        inner = steps.gi_yieldfrom
        for value in gc.get_referents(steps):
            if type(value) in _ITERATORS and value is not inner:
                key.append(_value(value, steps, "a loop"))
        waiting, steps = steps, inner
    return tuple(key)


_ITERATORS = frozenset(
    (
        *(GeneratorType, enumerate, zip, map, filter),
        *map(type, (iter([]), iter(()), iter(range(1)), iter(""), iter(b""), iter(bytearray()))),
        *map(type, (iter(set()), iter({}), iter({}.values()), iter({}.items()))),
        *map(type, (reversed([]), reversed(range(1)))),
    )
)
_SAME = (
    *(Allocator, Geometry, Environment, Monitor, Stats),
    *(FunctionType, BuiltinFunctionType, MethodType, ModuleType, type, super),
)
"""What is the same in every world of a start, or part of the allocator, which is compared."""


def _value(value: Any, steps: Any, name: str) -> Any:
    """Return a local value of a generator, equal in worlds that behave alike.

    Raises UnknownStateError for one that cannot be compared: two worlds might be taken for one.
    """
    def other(value: Any) -> Any:
        if isinstance(value, ListHead):
            return "list", value.slot
        if isinstance(value, _SAME):
            return None
        if isinstance(value, GeneratorType):
            return generator_key(value)
        if type(value) in _ITERATORS:
            return _value(value.__reduce__()[1:], steps, name)
        raise UnknownStateError.of(
            f"{name} of {steps.__qualname__}, while a step stands in a gap,", value
        )

    return named(name, value, _id, other)
