"""What CrossHair is given for each function: a small allocator, chunks, and the arguments.

The float elsewhere, the threshold HIGH and every counter are integer symbols, so what is shown of
them holds for any number. Lists, and pages where a map is read, are branches of the search.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from percpu_proofs.prove.small.case import Size
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices, assume
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator

SIZE = Size(3, 2)
LARGEST_UNIT = 1 << 30  # bytes

ANY = "any float, any HIGH, any counters"
PLACED = "a chunk on its list, relegated, sidelined or on to_depopulate; " + ANY
PAGES = "a chunk of 3 pages, each unpopulated, empty or used"
STARTED = "a chunk of 3 pages, the first used, the others unpopulated, empty or used"
FAILING = "memory that lasts or runs out at any request"

Arguments = tuple[Any, ...]


class CountersSubject(Scene):
    """An allocator whose float, HIGH and first chunk's counter are any number."""

    afresh = True

    def __init__(self, cls: type[Allocator], choose: Choices, **options: Any) -> None:
        high = options.pop("high", None)
        super().__init__(cls, choose, SIZE, **options)
        allocator = self.allocator
        self.change(empty_high=choose.natural(1) if high is None else 1 + choose.whole(high))
        self.add_empty(allocator.first_chunk, choose.natural())
        allocator.monitor.history.begin_area(allocator.first_chunk)  # its map does not say so

    def change(self, **fields: Any) -> None:
        """Give the allocator a geometry with other numbers, symbols among them."""
        geometry = copy.copy(self.allocator.geometry)
        for name, value in fields.items():
            object.__setattr__(geometry, name, value)
        self.allocator.geometry = self.geometry = geometry

    def add_empty(self, chunk: Chunk, number: Any) -> None:
        """Count so many empty pages more, in a chunk that counts and in the float."""
        chunk.nr_empty_pop_pages += number
        self.allocator.nr_empty_pop_pages += number

    def some_chunk(self) -> Chunk:
        """Return a chunk with a used bit and any number of empty pages, on no list."""
        chunk = self.chunk([1, 0, 0, 0, 0, 0], [1, 1, 1])
        chunk.nr_empty_pop_pages = self.choose.natural()
        self.allocator.monitor.history.begin_area(chunk)  # its map says another number
        return chunk

    def waiting(self) -> Chunk:
        """Return a chunk of pages on to_depopulate."""
        return self.isolate(self.chunk_of_pages())

    def pages(self, chunk: Chunk, populated: bool, *, used: bool = True) -> tuple[int, int]:
        """Return a range of pages that are all populated, or none of them."""
        start, end = self.range_in(chunk.nr_pages)
        assume(chunk.populated.find(not populated, start, end) < 0)
        bits = self.size.bits
        assume(used or chunk.alloc_map.find(1, start * bits, end * bits) < 0)
        return start, end

    def any_totals(self) -> None:
        """Let any number of pages be populated, and backed, elsewhere."""
        self.allocator.nr_populated += self.choose.natural()
        self.allocator.env.live_pages += self.choose.natural()

    def failing(self, *kinds: str) -> None:
        """Let memory of these kinds last, or run out at any request from now."""
        for kind in kinds:
            getattr(self.allocator.env, f"{kind}_fault").kth = self.choose.natural()


@dataclass(frozen=True, slots=True)
class CallSubject:
    """How a function is called: what it is given, in words, and how that is made.

    settled: the clauses about states hold when it returns.
    """

    words: str
    make: Callable[[CountersSubject], Arguments]
    settled: bool
    options: dict[str, Any]

    def given(self, cls: type[Allocator], choose: Choices) -> tuple[Any, Arguments]:
        """Return an allocator of a class without contracts, and the arguments."""
        subject = CountersSubject(cls, choose, **self.options)
        arguments = self.make(subject)
        return subject.allocator, arguments


ENTRIES: dict[str, CallSubject] = {}
"""What functions are given, by name."""


def _given(
    words: str, *, settled: bool = False, **options: Any
) -> Callable[[Callable[[CountersSubject], Arguments]], Any]:
    """Enter what the function of this name is given; options is the scene's, locks among it."""

    def enter(make: Callable[[CountersSubject], Arguments]) -> Any:
        ENTRIES[make.__name__] = CallSubject(words, make, settled, options)
        return make

    return enter


SLEEPS = {"lock": False, "mutex": True}
BOTH = {"lock": True, "mutex": True}


# slots


@_given("any size up to a unit, a unit of any size up to 1 GiB")
def size_to_slot(subject: CountersSubject) -> Arguments:
    """Take any size."""
    unit = 1 + subject.choose.whole(LARGEST_UNIT)
    subject.change(unit=unit)
    subject.allocator.unit_size = unit
    return (subject.choose.whole(unit + 1),)


@_given(f"{PLACED}; any slot")
def chunk_move(subject: CountersSubject) -> Arguments:
    """Move a chunk, or the first, to any list."""
    chunk = subject.put_somewhere(subject.some_chunk())
    return chunk, subject.choose.number(subject.allocator.nr_slots)


@_given(f"{PLACED}; any contig_hint, free bytes and old slot")
def chunk_relocate(subject: CountersSubject) -> Arguments:
    """Take a chunk whose hint has changed."""
    chunk = subject.put_somewhere(subject.some_chunk())
    choose = subject.choose
    chunk.chunk_md.contig_hint = choose.number(chunk.map_bits + 1)
    chunk.free_bytes = chunk.chunk_md.contig_hint * subject.geometry.granule + choose.natural()
    return chunk, choose.whole(subject.allocator.nr_slots + 1) - 1


@_given(f"{PLACED}; isolated, or with HIGH empty pages elsewhere", settled=True)
def isolate_chunk(subject: CountersSubject) -> Arguments:
    """Take a chunk that qualifies, as its callers make sure."""
    chunk = subject.put_somewhere(subject.some_chunk())
    elsewhere = subject.allocator.nr_empty_pop_pages - chunk.nr_empty_pop_pages
    assume(chunk.isolated or elsewhere >= subject.geometry.empty_high)
    return (chunk,)


@_given(PLACED, settled=True)
def reintegrate_chunk(subject: CountersSubject) -> Arguments:
    """Take a chunk, isolated or not."""
    return (subject.put_somewhere(subject.some_chunk()),)


@_given(f"{PLACED}, or the reserved chunk; any change")
def update_empty_pages(subject: CountersSubject) -> Arguments:
    """Take any change of a counter."""
    chunk = subject.some_chunk()
    if subject.choose.bit():
        subject.allocator.reserved_chunk = chunk
    else:
        subject.put_somewhere(chunk)
    return chunk, subject.choose.natural() - subject.choose.natural()


# chunks and their pages


@_given(f"{FAILING}; with and without memcg", **SLEEPS)
def alloc_chunk(subject: CountersSubject) -> Arguments:
    """Take any point at which memory runs out."""
    subject.change(memcg=subject.choose.bit())
    subject.failing("metadata")
    return (0,)


@_given(f"{FAILING}; with and without memcg", **SLEEPS, settled=True)
def create_chunk(subject: CountersSubject) -> Arguments:
    """Take any point at which memory runs out."""
    subject.change(memcg=subject.choose.bit())
    subject.failing("metadata", "vm")
    return (0,)


@_given(f"a fully free chunk without pages in its owner's hands; {ANY}", **SLEEPS, settled=True)
def destroy_chunk(subject: CountersSubject) -> Arguments:
    """Take a chunk that nobody needs."""
    return (subject.own(subject.free_chunk([0] * 3)),)


@_given(
    f"{PAGES}, on its list or sidelined; any range not populated; {ANY}; any pages populated "
    "elsewhere",
    **BOTH,
)
def chunk_populated(subject: CountersSubject) -> Arguments:
    """Take any range that was not populated."""
    subject.any_totals()
    return _listed_or_not(subject)


def _listed_or_not(subject: CountersSubject) -> Arguments:
    """Return a chunk that is isolated or not, and a range of it that is not populated."""
    chunk = subject.chunk_of_pages()
    isolated = subject.choose.bit()
    slot = subject.allocator.sidelined_slot if isolated else -1
    subject.put(chunk, slot, isolated=isolated)
    return chunk, *subject.pages(chunk, False)


@_given(
    f"{PAGES}, on to_depopulate or about to be destroyed; any empty range; {ANY}; any pages "
    "populated elsewhere",
    **BOTH,
)
def chunk_depopulated(subject: CountersSubject) -> Arguments:
    """Take any empty range of a chunk that reclaim or its destroyer holds."""
    subject.any_totals()
    chunk = subject.chunk_of_pages()
    if subject.choose.bit():
        subject.isolate(chunk)
    else:
        assume(chunk.free_bytes == subject.geometry.unit)
        subject.own(chunk)
    return chunk, *subject.pages(chunk, True, used=False)


@_given(f"any range of 3 unpopulated pages; any pages backed elsewhere; {FAILING}", **SLEEPS)
def populate_chunk(subject: CountersSubject) -> Arguments:
    """Take any range, and any point at which memory runs out."""
    subject.any_totals()
    subject.allocator.env.memory = subject.choose.natural()
    subject.failing("metadata", "map")
    chunk = subject.put(subject.free_chunk([0] * 3))
    return chunk, *subject.pages(chunk, False)


@_given(f"{PAGES}, on to_depopulate; any empty range; any pages backed elsewhere", **SLEEPS)
def depopulate_chunk(subject: CountersSubject) -> Arguments:
    """Take any empty range of a chunk that waits."""
    subject.any_totals()
    chunk = subject.waiting()
    return chunk, *subject.pages(chunk, True, used=False)


@_given("a chunk wherever it may be; any range", **SLEEPS, settled=True)
def post_unmap_tlb_flush(subject: CountersSubject) -> Arguments:
    """Take any range."""
    chunk = subject.put_somewhere(subject.some_chunk())
    return chunk, *subject.pages(chunk, True)


@_given(f"{PLACED}, the first or the reserved chunk; any number of pages; a divisor of 1 to 4")
def should_reclaim_chunk(subject: CountersSubject) -> Arguments:
    """Take any chunk with any counters."""
    subject.put(subject.some_chunk())
    chunk = subject.some_chunk()
    where = subject.choose.number(3)
    if where == 0:
        chunk = subject.allocator.first_chunk
    elif where == 1:
        subject.allocator.reserved_chunk = chunk
    else:
        subject.put_somewhere(chunk)
    chunk.nr_pages = chunk.nr_empty_pop_pages + subject.choose.natural()
    subject.change(reclaim_divisor=1 + subject.choose.number(4))
    return (chunk,)


# balance work


@_given(f"{FAILING}; {ANY}", **SLEEPS, settled=True)
def balance_create(subject: CountersSubject) -> Arguments:
    """Take any point at which memory runs out."""
    subject.failing("metadata", "vm")
    return (0,)


@_given(
    f"up to two fully free chunks of 3 pages, each populated or not; {ANY}", **BOTH, settled=True
)
def balance_free(subject: CountersSubject) -> Arguments:
    """Take chunks that are not needed."""
    for _ in range(subject.choose.number(3)):
        subject.put(subject.free_chunk(subject.some_pages()))
    return subject.choose.bit(), 0


@_given(
    f"{STARTED}, on its list; any float, HIGH up to 2; {FAILING}", **BOTH, high=2, settled=True
)
def balance_populated(subject: CountersSubject) -> Arguments:
    """Take a float that may be low, or a failed atomic request."""
    subject.put(subject.chunk_of_pages(first_used=True))
    subject.failing("map")
    subject.allocator.atomic_alloc_failed = subject.choose.bit()
    return (0,)


@_given(f"{STARTED}, wherever it may be; any float, HIGH up to 2", lock=False, high=2, settled=True)
def balance_workfn(subject: CountersSubject) -> Arguments:
    """Take a chunk of which anything may be to be done."""
    subject.put_somewhere(subject.chunk_of_pages(first_used=True))
    return ()


@_given(f"{PAGES}, on its list or sidelined; any range not populated; {ANY}", **BOTH)
def enter_populated(subject: CountersSubject) -> Arguments:
    """Take any range that was populated just now."""
    return _listed_or_not(subject)


@_given(f"{PAGES}, on to_depopulate; any empty range; {ANY}", **BOTH)
def enter_released(subject: CountersSubject) -> Arguments:
    """Take any empty range that was released just now."""
    chunk = subject.waiting()
    return chunk, *subject.pages(chunk, True, used=False)


@_given(f"{PAGES}, on to_depopulate; {ANY}", **BOTH, settled=True)
def reclaim_populated(subject: CountersSubject) -> Arguments:
    """Take a chunk that waits."""
    subject.waiting()
    return ()


@_given(f"{PAGES}, on to_depopulate; {ANY}", **BOTH, settled=True)
def depopulate_empty(subject: CountersSubject) -> Arguments:
    """Take a chunk that waits."""
    return (subject.waiting(),)


_WHY_NOT = {
    "areas": "bits of the maps would all be constants",
    "balance": "it runs the whole work, and is asked nothing at level full",
    "chunks": "the maps that it makes would all be constants",
    "fit": "bits and hints would all be constants; for any size z3 proves them",
    "hints": "bits and hints would all be constants; for any size z3 proves them",
    "memcg": "it charges areas, whose bits would all be constants",
    "operations": "it searches maps, whose bits would all be constants",
}
"""Why symbols say nothing of the other functions, by module."""


def why_not(cls: type[Allocator], name: str = "") -> str:
    """Return why CrossHair is given nothing for a function of a checked class, or for any."""
    if cls.chunk_types > 1:
        return f"chunks of {cls.chunk_types} types are not made of symbols"
    owner = next(base for base in reversed(cls.__mro__) if name in vars(base))
    why = _WHY_NOT.get(owner.__module__.rsplit(".", 1)[-1])
    return f"{why}; enumerated" if why else "a function of the variant's own: nothing is given"
