"""The allocator's global state and its two locks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from operator import attrgetter
from typing import Any, ClassVar, Final, Self

from percpu_contracts.monitor import Monitor
from percpu_contracts.traps import slots
from percpu_reference.chunk import Chunk, ListHead
from percpu_reference.environment import WARN_LIMIT, Environment, Task
from percpu_reference.events import Event
from percpu_reference.own_state import Name, chunk_class, is_own, own_state, take_over
from percpu_reference.stats import Stats
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import DIRECT_RECLAIM, FS, IO, KERNEL, NORETRY, NOWARN

_OWN = frozenset(
    ("chunk_lists", "env", "first_chunk", "owned", "reserved_chunk", "search_lists", "stats")
)
"""Slots whose values belong to one allocator alone."""

_FIXED = frozenset((
    "block_bits", "block_mask", "block_shift", "empty_low", "free_slot", "geometry", "granule",
    "largest", "nr_slots", "page", "place_chunk", "relegation_slot", "sidelined_slot",
    "slot_of_bits", "to_depopulate_slot", "trace", "unit_size",
))  # fmt: skip
"""Slots that do not change after boot."""

_ID: Callable[[Chunk], int] = attrgetter("id")


@cache
def _shared(cls: type) -> tuple[str, ...]:
    """Return the slots of an allocator but for those of a variant's own state."""
    return tuple(n for base in cls.__mro__ if not is_own(base, Globals) for n in slots(base))


@cache
def _restored(cls: type) -> tuple[str, ...]:
    """Return the slots that an allocator shares with the one it was cloned from and may change."""
    return tuple(n for n in _shared(cls) if n not in _OWN | _FIXED)

LIMITED_WORK: Final = Task(KERNEL | NORETRY | NOWARN, IO | FS)
"""The balance work in its scope (GFP-2), which came with 9a5b183941b5 in 6.15."""
UNLIMITED_WORK: Final = Task(KERNEL | NORETRY | NOWARN, 0)
"""The work before: a request without I/O was atomic, and waited for nobody."""


class Globals:
    """Globals of mm/percpu.c, without their prefix. Counts of pages are per unit.

    Geometry that hot paths read is copied into attributes.
    """

    __slots__ = (
        "alloc_mutex", "async_enabled", "atomic_alloc_failed", "block_bits", "block_mask",
        "block_shift", "chunk_lists", "empty_low", "env", "first_chunk", "free_slot", "geometry",
        "granule", "largest", "lock", "monitor", "next_id", "nr_empty_pop_pages", "nr_populated",
        "nr_slots", "owned", "page", "pages_array", "place_chunk", "relegation_slot",
        "reserved_chunk", "search_lists", "sidelined_slot", "slot_of_bits", "stats",
        "to_depopulate_slot", "trace", "unit_size", "warn_limit", "work_owed", "work_pending",
    )  # fmt: skip

    # clauses a variant is expected to break, and those not asked of it, each with the reason
    EXPECTED: ClassVar[dict[str, str]] = {}
    NOT_APPLICABLE: ClassVar[dict[str, str]] = {}
    # fields of a variant's own, of it or of its chunks, that need no pcpu_lock, with the reason
    UNLOCKED: ClassVar[dict[str, str]] = {}

    CHUNK: ClassVar[type[Chunk]] = Chunk  # of which a variant may derive one with fields of its own
    chunk_types: ClassVar[int] = 1  # types of chunks kept on lists of their own
    BLOCKING: ClassVar[int] = DIRECT_RECLAIM  # flags a request needs, all of them, to sleep (API-3)
    CHARGES_VECTOR: ClassVar[bool] = True  # an area pays for its share of the object vector (ACC-1)
    CHECKS_FREES: ClassVar[bool] = False  # a free that names no live area is refused (API-2)
    # flags that areas of addresses, page tables and the array of pages are asked for with; None:
    # those handed on
    INNER: ClassVar[int | None] = KERNEL
    HANDED_ON: ClassVar[int] = KERNEL | NORETRY | NOWARN  # to the backing, of a caller's flags
    WORK: ClassVar[Task] = LIMITED_WORK  # how the balance work asks for memory
    TESTS_FLOAT_LOCKED: ClassVar[bool] = False  # as soon as an area is found (BAL-4)

    first_chunk: Chunk
    reserved_chunk: Chunk | None
    chunk_lists: list[ListHead]
    search_lists: list[list[ListHead]]  # lists that a search from each list on visits, in order
    slot_of_bits: list[int]  # slot of a run of that many bits
    nr_slots: int
    free_slot: int
    sidelined_slot: int
    to_depopulate_slot: int

    def __init__(
        self,
        geometry: Geometry,
        *,
        stats: bool = False,
        trace: Callable[[Event], None] | None = None,
        place_chunk: Callable[[], int] | None = None,
    ) -> None:
        """Start with no chunk and empty lists.

        place_chunk gives the base address of each new chunk; by default units follow one another.
        """
        self.geometry = geometry
        self.unit_size = geometry.unit
        self.page = geometry.page
        self.granule = geometry.granule
        self.largest = geometry.largest
        self.empty_low = geometry.empty_low
        self.relegation_slot = geometry.relegation_slot
        self.block_bits = geometry.block_bits
        self.block_shift = geometry.block_bits.bit_length() - 1
        self.block_mask = geometry.block_bits - 1
        self.nr_empty_pop_pages = 0
        self.nr_populated = 0
        self.atomic_alloc_failed = False
        self.async_enabled = geometry.async_enabled
        self.work_pending = False
        self.work_owed = not geometry.async_enabled  # requests made so far may have been lost
        self.lock = False  # pcpu_lock
        self.alloc_mutex = False  # pcpu_alloc_mutex
        self.warn_limit = WARN_LIMIT
        self.pages_array = False  # the temporary pages array has been allocated
        self.owned: list[Chunk] = []  # chunks on no list, held by a running step
        self.next_id = 1
        self.env = Environment()
        self.monitor: Monitor | None = None
        self.stats = Stats(geometry.unit) if stats else None
        self.trace = trace
        self.place_chunk = place_chunk

    def spin_lock(self) -> None:
        """Take pcpu_lock."""
        self.lock = True

    def spin_unlock(self) -> None:
        """Release pcpu_lock."""
        self.lock = False

    def schedule_balance_work(self) -> None:
        """Ask for balance work; lost before asynchronous work is enabled."""
        if self.async_enabled:
            self.env.balance_requests += 1
            self.work_pending = True

    @property
    def quiescent(self) -> bool:
        """Whether no balance work is pending, nor owed for requests lost before it was enabled.

        Says nothing of steps under way.
        """
        return self.async_enabled and not self.work_pending and not self.work_owed

    def chunk_type(self, chunk: Any, /) -> int:
        """Return the type of a chunk (AllocatorView)."""
        return 0

    def request_type(self, gfp: int) -> int:
        """Return the type of chunk that serves a request with these flags."""
        return 0

    def float_of(self, chunk_type: int, /) -> int:
        """Return the float that requests for a type of chunk go by, in pages (AllocatorView)."""
        return self.nr_empty_pop_pages

    def new_chunk(self, chunk_id: int, nr_pages: int, base_addr: int) -> Chunk:
        """Return a chunk of the variant's class: all free, without pages, on no list."""
        cls: Any = self.__class__
        return chunk_class(cls)(self.geometry, chunk_id, nr_pages, base_addr)

    def own_state(self, name: Name = _ID) -> tuple[object, ...]:
        """Return what a variant keeps beyond the globals of 6.12, chunks by name, else their id.

        Raises UnknownStateError for what cannot be compared.
        """
        return own_state(self, Globals, name)

    def set_floats(self, floats: Sequence[int]) -> None:
        """Set the float of each type, in pages: for a state that was recorded."""
        self.nr_empty_pop_pages = floats[0]

    def free_list(self, chunk_type: int) -> ListHead:
        """Return the list of a type's fully free chunks."""
        slots = self.nr_slots // self.chunk_types
        return self.chunk_lists[chunk_type * slots + self.free_slot]

    def slot_chunks(self, slot: int, /) -> Iterable[Chunk]:
        """Return the chunks of one list, head to tail (AllocatorView)."""
        return self.chunk_lists[slot]

    def owned_chunks(self) -> Iterable[Chunk]:
        """Return live chunks held by a running step (AllocatorView)."""
        return self.owned

    def listed_chunks(self) -> Iterator[Chunk]:
        """Yield every chunk on a list, by list."""
        for head in self.chunk_lists:
            yield from head

    def chunks(self) -> Iterator[Chunk]:
        """Yield every live chunk: the reserved one, the listed and the owned."""
        if self.reserved_chunk is not None:
            yield self.reserved_chunk
        yield from self.listed_chunks()
        yield from self.owned

    def clone(self) -> tuple[Self, dict[Chunk, Chunk]]:
        """Return an independent copy and the map from old to new chunks.

        Tables and geometry are shared. Only for states in which no step is running.
        """
        cls: Any = self.__class__
        new: Self = cls.__new__(cls)
        for name in _shared(cls):
            object.__setattr__(new, name, getattr(self, name))  # nobody judges a copy
        copies = {chunk: chunk.clone() for chunk in self.chunks()}
        new.chunk_lists = [ListHead(head.slot) for head in self.chunk_lists]
        new.search_lists = [
            new.chunk_lists[lists[0].slot : lists[-1].slot + 1] if lists else []
            for lists in self.search_lists
        ]
        new._link(self, copies)
        return new, copies

    def restore(self, origin: Self, copies: dict[Chunk, Chunk]) -> None:
        """Return to the state of the allocator this one was cloned from, in place.

        Much cheaper than another clone. copies is what the cloning returned.
        """
        cls: Any = self.__class__
        for name in _restored(cls):
            object.__setattr__(self, name, getattr(origin, name))
        for chunk, copy in copies.items():
            copy.restore(chunk)
        self._link(origin, copies)

    def _link(self, origin: Self, copies: dict[Chunk, Chunk]) -> None:
        """Take over the lists and what else belongs to one allocator alone."""
        take_over(origin, self, copies, Globals)
        self.env = origin.env.clone()
        self.stats = None if origin.stats is None else origin.stats.clone()
        # one that was destroyed, against LIST-1, has no copy and changes no more
        self.first_chunk = copies.get(origin.first_chunk, origin.first_chunk)
        self.reserved_chunk = copies[origin.reserved_chunk] if origin.reserved_chunk else None
        self.owned = [copies[chunk] for chunk in origin.owned]
        for head, own in zip(origin.chunk_lists, self.chunk_lists, strict=True):
            last: Any = own
            chunk = head.next
            while chunk is not head:
                copy = copies[chunk]
                last.next = copy
                copy.prev = last
                last = copy
                chunk = chunk.next
            last.next = own
            own.prev = last
