"""What a variant keeps in attributes of its own, beyond the slots of the allocator.

A search copies an allocator, comes back to earlier states and tells states apart, so it must know
of all that steps depend on. Attributes of a variant without `__slots__` are copied and compared
here; one that does better overrides `own_state` and `_link`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from percpu_reference.chunk import Chunk


class UnknownStateError(ValueError):
    """A value that searches cannot compare."""

    @classmethod
    def of(cls, where: str, value: object) -> UnknownStateError:
        """Return the error about a value and where it is held."""
        return cls(
            f"{where} holds a {type(value).__name__}, which searches cannot compare; "
            "use numbers, strings, chunks, and lists, tuples, sets and dicts of them"
        )


def copied(kept: Mapping[str, Any], old: object, new: object, copies: Mapping[Chunk, Chunk]) -> Any:
    """Return a copy of attributes in which chunks, and the allocator, are those of the copy."""
    memo: dict[int, Any] = {id(chunk): twin for chunk, twin in copies.items()}
    memo[id(old)] = new
    return copy.deepcopy(kept, memo)


def named(where: str, value: Any, name: Callable[[Chunk], object]) -> object:
    """Return a value with its chunks by name, equal for equal states.

    Raises UnknownStateError for one that is none of what it speaks of.
    """
    if value is None or isinstance(value, (int, str, bytes)):
        return value
    if isinstance(value, Chunk):
        return "chunk", name(value)
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return tuple(_all(where, value, name))
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(_all(where, value, name), key=repr))
    if isinstance(value, Mapping):
        return tuple(sorted(_all(where, value.items(), name), key=repr))
    raise UnknownStateError.of(where, value)


def _all(where: str, values: Iterable[Any], name: Callable[[Chunk], object]) -> list[object]:
    return [named(where, value, name) for value in values]
