"""Steps: what an operation does between two points at which pcpu_lock is free.

Whoever runs an allocator, the model or a compiled kernel, describes each step so; whoever judges
one knows nothing else of it. Pages and bits are ranges [start, end) of a chunk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple, Protocol

from percpu_spec.views import ChunkView


class Kind(Enum):
    """What the step that leaves a gap is about to do. Judges go by it, never by the gap's name.

    A gap that does not tell is a PAUSE: what is done is judged when it has been done.
    """

    PAUSE = auto()  # others run; nothing is told
    WAIT = auto()  # for pcpu_alloc_mutex
    CREATE = auto()  # an allocation creates a chunk
    FILL = auto()  # an allocation populates pages of its area
    FLAGS = auto()  # only flags and requests for work are left to do
    WORK = auto()  # the balance work goes on
    GROW = auto()  # the balance work creates a chunk
    POPULATE = auto()  # the balance work populates pages
    RELEASE = auto()  # pages of a chunk that lives on are released
    FLUSH = auto()  # translations of released pages are flushed
    DRAIN = auto()  # pages of a chunk that is to be destroyed are released
    DESTROY = auto()  # a chunk goes back to the kernel


class GapView(Protocol):
    """A gap in which an operation stands, with the chunk and the pages that it holds."""

    @property
    def kind(self) -> Kind:
        """What the step that leaves it is about to do."""
    @property
    def chunk(self) -> ChunkView | None:
        """The chunk that the operation holds, if any."""
    @property
    def start(self) -> int:
        """The first of the pages that it holds."""
    @property
    def end(self) -> int:
        """The page behind the last of them."""


class Deed(Enum):
    """Something that a step did to a chunk."""

    PLACED = auto()  # an area was taken; the range is one of bits
    POPULATED = auto()  # pages were counted as populated
    RELEASED = auto()  # pages were unmapped and given back
    FLUSHED = auto()  # their translations were flushed on every CPU
    DESTROYED = auto()


class DeedRange(NamedTuple):
    """A deed, and the range of the chunk that it was done to."""

    deed: Deed
    chunk: ChunkView
    start: int = 0
    end: int = 0


class AreaExtent(NamedTuple):
    """An area by its chunk, byte offset and size in bytes."""

    chunk: ChunkView
    off: int
    size: int


METADATA, AREAS, PAGES, TABLES, CHARGE = REQUESTS = (
    "metadata", "vm areas", "pages", "page tables", "a charge"
)  # fmt: skip
"""What the allocator asks the rest of the kernel for: bookkeeping of its own (the array of pages
too), addresses, backing pages, the tables that map them, and the cgroup's consent."""
HANDED: Final = frozenset({PAGES, CHARGE})
"""Those that a caller's own flags are handed on to in every release."""


class MemoryRequest(NamedTuple):
    """What is asked for, one of REQUESTS, and the flags with the task's scope applied (gfp)."""

    kind: str
    gfp: int


@dataclass(slots=True)
class Step:
    """One step: whose, from where to where, what it found and what it did.

    kind is that of the operation, as in operation lists: a, f, b. floats: of each type of chunks,
    in pages, before the step. places: the list, by number, of each listed chunk before it.
    standing: the gaps in which operations stand after it. waiting: areas placed by blocking
    allocations that are under way, and whether each of these holds pcpu_alloc_mutex.
    """

    kind: str
    left: GapView | None  # None for an operation that begins
    stand: GapView | None  # None for one that has ended
    floats: Sequence[int]
    places: Mapping[ChunkView, int]
    did: Sequence[DeedRange]
    standing: Sequence[GapView] = ()
    waiting: Sequence[tuple[AreaExtent, bool]] = ()
    freed: ChunkView | None = None  # what a free that begins frees into
    area: AreaExtent | None = None  # handed out at the end of the operation
    asked: bool = True  # the operation has asked for balance work, could not or need not (BAL-4)
    exposed: str | None = None  # the chunk of the gap left could be found meanwhile, and where
    # of a free that names no live area, where that is refused: it changed the state; it warned
    refusal: tuple[bool, bool] | None = None
    requests: Collection[MemoryRequest] = ()  # made in the step
    denied: int = 0  # which of I/O and file systems all of them must do without (gfp)
    handed: int = 0  # and those of them that the caller's own flags are handed on to, HANDED

    def deeds(self, deed: Deed) -> list[DeedRange]:
        """Return what of one sort the step did."""
        return [done for done in self.did if done.deed is deed] if self.did else []
