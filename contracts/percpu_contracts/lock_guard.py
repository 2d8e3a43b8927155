"""The two locks and what they protect, guarded: misuse is a violation at the moment it happens.

While pcpu_lock is not held the objects of index data tell of every change. A change under the lock
makes the object that it meets a plain one; the release of the lock lets those that were changed
tell again. So an allocator without a guard pays nothing, and one with a guard for what is written,
not for what there is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any, Final

from percpu_contracts.callers import caller
from percpu_contracts.clauses import locks
from percpu_contracts.index_data import IndexData
from percpu_contracts.traps import HERE, TWINS

_LOCKS: Final = frozenset(("lock", "alloc_mutex"))


class LockGuard:
    """What is known of the locks of one allocator while its steps run.

    inside: a step of the allocator runs; what others do between steps is their own affair.
    locked: pcpu_lock was taken since the step began, released: it was released; dropped: so was
    pcpu_alloc_mutex. actor: who runs, and holder: who took pcpu_alloc_mutex; None where actors are
    not told apart. report: called with clause and message of each misuse.
    data: what pcpu_lock protects, of the
    allocator that the guard has been given; open: its objects that tell no more.
    """

    __slots__ = (
        *("actor", "data", "dropped", "holder", "inside", "lock", "locked"),
        *("mutex", "open", "released", "report"),
    )

    def __init__(self, report: Callable[[str, str], object]) -> None:
        self.report = report
        self.inside = False
        self.lock = False
        self.locked = False
        self.released = False
        self.dropped = False
        self.mutex = False
        self.actor: object = None
        self.holder: object = None
        self.data: IndexData | None = None
        self.open: list[tuple[Any, type]] = []

    def begin(self, allocator: Any, actor: object, holder: object) -> None:
        """Begin to watch a step of an actor, the locks being as they are."""
        self.lock, self.mutex = allocator.lock, allocator.alloc_mutex
        self.actor, self.holder = actor, holder
        self.enter(allocator)

    def enter(self, allocator: Any = None) -> None:
        """Begin to judge a step that nobody has judged so far, of the allocator last given."""
        if allocator is not None and (self.data is None or self.data.allocator is not allocator):
            self.data = IndexData(allocator, self.open) if is_guarded(type(allocator)) else None
        self.inside = True
        self.locked = self.released = self.dropped = False
        HERE.witness = self
        if self.data is not None and not self.lock:
            self.data.shut()

    def quiesce(self, chunks: Collection[Any], origin: Any) -> None:
        """Let nothing tell until the next step, which finds the state of another allocator.

        chunks: what stands for the chunks of that. For those who write a whole state.
        """
        self.lock, self.mutex, self.holder = origin.lock, origin.alloc_mutex, None
        if self.data is not None:
            self.data.quiesce(chunks, origin.next_id)

    def take_lock(self, taken: bool) -> None:
        """Judge the taking or the release of pcpu_lock (LOCK-1)."""
        if self.inside and (taken == self.lock or (taken and self.released)):
            wrong = locks.lock_changes_hands(self.lock, taken)
            self.report("LOCK-1", str(wrong or locks.lock_is_taken_once(self.released)))
        self.lock = taken
        self.locked = self.locked or taken
        self.released = self.released or not taken
        if self.inside and not taken and self.data is not None:
            self.data.shut()

    def take_mutex(self, taken: bool) -> None:
        """Judge the taking or the release of pcpu_alloc_mutex (LOCK-2)."""
        if self.inside:
            wrong = locks.mutex_changes_hands(
                self.mutex, taken, self.lock, not self.mutex or self.holder == self.actor
            )
            if wrong is None and taken:
                wrong = locks.mutex_is_taken_once(self.dropped)
            if wrong is not None:
                self.report("LOCK-2", wrong)
        self.dropped = self.dropped or not taken
        self.mutex = taken
        self.holder = self.actor if taken else None

    def assign(self, field: str, value: Any) -> None:
        """Judge the change of a lock, or, while a step runs, of another field of the allocator."""
        data = self.data
        if field == "lock":
            self.take_lock(value)
        elif field == "alloc_mutex":
            self.take_mutex(value)
        elif data is not None and field not in data.unlocked:
            if not self.lock:
                self._misuse(data, field)
            if type(value) in TWINS:
                data.look_again()

    def change(self, thing: Any, field: object) -> None:
        """Judge the change of an object without pcpu_lock (LOCK-1)."""
        data = self.data
        if data is not None and field not in data.unlocked:
            self._misuse(data, data.name(thing, field))

    def read(self) -> None:
        """Judge a look at populated bits: one of the locks is held (LOCK-1)."""
        if not (self.lock or self.mutex):
            self.report("LOCK-1", "populated bits are read with neither lock held")

    def write(self, pages: Any) -> None:
        """Judge a change of populated bits: both locks are held (LOCK-1, LOCK-2)."""
        if self.data is not None and not self.lock:
            self._misuse(self.data, self.data.name(pages, None))
        if not self.mutex:
            self.report("LOCK-2", "populated bits change without pcpu_alloc_mutex")

    def _misuse(self, data: IndexData, what: str) -> None:
        """Report that something changes without pcpu_lock, and who does it (LOCK-1)."""
        wrong = locks.lock_is_held(False, f"{what} changes")
        self.report("LOCK-1", f"{wrong}, in {caller(data.allocator)}")


def gap_misuse(last: bool) -> tuple[str, str]:
    """Return what is broken by leaving pcpu_lock held in a gap; last: only flags are left to do."""
    if last:
        return "LOCK-1", str(locks.lock_is_released(True))
    return "LOCK-2", str(locks.no_gap_is_locked(True))


def is_guarded(cls: type[Any]) -> bool:
    """Return whether allocators of a class tell their guard of what they do."""
    return getattr(cls.__setattr__, "guards", False)


def guarded(cls: type[Any], namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the namespace of a subclass of an allocator class with what guards it added.

    The guard is that of the allocator's monitor; while it has none nothing is judged. The layout
    is the base's, so an instance of the base may be made one of the subclass.
    """
    if is_guarded(cls):
        return namespace
    return {
        **namespace,
        "__setattr__": _judging(cls.__setattr__),
        "enter_chunk": _joining(namespace.get("enter_chunk") or cls.enter_chunk),
    }


def _judging(put: Callable[..., None]) -> Callable[..., None]:
    """Return the function that sets a field of an allocator and lets its guard judge that."""

    def judged(self: Any, field: str, value: Any) -> None:
        monitor: Any = getattr(self, "monitor", None)  # None, or a Monitor, which has a guard
        if monitor is not None and (monitor.guard.inside or field in _LOCKS):
            monitor.guard.assign(field, value)
        put(self, field, value)
        if field == "monitor" and value is not None and value.guard.data is None:
            value.guard.data = IndexData(self, value.guard.open)

    marked: Any = judged
    marked.guards = True  # read by `is_guarded`
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
