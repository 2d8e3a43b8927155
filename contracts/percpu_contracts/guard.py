"""The two locks and what they protect, guarded: misuse is a violation at the moment it happens.

Index data are the fields of the allocator, of its lists, chunks and blocks, its statistics, and the
containers in all of these. While pcpu_lock is not held their objects are traps, which tell of every
change. A change under the lock turns the trap that it meets into a plain object; the release of the
lock turns back those that were changed. So an allocator without a guard pays nothing, and one with
a guard pays for what is written, not for what there is.

A new chunk is private to who made it until it is listed: in the kernel pcpu_alloc_chunk fills it in
without the lock. What else changes without it is in UNLOCKED.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from percpu_contracts import locks
from percpu_contracts.callers import caller
from percpu_contracts.traps import (
    HERE,
    TWINS,
    adopt,
    become,
    fields_of,
    held,
    trap_of,
)

if TYPE_CHECKING:
    from percpu_contracts.monitor import Monitor

UNLOCKED: Final = {
    "lock": "a lock: how it changes hands is asked of itself",
    "alloc_mutex": "a lock: how it changes hands is asked of itself",
    "async_enabled": "set once, late in boot (percpu_enable_async)",
    "atomic_alloc_failed": "a mark that is set after pcpu_lock is released (pcpu_alloc)",
    "warn_limit": "pcpu_alloc counts warnings down with no lock",
    "work_pending": "schedule_work orders requests for itself",
    "work_owed": "as work_pending: requests before asynchronous work is enabled are lost",
    "pages_array": "pcpu_get_pages makes it under pcpu_alloc_mutex",
    "env": "the rest of the kernel, which has locks of its own",
    "nr_chunks": "pcpu_stats_chunk_alloc and _dealloc take pcpu_lock for it alone",
    "nr_max_chunks": "as nr_chunks",
    "next_id": "no data of the kernel: names chunks",
    "owned": "no data of the kernel: the local variables of steps that hold a chunk",
    "monitor": "no data of the kernel: watches",
    "trace": "no data of the kernel: watches",
    "search_lists": "no data of the kernel: a table of the lists, made at boot",
    "slot_of_bits": "no data of the kernel: a table of constants",
}
"""Fields that may change without pcpu_lock, each with the reason."""

_OWNERS: Final = frozenset(("obj_exts",))
"""Vectors whose entries belong to the areas' owners.

pcpu_memcg_post_alloc_hook sets the entry of a new area after pcpu_lock is released.
"""


@cache
def unlocked_of(cls: type) -> frozenset[str]:
    """Return the fields that may change unlocked in allocators of a class and in their chunks.

    Beside ours those that a variant lists in UNLOCKED, and those of a class that only watches.
    """
    names = set(UNLOCKED)
    for base in cls.__mro__:
        names.update(vars(base).get("UNLOCKED", ()))
        if base.__module__.startswith("percpu_proofs."):
            names.update(vars(base).get("__slots__", ()))
    return frozenset(names)


class Guard:
    """What is known of the locks of one allocator while its steps run.

    inside: a step of the allocator runs; what others do between steps is their own affair.
    locked: pcpu_lock was taken since the step began, released: it was released. actor: who runs,
    and holder: who took pcpu_alloc_mutex; None where actors are not told apart.
    report: called with clause and message of each misuse. allocator: whose locks these are.
    """

    def __init__(self, report: Callable[[str, str], object]) -> None:
        self.report = report
        self.inside = False
        self.lock = False
        self.locked = False
        self.released = False
        self.mutex = False
        self.actor: object = None
        self.holder: object = None
        self.allocator: Any = None
        self._unlocked: frozenset[str] = frozenset()
        # the objects of each list, chunk and container, with their traps, and the holder itself
        self._known: dict[int, tuple[Any, list[tuple[Any, type]]]] = {}
        self._open: list[tuple[Any, type]] = []  # objects that are no traps now, with their traps
        self._up_to = 0  # chunks with an id below are known; 0 if anything is to be looked for
        self._kinds: tuple[type, ...] = ()

    def begin(self, allocator: Any, actor: object, holder: object) -> None:
        """Begin to watch a step of an actor, the locks being as they are."""
        self.lock, self.mutex = allocator.lock, allocator.alloc_mutex
        self.actor, self.holder = actor, holder
        self.enter(allocator)

    def enter(self, allocator: Any = None) -> None:
        """Begin to judge a step that nobody has judged so far; of the same allocator unless told."""
        if allocator is not None and allocator is not self.allocator:
            self.watch(allocator)
        self.inside = True
        self.locked = self.released = False
        HERE.witness = self
        if not self.lock:
            self._shut()

    def watch(self, allocator: Any) -> None:
        """Let this be the allocator whose steps are judged."""
        self.allocator = allocator
        self._unlocked = unlocked_of(allocator.__class__)
        self._known.clear()
        self._open.clear()
        self._up_to = 0

    def rest(self) -> None:
        """Let all objects be plain until the next step: many are about to be written."""
        self._open = [pair for _, pairs in self._known.values() for pair in pairs]
        for thing, trap in self._open:
            become(thing, trap.__base__)  # type: ignore[arg-type]  # a trap has a plain base
        self._up_to = 0

    def _shut(self) -> None:
        """Let what may not be changed now tell."""
        if getattr(self.allocator, "next_id", 0) != self._up_to:
            self._collect()
        for pair in self._open:
            become(*pair)
        self._open.clear()

    def _collect(self) -> None:
        """Look for index data that are not known yet; forget what is none any more."""
        allocator, before = self.allocator, self._known
        first, lists, stats = allocator.first_chunk, allocator.chunk_lists, allocator.stats
        records = first.chunk_md, lists[0], stats
        self._kinds = (*TWINS.values(), *(r.__class__ for r in records if r is not None))
        fields = [name for name in fields_of(allocator) if name not in self._unlocked]
        whole = adopt(allocator, fields)
        self._known = {}
        for name in fields:
            value = getattr(allocator, name)
            if isinstance(value, self._kinds):
                self._know(value, before)
        for chunk in allocator.chunks():
            listed = chunk.next is not chunk or chunk is allocator.reserved_chunk
            if listed or id(chunk) in before:
                whole = self._know(chunk, before) and whole
            else:
                whole = False
        self._up_to = allocator.next_id if whole else 0

    def _know(self, holder: Any, before: dict[int, tuple[Any, list[tuple[Any, type]]]]) -> bool:
        """Know an object and those in it; False if one could not be made to tell."""
        known = before.get(id(holder))
        whole = True
        if known is None or hasattr(holder, "__dict__"):
            if not isinstance(holder, self._kinds):
                whole = adopt(holder, [n for n in fields_of(holder) if n not in _OWNERS])
            things = [holder, *(thing for _, thing in held(holder, self._kinds))]
            known = holder, [(thing, trap_of(thing.__class__)) for thing in things]
            self._open += known[1]
        self._known[id(holder)] = known
        return whole

    def take_lock(self, taken: bool) -> None:
        """Judge the taking or the release of pcpu_lock (LOCK-1)."""
        if self.inside:
            wrong = locks.lock_changes_hands(self.lock, taken)
            if wrong is None and taken:
                wrong = locks.lock_is_taken_once(self.released)
            if wrong is not None:
                self.report("LOCK-1", wrong)
        self.lock = taken
        self.locked = self.locked or taken
        self.released = self.released or not taken
        if self.inside and not taken:
            self._shut()

    def take_mutex(self, taken: bool) -> None:
        """Judge the taking or the release of pcpu_alloc_mutex (LOCK-2)."""
        if self.inside:
            wrong = locks.mutex_changes_hands(
                self.mutex, taken, self.lock, not self.mutex or self.holder == self.actor
            )
            if wrong is not None:
                self.report("LOCK-2", wrong)
        self.mutex = taken
        self.holder = self.actor if taken else None

    def assign(self, field: str, value: Any) -> None:
        """Judge the change of a field of the allocator itself."""
        if field == "lock":
            self.take_lock(value)
        elif field == "alloc_mutex":
            self.take_mutex(value)
        elif field not in self._unlocked:
            if self.inside and not self.lock:
                self._misuse(field)
            if type(value) in TWINS:
                self._up_to = 0

    def change(self, thing: Any, field: object) -> None:
        """Judge the change of an object that tells; under pcpu_lock it tells no more."""
        if self.lock:
            self._open.append((thing, type(thing)))
            become(thing, thing.__class__)
        elif self.inside and field not in self._unlocked:
            self._misuse(self._name(thing, field))

    def read(self) -> None:
        """Judge a look at populated bits: one of the locks is held (LOCK-1)."""
        if self.inside and not (self.lock or self.mutex):
            self.report("LOCK-1", "populated bits are read with neither lock held")

    def write(self, pages: Any) -> None:
        """Judge a change of populated bits: both locks are held (LOCK-1, LOCK-2)."""
        if not self.inside:
            return
        if not self.lock:
            self._misuse(self._name(pages, None))
        if not self.mutex:
            self.report("LOCK-2", "populated bits change without pcpu_alloc_mutex")

    def _misuse(self, what: str) -> None:
        """Report that something changes without pcpu_lock, and who does it (LOCK-1)."""
        wrong = locks.lock_is_held(False, f"{what} changes")
        self.report("LOCK-1", f"{wrong}, in {caller(self.allocator)}")

    def _name(self, thing: Any, field: object) -> str:
        """Return what changes in words: a field of an object, or a container."""
        holders = [self.allocator, *(holder for holder, _ in self._known.values())]
        for holder in holders:
            owner = [f"chunk {holder.id}"] if hasattr(holder, "chunk_md") else []
            found = [""] if thing is holder and owner else []
            found += [name for name, one in held(holder, self._kinds) if one is thing]
            if found:
                return " of ".join(str(part) for part in (field, *found[:1], *owner) if part)
        return str(field or "a map")


def gap_misuse(last: bool) -> tuple[str, str]:
    """Return what is broken by leaving pcpu_lock held in a gap; last: only flags are left to do."""
    if last:
        return "LOCK-1", str(locks.lock_is_released(True))
    return "LOCK-2", str(locks.no_gap_is_locked(True))


def guarded(cls: type[Any], namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the namespace of a subclass of an allocator class with what guards it added.

    The guard is that of the allocator's monitor; while it has none nothing is judged. The layout
    is the base's, so an instance of the base may be made one of the subclass.
    """
    if getattr(cls.__setattr__, "guards", False):
        return namespace
    return {
        **namespace,
        "__setattr__": _judging(cls.__setattr__),
        "enter_chunk": _joining(namespace.get("enter_chunk") or cls.enter_chunk),
    }


def _judging(put: Callable[..., None]) -> Callable[..., None]:
    """Return the function that sets a field of an allocator and lets its guard judge that."""

    def judged(self: Any, field: str, value: Any) -> None:
        monitor: Monitor | None = getattr(self, "monitor", None)
        if monitor is not None:
            monitor.guard.assign(field, value)
        put(self, field, value)
        if field == "monitor" and value is not None and value.guard.allocator is None:
            value.guard.watch(self)

    judged.guards = True  # type: ignore[attr-defined]  # read by `guarded`
    return judged


def _joining(entering: Callable[..., None]) -> Callable[..., None]:
    """Return the function that enters a new chunk so that what lists the chunk may lock again.

    km populates a new chunk in a section of its own. Between that and the one that lists it nobody
    reaches the chunk, though the float counts it already: here the two count as one.
    """

    @functools.wraps(entering)
    def joined(self: Any, chunk: Any) -> None:
        entering(self, chunk)
        if self.monitor is not None:
            self.monitor.guard.released = False

    return joined
