"""What a variant keeps in fields of its own, of the allocator and of chunks.

A search copies an allocator, comes back to earlier states and tells states apart, so it must know
of all that steps depend on. Fields beyond those of State and Chunk, in `__dict__` or in slots, are
copied and compared here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any

from percpu_contracts.traps import slots
from percpu_reference.chunk import Block, Chunk, OpenChunk

_OURS = frozenset(("builtins", "percpu_contracts", "percpu_proofs", "percpu_reference"))
_PLAIN = frozenset((bool, int, float, str, bytes, type(None)))
"""Types of values that cannot change and hold nothing."""

Name = Callable[[Chunk], object]
"""What a chunk is called, so that equal states are called the same."""


class UnknownStateError(ValueError):
    """A value that searches cannot compare; where a field of a variant holds it, its name."""

    field = ""

    @classmethod
    def of(cls, where: str, value: object) -> UnknownStateError:
        """Return the error about a value and where it is held."""
        return cls(
            f"{where} holds a {type(value).__name__}, which searches cannot compare; "
            "use numbers, strings, chunks, and lists, tuples, sets and dicts of them"
        )


def is_shipped(cls: type) -> bool:
    """Return whether a class of allocators is of this distribution, all of it."""
    return all(base.__module__.partition(".")[0] in _OURS for base in cls.__mro__)


@cache
def chunk_class(cls: Any) -> type[Chunk]:
    """Return the class of an allocator's chunks: CHUNK if its class declares one.

    Else chunks of a variant that is not ours take any field, and those of ours have slots alone.
    """
    declared: type[Chunk] = cls.CHUNK
    return OpenChunk if declared is Chunk and not is_shipped(cls) else declared


def is_own(cls: type, base: type) -> bool:
    """Return whether what a class among the bases of a holder adds to `base` is state of its own.

    What percpu_proofs adds only watches: it is no part of the state.
    """
    return cls not in base.__mro__ and not cls.__module__.startswith("percpu_proofs.")


@cache
def _own_slots(cls: Any, base: Any) -> tuple[str, ...]:
    return tuple(name for each in cls.__mro__ if is_own(each, base) for name in slots(each))


@cache
def _may_have_own(cls: Any, base: Any) -> bool:
    return cls.__dictoffset__ != 0 or bool(_own_slots(cls, base))


def _has_own(holder: Any, base: Any) -> bool:
    return _may_have_own(holder.__class__, base)


def own_fields(holder: Any, base: Any) -> dict[str, Any]:
    """Return the fields that an allocator or a chunk has beyond those of its base, by name."""
    own = _own_slots(holder.__class__, base)
    fields = {name: getattr(holder, name) for name in own if hasattr(holder, name)}
    return fields | getattr(holder, "__dict__", {})


def own_state(holder: object, base: type, name: Name) -> tuple[object, ...]:
    """Return the fields of an allocator or a chunk beyond its base's, equal for equal states.

    Raises UnknownStateError for what cannot be compared.
    """
    if not _has_own(holder, base):
        return ()
    fields = own_fields(holder, base)
    return tuple([(key, _named_field(holder, key, fields[key], name)) for key in sorted(fields)])


def _named_field(holder: object, key: str, value: object, name: Name) -> object:
    try:
        return named(f"{type(holder).__name__}.{key}", value, name)
    except UnknownStateError as error:
        error.field = key
        raise


def take_over(origin: object, new: object, copies: Mapping[Chunk, Chunk], base: type) -> None:
    """Give an allocator, and its chunks, copies of the own fields of those they are copies of.

    base is the allocator's. What is one object in several fields stays one. Raises
    UnknownStateError for a value that cannot be copied.
    """
    pairs: list[tuple[Any, Any, type]] = [
        (old, twin, Chunk) for old, twin in copies.items() if type(old) is not Chunk
    ]
    if _has_own(origin, base):
        pairs.append((origin, new, base))
    held = [own_fields(old, kind) for old, _, kind in pairs]
    if not all(type(value) in _PLAIN for fields in held for value in fields.values()):
        memo: dict[int, Any] = {id(chunk): twin for chunk, twin in copies.items()}
        memo[id(origin)] = new
        try:
            held = copy.deepcopy(held, memo)
        except (TypeError, copy.Error):
            for old, _, kind in pairs:
                own_state(old, kind, id)
            raise
    for (_, twin, kind), fields in zip(pairs, held, strict=True):
        for key in own_fields(twin, kind).keys() - fields.keys():
            delattr(twin, key)
        for key, value in fields.items():
            setattr(twin, key, value)


def named(
    where: str, value: Any, name: Name, other: Callable[[Any], object] | None = None
) -> object:
    """Return a value with its chunks by name, equal for equal states.

    other does for values that are none of what UnknownStateError speaks of; without it they raise
    that.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, (int, float, str, bytes, Enum)):  # of a class derived from one of them
        return repr(value)
    if isinstance(value, Chunk):
        return "chunk", name(value)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, Block):
        return tuple(value.as_list())
    if isinstance(value, range):
        return value.start, value.stop, value.step
    if isinstance(value, (list, tuple)):
        return tuple([named(where, item, name, other) for item in value])
    if isinstance(value, (set, frozenset)):
        return tuple(sorted([named(where, item, name, other) for item in value], key=repr))
    if isinstance(value, Mapping):  # in order: that is what a loop over it sees
        return tuple([named(where, item, name, other) for pair in value.items() for item in pair])
    if other is None:
        raise UnknownStateError.of(where, value)
    return other(value)
