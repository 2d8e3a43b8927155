"""Objects that tell when they are changed, and go back to telling nothing.

An object's class is exchanged for a subclass of the same layout that tells, its trap, and back. A
container of a builtin type, whose class cannot be exchanged, has a twin put in its place first.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Final, Protocol

_CHANGES: Final = (
    *("__setattr__", "__delattr__", "__setitem__", "__delitem__", "__iadd__", "__imul__"),
    *("__iand__", "__ior__", "__isub__", "__ixor__", "add", "append", "clear"),
    *("difference_update", "discard", "extend", "insert", "intersection_update", "pop", "popitem"),
    *("remove", "reverse", "setdefault", "sort", "symmetric_difference_update", "update"),
)
_LOOKS: Final = ("__contains__", "__getitem__", "__iter__", "count", "find", "index", "rfind")
_LINKS: Final = frozenset(("next", "prev"))
_ALONE: Final = 3  # references to a value: its holder's, a local variable's, an argument's

become: Final[Callable[[object, type], None]] = vars(object)["__class__"].__set__
"""Exchange an object's class."""


exhaust: Final[Callable[[Iterable[object]], object]] = deque(maxlen=0).extend
"""Run through something for what that does."""


class Witness(Protocol):
    """Whoever is told of changes of objects, and of changes of and looks at populated bits.

    lock: changes are allowed, so that an object that is changed becomes plain and is one of `open`.
    """

    lock: bool
    open: list[tuple[Any, type]]  # each with its trap

    def change(self, thing: Any, field: object) -> None: ...  # noqa: D102

    def write(self, pages: Any) -> None: ...  # noqa: D102

    def read(self) -> None: ...  # noqa: D102


class _Here(threading.local):
    """Who is told in this thread."""

    witness: Witness | None = None


HERE: Final = _Here()


def _twin(kind: type) -> type:
    """Return a subclass of a builtin container; copies of its instances are of the builtin."""
    reduced = {"__reduce_ex__": lambda self, protocol: (kind, (kind(self),))}
    return type(kind.__name__, (kind,), {"__slots__": (), "__module__": __name__, **reduced})


TWINS: Final = {kind: _twin(kind) for kind in (bytearray, dict, list, set)}
Pages: Final = _twin(TWINS[bytearray])
"""Populated bits: looking at them is told as well."""


@cache
def trap_of(plain: type) -> type:
    """Return the subclass of a class whose instances tell; they give the class for their own."""
    pages = issubclass(plain, Pages)
    telling: dict[str, Any] = dict.fromkeys(_CHANGES, _writing if pages else _changing)
    if pages:
        telling |= dict.fromkeys(_LOOKS, _reading)
    methods = {
        name: wrap(getattr(plain, name), plain)
        for name, wrap in telling.items() if hasattr(plain, name)
    }  # fmt: skip
    named = {"__slots__": (), "__module__": plain.__module__}
    own_class = property(lambda self: plain)  # so that what makes another makes a plain one
    return type(plain.__name__, (plain,), {**methods, **named, "__class__": own_class})


def _changing(method: Callable[..., Any], plain: type) -> Callable[..., Any]:
    named = method.__name__ in ("__setattr__", "__delattr__")

    def changing(self: Any, *given: Any, **options: Any) -> Any:
        witness = HERE.witness
        if witness is not None:
            if witness.lock:
                become(self, plain)
                witness.open.append((self, trap_of(plain)))
            else:
                witness.change(self, given[0] if named else None)
        return method(self, *given, **options)

    return changing


def _writing(method: Callable[..., Any], plain: type) -> Callable[..., Any]:
    def writing(self: Any, *given: Any) -> Any:
        if HERE.witness is not None:
            HERE.witness.write(self)
        return method(self, *given)

    return writing


def _reading(method: Callable[..., Any], plain: type) -> Callable[..., Any]:
    def reading(self: Any, *given: Any) -> Any:
        if HERE.witness is not None:
            HERE.witness.read()
        return method(self, *given)

    return reading


@cache
def slots_of(cls: type) -> tuple[str, ...]:
    """Return the names of the slots of a class and its bases."""
    found: list[str] = []
    for base in cls.__mro__:
        names: str | Iterable[str] = vars(base).get("__slots__", ())
        found += [names] if isinstance(names, str) else names
    return tuple(name for name in found if name not in ("__dict__", "__weakref__"))


def fields_of(holder: Any) -> Iterable[str]:
    """Return the names of an object's fields that have a value."""
    slots = [name for name in slots_of(holder.__class__) if hasattr(holder, name)]
    return (*slots, *getattr(holder, "__dict__", ()))


def adopt(holder: Any, keys: Iterable[Any]) -> bool:
    """Put twins in the place of the containers that an object holds under these keys.

    And of those in them. False if one was left as it is, because others hold it too: what they do
    to it would be lost.
    """
    get, put = _ACCESS.get(holder.__class__, (getattr, object.__setattr__))
    whole = True
    for key in keys:
        value = get(holder, key)
        if isinstance(value, (dict, list)):
            whole = adopt(value, _keys(value)) and whole
        twin = TWINS.get(type(value))
        if twin is not None and sys.getrefcount(value) > _ALONE:
            whole = False
        elif twin is not None:
            put(holder, key, (Pages if key == "populated" else twin)(value))
    return whole


_ACCESS: Final[dict[type, Any]] = {
    cls: (kind.__getitem__, kind.__setitem__)
    for kind in (dict, list)
    for cls in (kind, TWINS[kind])
}


def _keys(holder: Any) -> Iterable[Any]:
    """Return under what an object holds others: names of fields, numbers, or keys of a dict."""
    if isinstance(holder, list):
        return range(len(holder))
    return list(holder) if isinstance(holder, dict) else fields_of(holder)


def held(holder: Any, kinds: tuple[type, ...], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the objects of these kinds that an object holds, also in containers, with names.

    What it is linked to is no part of it.
    """
    get = _ACCESS.get(holder.__class__, (getattr,))[0]
    for key in _keys(holder):
        value = get(holder, key)
        if isinstance(value, kinds) and key not in _LINKS:
            name = f"{path}[{key!r}]" if path else key
            yield name, value
            if isinstance(value, (dict, list)):
                yield from held(value, kinds, name)
