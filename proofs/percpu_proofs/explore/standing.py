"""Where a step stands, and what a chunk is like, as values equal in worlds that behave alike."""

from __future__ import annotations

import gc
from operator import attrgetter
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

from percpu_contracts.monitor import Monitor
from percpu_reference.chunk import Chunk, ListHead
from percpu_reference.environment import Environment
from percpu_reference.own_state import UnknownStateError, named, own_state
from percpu_reference.stats import Stats
from percpu_reference.variants import Allocator
from percpu_spec.geometry import Geometry

_hints = attrgetter(
    "scan_hint",
    "scan_hint_start",
    "contig_hint",
    "contig_hint_start",
    "left_free",
    "right_free",
    "first_free",
)


_id = attrgetter("id")
_NUMBERS: dict[object, int] = {}


def number_of(value: object) -> int:
    """Return a number that stands for a value in this process, the same for equal ones."""
    return _NUMBERS.setdefault(value, len(_NUMBERS))


def chunk_state(chunk: Chunk) -> int:
    """Return a number for what steps depend on in a chunk, but for its maps."""
    state = (
        chunk.id,
        chunk.isolated,
        chunk.free_bytes,
        chunk.nr_empty_pop_pages,
        bytes(chunk.populated),
        _hints(chunk.chunk_md),
        tuple(map(_hints, chunk.md_blocks)),
        () if type(chunk) is Chunk else own_state(chunk, Chunk, _id),
        None if chunk.obj_exts is None else tuple(sorted(chunk.obj_exts)),
    )
    return number_of(state)


def standing(steps: Any) -> tuple[Any, ...]:
    """Return where a generator stands, and those that it waits for.

    What it iterates over is among its referents only, not among its local variables.
    """
    found: list[Any] = []
    waiting = steps
    while steps is not None:
        if not isinstance(steps, GeneratorType):
            found.append(_value(steps, waiting, "a loop"))
            break
        frame = steps.gi_frame
        if frame is None:  # run to its end
            break
        found.append(frame.f_lasti)
        for name, value in frame.f_locals.items():
            known = type(value)
            if known is int or known is bool or value is None:
                found.append(value)
            elif known is Chunk:
                found.append(("chunk", value.id))
            else:
                found.append(_value(value, steps, name))
        inner = steps.gi_yieldfrom
        for value in gc.get_referents(steps):
            if type(value) in _ITERATORS and value is not inner:
                found.append(_value(value, steps, "a loop"))
        waiting, steps = steps, inner
    return tuple(found)


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
            return standing(value)
        if type(value) in _ITERATORS:
            return _value(value.__reduce__()[1:], steps, name)
        raise UnknownStateError.of(
            f"{name} of {steps.__qualname__}, while a step stands in a gap,", value
        )

    return named(name, value, _id, other)
