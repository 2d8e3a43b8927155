"""Objects that tell when they are changed, and go back to telling nothing.

An object's class is exchanged for a subclass of the same layout that tells, its trap, and back. A
container of a builtin type, whose class cannot be exchanged, has a twin put in its place first.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from operator import attrgetter
from typing import Any, Final, Protocol

_CHANGES: Final = (
    *("__setattr__", "__delattr__", "__setitem__", "__delitem__", "__iadd__", "__imul__"),
    *("__iand__", "__ior__", "__isub__", "__ixor__", "add", "append", "clear"),
    *("difference_update", "discard", "extend", "insert", "intersection_update", "pop", "popitem"),
    *("remove", "reverse", "setdefault", "sort", "symmetric_difference_update", "update"),
)
_LOOKS: Final = ("__contains__", "__getitem__", "__iter__", "count", "find", "index", "rfind")
LINKS: Final = frozenset(("next", "prev"))
"""Fields that lead to other objects of the same standing."""

_ALONE: Final = 3  # references to a value: its holder's, a local variable's, an argument's

become: Final[Callable[[object, type], None]] = vars(object)["__class__"].__set__
"""Exchange an object's class."""


exhaust: Final = deque[object](maxlen=0).extend
"""Run through something for what that does."""


class Witness(Protocol):
    """Whoever is told of changes of objects, and of changes of and looks at populated bits.

    inside: it wants to be told. lock: changes are allowed, and an object that is changed becomes
    plain and one of `open`.
    """

    inside: bool
    lock: bool
    open: list[tuple[Any, type]]  # each with its trap

    def change(self, thing: Any, field: object) -> None:
        """Hear that a field of a thing, or an element of it, is about to change."""

    def write(self, pages: Any) -> None:
        """Hear that populated pages are about to change."""

    def read(self) -> None:
        """Hear that they are read."""


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
            elif witness.inside:
                witness.change(self, given[0] if named else None)
        return method(self, *given, **options)

    return changing


def _writing(method: Callable[..., Any], plain: type) -> Callable[..., Any]:
    def writing(self: Any, *given: Any) -> Any:
        witness = HERE.witness
        if witness is not None and witness.inside:
            witness.write(self)
        return method(self, *given)

    return writing


def _reading(method: Callable[..., Any], plain: type) -> Callable[..., Any]:
    def reading(self: Any, *given: Any) -> Any:
        witness = HERE.witness
        if witness is not None and witness.inside:
            witness.read()
        return method(self, *given)

    return reading


def slots(cls: type) -> tuple[str, ...]:
    """Return the names of the slots that a class itself adds."""
    names: str | Iterable[str] = vars(cls).get("__slots__", ())
    names = (names,) if isinstance(names, str) else names
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


@cache
def slots_of(cls: type) -> tuple[str, ...]:
    """Return the names of the slots of a class and its bases."""
    return tuple(name for base in cls.__mro__ for name in slots(base))


@cache
def own_slots(cls: type) -> tuple[str, ...]:
    """Return the names of the slots of a class that the last of its bases has not."""
    return tuple(name for name in slots_of(cls) if name not in slots_of(cls.__mro__[-2]))


def fields_of(holder: Any) -> tuple[str, ...]:
    """Return the names of an object's fields, those included that have no value.

    But for those of the last of its bases that hold numbers: they do for good.
    """
    cls = holder.__class__
    names = _FIELDS_OF.get(cls)
    if names is None:
        own = own_slots(cls)
        names = _FIELDS_OF[cls] = tuple(
            name for name in slots_of(cls)
            if name in own or not isinstance(getattr(holder, name, None), int)
        )  # fmt: skip
    return (*names, *holder.__dict__) if cls.__dictoffset__ else names


_FIELDS_OF: Final[dict[type, tuple[str, ...]]] = {}


def adopt(holder: Any, keys: Iterable[Any]) -> bool:
    """Put twins in the place of the containers that an object holds under these keys.

    And of those in them. False if one was left as it is, because others hold it too: what they do
    to it would be lost.
    """
    get, put, _ = _ACCESS.get(holder.__class__, _FIELDS)
    whole = True
    for key in keys:
        value = get(holder, key)
        kind = value.__class__
        if kind in _ACCESS and not _CONTAINERS.isdisjoint(map(_class_of, _items(value))):
            whole = adopt(value, _ACCESS[kind][2](value)) and whole
        if kind in TWINS and sys.getrefcount(value) > _ALONE:
            whole = False
        elif kind in TWINS:
            put(holder, key, (Pages if key == "populated" else TWINS[kind])(value))
    return whole


def held(values: Iterable[Any], kinds: frozenset[type]) -> list[Any]:
    """Return those values that are objects of these kinds, and what containers among them hold."""
    found: list[Any] = []
    for value in values:
        kind = value.__class__
        if kind in kinds:
            found.append(value)
            if kind in _ACCESS:
                found += held(_items(value), kinds)
    return found


def name_in(holder: Any, thing: Any, keys: Iterable[Any]) -> str | None:
    """Return what an object holds another as, also in containers: a name, `name[1]`; or None."""
    get = _ACCESS.get(holder.__class__, _FIELDS)[0]
    for key in keys:
        value = get(holder, key)
        name = key if get is _get else f"[{key!r}]"
        if value is thing and key not in LINKS:
            return str(name)
        if value.__class__ in _ACCESS:
            rest = name_in(value, thing, _ACCESS[value.__class__][2](value))
            if rest is not None:
                return f"{name}{rest}"
    return None


def _items(container: Any) -> Iterable[Any]:
    return container.values() if isinstance(container, dict) else container


def _get(holder: Any, key: str) -> Any:
    return getattr(holder, key, None)


_FIELDS: Final[Any] = _get, object.__setattr__, fields_of
_ACCESS: Final[dict[type, Any]] = {
    cls: (kind.__getitem__, kind.__setitem__, keys)
    for kind, keys in ((dict, list), (list, lambda holder: range(len(holder))))
    for cls in (kind, TWINS[kind])
}
"""How to get at what containers hold: get, put, and under which keys."""

_CONTAINERS: Final = TWINS.keys() | _ACCESS.keys()
_class_of: Final = attrgetter("__class__")
