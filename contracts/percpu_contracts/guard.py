"""The two locks and the populated bits, guarded: their misuse is a violation wherever it happens.

A guarded class keeps `lock` and `alloc_mutex` in the slots of its base, behind properties, and the
populated bits of its chunks in maps that look at the locks. The base itself is untouched, so an
allocator without a guard pays nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from percpu_contracts import locks

if TYPE_CHECKING:
    from percpu_contracts.monitor import Monitor


class Guard:
    """What is known of the locks of one allocator while its steps run.

    inside: a step of the allocator runs; what others read between steps is their own affair.
    locked: pcpu_lock was taken since the step began, released: it was released. actor: who runs,
    and holder: who took pcpu_alloc_mutex; None where actors are not told apart.
    report: called with clause and message of each misuse.
    """

    __slots__ = ("actor", "holder", "inside", "lock", "locked", "mutex", "released", "report")

    def __init__(self, report: Callable[[str, str], object]) -> None:
        self.report = report
        self.inside = False
        self.lock = False
        self.locked = False
        self.released = False
        self.mutex = False
        self.actor: object = None
        self.holder: object = None

    def begin(self, allocator: Any, actor: object, holder: object) -> None:
        """Begin to watch a step of an actor, the locks being as they are."""
        self.lock, self.mutex = allocator.lock, allocator.alloc_mutex
        self.actor, self.holder = actor, holder
        self.enter()

    def enter(self) -> None:
        """Begin to judge a step that nobody has judged so far."""
        self.inside = True
        self.locked = self.released = False

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

    def read(self) -> None:
        """Judge a look at populated bits: one of the locks is held (LOCK-1)."""
        if self.inside and not (self.lock or self.mutex):
            self.report("LOCK-1", "populated bits are read with neither lock held")

    def write(self) -> None:
        """Judge a change of populated bits: both locks are held (LOCK-1, LOCK-2)."""
        if not self.inside:
            return
        if not self.lock:
            self.report("LOCK-1", "populated bits change without pcpu_lock")
        if not self.mutex:
            self.report("LOCK-2", "populated bits change without pcpu_alloc_mutex")


class RestingPages(bytearray):
    """The populated bits of a chunk, a byte each, while nobody is judged.

    Whoever lets many steps run between two that are guarded changes the class of the bits.
    """

    __slots__ = ("guard",)

    guard: Guard


class GuardedPages(RestingPages):
    """The populated bits of a chunk, a byte each; every access is judged.

    Copies are plain: what reads a copy reads no shared state.
    """

    __slots__ = ()

    def find(self, *given: Any) -> int:
        """Return where a value is first found."""
        self.guard.read()
        return bytearray.find(self, *given)

    def count(self, *given: Any) -> int:
        """Return how often a value occurs."""
        self.guard.read()
        return bytearray.count(self, *given)

    def __getitem__(self, at: Any) -> Any:
        self.guard.read()
        return bytearray.__getitem__(self, at)

    def __setitem__(self, at: Any, value: Any) -> None:
        self.guard.write()
        bytearray.__setitem__(self, at, value)


def guard_chunk(chunk: Any, guard: Guard) -> GuardedPages:
    """Let a chunk's populated bits be watched by a guard, and return them."""
    pages = GuardedPages(chunk.populated)
    pages.guard = guard
    chunk.populated = pages
    return pages


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
    if isinstance(cls.lock, property):  # a class that is guarded already
        return namespace
    return {
        **namespace,
        "lock": _watched(cls.lock, Guard.take_lock),
        "alloc_mutex": _watched(cls.alloc_mutex, Guard.take_mutex),
        **{
            name: _watching(namespace.get(name) or getattr(cls, name))
            for name in ("alloc_chunk", "alloc_first_chunk")
        },
        "enter_chunk": _joining(namespace.get("enter_chunk") or cls.enter_chunk),
    }


def _watched(slot: Any, change: Callable[[Guard, bool], None]) -> property:
    """Return the property that stands for a slot and tells the guard of every change."""
    put = slot.__set__

    def take(allocator: Any, taken: bool) -> None:
        monitor: Monitor | None = getattr(allocator, "monitor", None)
        if monitor is not None:
            change(monitor.guard, taken)
        put(allocator, taken)

    return property(slot.__get__, take)


def _watching(making: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that makes a chunk so that the chunk is watched."""

    @functools.wraps(making)
    def watched(self: Any, *given: Any) -> Any:
        chunk = making(self, *given)
        if chunk is not None and self.monitor is not None:
            guard_chunk(chunk, self.monitor.guard)
        return chunk

    return watched


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
