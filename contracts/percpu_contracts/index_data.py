"""The index data of one allocator, as objects that can tell when they are changed.

They are the fields of the allocator, of its lists, chunks and blocks and of its statistics, and the
containers in all of these. A new chunk is private to who made it until it is listed: in the kernel
pcpu_alloc_chunk fills it in without pcpu_lock. What else changes without it is in UNLOCKED.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, Final

from percpu_contracts.traps import (
    LINKS,
    TWINS,
    Pages,
    adopt,
    become,
    exhaust,
    fields_of,
    held,
    name_in,
    own_slots,
    trap_of,
)

UNLOCKED: Final = {
    "lock": "a lock: how it changes hands is asked of itself",
    "alloc_mutex": "a lock: how it changes hands is asked of itself",
    "async_enabled": "set once, late in boot (percpu_enable_async)",
    "atomic_alloc_failed": "a mark, set after pcpu_lock is released (pcpu_alloc)",
    "warn_limit": "pcpu_alloc counts its warnings with no lock",
    "work_pending": "schedule_work orders requests by itself",
    "work_owed": "as work_pending: requests made before asynchronous work is enabled are lost",
    "pages_array": "pcpu_get_pages makes it under pcpu_alloc_mutex",
    "env": "the rest of the kernel, which has locks of its own",
    "nr_chunks": "pcpu_stats_chunk_alloc and _dealloc take pcpu_lock for this alone",
    "nr_max_chunks": "as nr_chunks",
    "next_id": "no data of the kernel: it names chunks",
    "owned": "no data of the kernel: local variables of the steps that hold a chunk",
    "monitor": "no data of the kernel: it watches",
    "trace": "no data of the kernel: it watches",
    "search_lists": "no data of the kernel: a table of the lists, made at boot",
    "slot_of_bits": "no data of the kernel: a table of constants",
}
"""Fields that may change without pcpu_lock, each with the reason."""

OWNERS: Final = {
    "obj_exts": "pcpu_memcg_post_alloc_hook sets an area's entry after pcpu_lock is released",
}
"""Vectors of chunks whose entries are the affair of each area's owner, with the reason."""


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


class IndexData:
    """The objects of an allocator's index data, each plain or a trap.

    unlocked: names of fields that are none. open: objects that are plain now, with their traps. No
    object is known before the first `shut`.
    """

    def __init__(self, allocator: Any, opened: list[tuple[Any, type]]) -> None:
        self.allocator = allocator
        self.open = opened
        self.open.clear()
        self.unlocked = unlocked_of(allocator.__class__)
        self._kinds: frozenset[type] = frozenset()  # of the objects in lists, chunks and containers
        self._chunks: set[Any] = set()  # those known
        self._things: list[Any] = []  # the objects known, each with its class
        self._plain: list[type] = []
        self._traps: list[tuple[Any, type]] = []  # the same objects with their traps
        self._fixed = False  # the allocator holds the same ones in every state, but for chunks
        self._up_to = 0  # chunks with an id below are known; 0 if anything is to be looked for

    def quiesce(self, chunks: Collection[Any], next_id: int) -> None:
        """Let all objects be plain until the next `shut`: many are about to be written.

        The allocator becomes that of a state with these chunks, and this next_id.
        """
        exhaust(map(become, self._things, self._plain))
        self.open[:] = self._traps
        self._up_to = next_id if self._fixed and self._chunks.issuperset(chunks) else 0

    def shut(self) -> None:
        """Let all objects tell, those included that have come since the last time."""
        if self.allocator.next_id != self._up_to:
            self._look()
        for thing, trap in self.open:  # each is plain, where this is faster than `become`
            thing.__class__ = trap
        self.open.clear()

    def look_again(self) -> None:
        """Look for new objects at the next `shut`."""
        self._up_to = 0
        self._fixed = False

    def name(self, thing: Any, field: object) -> str:
        """Return what changes, in words: a field of an object, or the container it is."""
        for holder in (*self._chunks, self.allocator):
            name = None if thing is holder else name_in(holder, thing, fields_of(holder))
            if name is not None or thing is holder:
                chunk = None if holder is self.allocator else f"chunk {holder.id}"
                return " of ".join(str(part) for part in (field, name, chunk) if part)
        return str(field)

    def _look(self) -> None:
        """Find the objects there are now."""
        allocator = self.allocator
        chunks = dict.fromkeys(allocator.chunks())  # one that is listed twice is one
        whole = True
        if not self._fixed or len(self._chunks) > 2 * len(chunks):
            whole = self._look_through(allocator)
        new = [chunk for chunk in chunks if chunk not in self._chunks]
        for chunk in new:
            if chunk.next is chunk and chunk is not allocator.reserved_chunk:
                whole = False  # private; it may be listed one day
                continue
            fields = [name for name in fields_of(chunk) if name not in OWNERS]
            whole = adopt(chunk, fields) and whole
            self._fixed = self._fixed and not self._has_own(chunk)
            self._chunks.add(chunk)
            parts = [getattr(chunk, name, None) for name in fields if name not in LINKS]
            self._add([chunk, *held(parts, self._kinds)])
        self._up_to = allocator.next_id if whole else 0

    def _look_through(self, allocator: Any) -> bool:
        """Find what the allocator itself holds; False if some of it cannot tell yet."""
        self.open.clear()
        known = allocator.first_chunk.chunk_md, allocator.chunk_lists[0], allocator.stats
        self._kinds = frozenset((Pages, *TWINS.values(), *(one.__class__ for one in known)))
        self._kinds -= {type(None)}
        del known  # what others hold is not adopted
        fields = [name for name in fields_of(allocator) if name not in self.unlocked]
        whole = adopt(allocator, fields)
        self._chunks, self._things, self._plain, self._traps = set(), [], [], []
        self._add(held([getattr(allocator, name, None) for name in fields], self._kinds))
        self._fixed = allocator.stats is None and not self._has_own(allocator)
        return whole

    def _add(self, things: list[Any]) -> None:
        """Know these objects, which become plain."""
        plain = [thing.__class__ for thing in things]
        for thing, cls in zip(things, plain, strict=True):
            if type(thing) is not cls:
                become(thing, cls)
        self._things += things
        self._plain += plain
        traps = list(zip(things, map(trap_of, plain), strict=True))
        self._traps += traps
        self.open += traps

    def _has_own(self, holder: Any) -> bool:
        """Say whether fields of a variant's own hold objects, now or later."""
        if holder.__class__.__dictoffset__:
            return True
        own = own_slots(holder.__class__)
        return any(getattr(holder, name, None).__class__ in self._kinds for name in own)
