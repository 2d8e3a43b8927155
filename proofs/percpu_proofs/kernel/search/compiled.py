"""A compiled kernel with a search of its schedules (stubs/search), as Python drives it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from percpu_proofs.kernel.instance import DESCRIBED, Library, LoadedLibrary, Point, as_compiled
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import Operation, text_of
from percpu_spec.geometry import Geometry

LOCKS: Final = (Point.UNLOCKED, Point.RELEASED)
"""Points at which an actor of the kernel stands wherever a lock has been released."""
ALL_POINTS: Final = tuple(range(Point.UNLOCKED, Point.WAITING))
FAULTS: Final = (
    "page", "area", "metadata", "mapping", "charge", "wait",
    "second metadata", "third metadata", "fourth metadata", "second mapping",
)  # fmt: skip
"""What can be refused, in the order of the stubs' bits."""
MOST_HANDLES: Final = 64
MOST_PAGES: Final = 64
"""Of a unit: a record has a word of 64 bits for each map of pages."""

MOST_OPERATIONS: Final = 16
MOST_ACTORS: Final = 8
MOST_VARIABLES: Final = 32
_MOST_WORDS: Final = 1 << 16
_MOST_LABELS: Final = 512
_COUNT: Final = 10  # which word of a state has the number of chunks

WORK: Final = 32
BEGIN: Final = 64
FREE: Final = 128
"""Labels of an open search: 0 to 7 an actor goes on, 32 the work begins, 64 + k an operation of the
alphabet, 128 + h a free of a handle, 192 a second free, 193 one inside an area. A bit from 256 on
says which request is refused."""
REFUSED: Final = 256
RUNS: Final = 1 << 18
"""Labels of steps that were taken: so often its actor ran within the step, times this."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What is searched: from a setup on, callers who choose from an alphabet, or actors.

    operations: the alphabet if there is a `longest`, else what each actor does. programs: draw so
    many at random, in the place of all there are. merge: stop where the model stops. raw: tell
    states apart by all of memory. refuses: frees that name no live area are tried,
    which a tree refuses (API-2).
    """

    sizes: str  # of a geometry, as on the command line
    operations: tuple[Operation, ...]
    setup: tuple[Operation, ...] = ()
    longest: int = 0
    together: int = 1
    programs: int = 0
    works: int = 2
    waiting: bool = False
    failures: int = 0
    faults: tuple[str, ...] = ("page", "area")
    points: tuple[int, ...] = LOCKS
    merge: bool = False
    raw: bool = False
    refuses: bool = False
    stops_at: tuple[int, ...] = ()  # places in a library that notes accesses, as offsets
    most_states: int = 400_000

    @property
    def geometry(self) -> Geometry:
        """The geometry. Raises GeometryError for one that no kernel boots with."""
        return Geometry().with_changes(self.sizes).require_kernel()

    @property
    def setup_texts(self) -> tuple[str, ...]:
        """The operations of the setup, as the operation language writes them."""
        return tuple(map(text_of, self.setup))


class CompiledSearch(LoadedLibrary):
    """One search of a compiled kernel. At most one at a time lives in a process.

    A search keeps to fixed addresses, so that a state can be restored by copying.
    """

    def __init__(self, library: Library, plan: SearchPlan) -> None:
        """Boot, do the setup. Raises KernelStopped, InputError for a geometry that is too large."""
        geometry = plan.geometry
        if geometry.unit // geometry.page > MOST_PAGES:
            expected = f"units of up to {MOST_PAGES} pages"
            raise InputError("geometry", None, expected, f"{geometry.unit} bytes")
        super().__init__(library, "interface.h", "search/search.h")
        self.plan = plan
        self.geometry = as_compiled(self.lib, geometry)
        self.needed: int = self.lib.percpu_constants[3]  # flags that it takes to sleep
        self.lib.percpu_refuses = plan.refuses
        try:
            if self.lib.percpu_regions():
                raise InputError("memory", None, "room at the addresses that a search keeps to")
            self.boot(library, geometry)
            for operation in plan.setup:
                entry = self.fill(self.ffi.new("struct percpu_operation *"), operation)
                self.check(self.lib.percpu_apply(entry, self.ffi.new("struct percpu_outcome *")))
            self._begin(library)
            # how many lists, then the numbers of sidelined, free and to_depopulate
            self.lists = tuple(self.lib.percpu_slots)
        except BaseException:
            self.close()  # or its timer would ring on
            raise

    def _begin(self, library: Library) -> None:
        plan, entry = self.plan, self.ffi.new("struct percpu_plan *")
        actors = 0 if plan.longest else len(plan.operations) + plan.works
        if len(plan.operations) > MOST_OPERATIONS or actors > MOST_ACTORS:
            expected = f"at most {MOST_ACTORS} actors with the runs of the work"
            raise InputError("scenario", None, expected, f"{actors}")
        undescribed = [v for v in library.variables if v.plain_name not in DESCRIBED]
        if len(undescribed) > MOST_VARIABLES:
            raise InputError("tree", None, f"at most {MOST_VARIABLES} variables of its own")
        entry.nr_operations = len(plan.operations)
        for number, operation in enumerate(plan.operations):
            self.fill(self.ffi.addressof(entry.operations, number), operation)
        entry.open, entry.longest, entry.together = bool(plan.longest), plan.longest, plan.together
        entry.works, entry.waiting, entry.failures = plan.works, plan.waiting, plan.failures
        entry.faults = sum(1 << FAULTS.index(name) for name in plan.faults)
        entry.stops = sum(1 << point for point in plan.points)
        entry.merge, entry.raw, entry.most_states = plan.merge, plan.raw, plan.most_states
        words = [word for one in undescribed for word in (one.offset, one.size)]
        self.lib.percpu_undescribed[0 : len(words)] = words
        self.lib.percpu_nr_undescribed = len(words)
        if plan.stops_at:  # only a library that notes accesses has room for them
            stops = [self.lib.percpu_base() + offset for offset in plan.stops_at]
            self.lib.percpu_access_stops[0 : len(stops)] = stops
            self.lib.percpu_nr_access_stops = len(stops)
        self.check(self.lib.percpu_search_begin(entry))

    def fill(self, entry: Any, operation: Operation) -> Any:
        """Write an operation. Raises InputError for more handles than a search has room for."""
        super().fill(entry, operation)
        if len(self._numbers) > MOST_HANDLES:
            raise InputError("setup", None, f"at most {MOST_HANDLES} handles")
        return entry

    def end(self) -> None:
        """Give back what the library has taken."""
        self.lib.percpu_search_end()

    @property
    def tally(self) -> Any:
        """Counts of the search so far (struct percpu_tally)."""
        return self.lib.percpu_tally

    def go(self, edges: int) -> bool:
        """Search on for about so many steps; return whether there is more."""
        return bool(self.lib.percpu_search_go(edges))

    def path(self, node: int, label: int | None) -> tuple[int, ...]:
        """Return the labels that lead from the start to a state of the search, and a last one."""
        most = self.lib.percpu_nodes[node].depth
        labels = self.ffi.new("int[]", most + 1)
        self.lib.percpu_search_path(node, labels, most)
        return (*labels[0:most], *(() if label is None else (label,)))

    def replay(self, labels: Sequence[int]) -> bool:
        """Go to where labels lead; return whether the kernel came there."""
        return bool(self.lib.percpu_search_replay(list(labels), len(labels)) == len(labels))

    def run_work_alone(self, labels: Sequence[int]) -> bool:
        """Go to where labels lead and let the work run alone; return whether labels lead there."""
        can = self.replay(labels)
        self.lib.percpu_nr_stop_trace = 0
        if can:
            self.lib.percpu_search_enabled(0, self.ffi.new(f"int[{_MOST_LABELS}]"))
        return can

    def operation(self, actor: int) -> tuple[str, int, int, int, bool, int]:
        """Return the operation of an actor under way or just ended; its handle is the library's."""
        entry = self.ffi.new("struct percpu_operation *")
        self.lib.percpu_search_operation(actor, entry)
        return (
            chr(entry.kind), entry.handle, entry.size, entry.align, bool(entry.reserved), entry.gfp
        )  # fmt: skip

    @property
    def handles(self) -> dict[int, int]:
        """The handles of the setup and of actors by the library's numbers for them."""
        return {number: handle for handle, number in self._numbers.items()}

    def look(self) -> tuple[list[int], list[memoryview]]:
        """Return the words of the present state, and of its chunks' records.

        Raises KernelStopped where lists are corrupt.
        """
        words, records = self.ffi.new("int[128]"), self.ffi.new(f"int[{_MOST_WORDS}]")
        count = self.lib.percpu_search_look(words, records, _MOST_WORDS)
        self.check(count)
        found, at = [], 0
        for _ in range(words[_COUNT]):
            size = records[at] * 4
            found.append(memoryview(self.ffi.buffer(records + at, size)[:]).cast("i"))
            at += records[at]
        return self.ffi.unpack(words, count), found

    def trace(self, actor: int) -> tuple[int, list[int]]:
        """Return the point at which an actor stands, and offsets in the library of its functions.

        The innermost return address comes first.
        """
        addresses, point = self.ffi.new("unsigned long[32]"), self.ffi.new("int *")
        count = self.lib.percpu_search_trace(actor, addresses, 32, point)
        return point[0], self._offsets(addresses, count)

    def stop_trace(self) -> list[int]:
        """Return the same offsets of the functions in which the kernel stopped last."""
        return self._offsets(self.lib.percpu_stop_trace, self.lib.percpu_nr_stop_trace)

    def _offsets(self, addresses: Any, count: int) -> list[int]:
        base = self.lib.percpu_base()  # the outermost frame returns to nowhere, or into libc
        return [addresses[i] - base for i in range(count) if addresses[i] > base]


class CompiledSystem:
    """The operations of a compiled kernel (Steppable). What is met is entered in its search.

    Steps are labels, states the numbers of nodes; the start is 0.
    """

    def __init__(self, search: CompiledSearch) -> None:
        self.search = search
        self.node = 0
        self.stopped = False  # the kernel has stopped, or there is no room for more states
        self._labels = search.ffi.new(f"int[{_MOST_LABELS}]")

    def enabled(self) -> list[int]:
        """Return the steps that can be taken now; where all is at rest, that is looked at too."""
        if self.stopped:
            return []
        count = self.search.lib.percpu_search_enabled(self.node, self._labels)
        return self.search.ffi.unpack(self._labels, count) if count else []

    def step(self, step: int) -> bool:
        """Take a step; return whether it led on. One that does not is undone, or the end."""
        lib = self.search.lib
        tally = self.search.tally
        states, stops = tally.states, tally.kernel_stops
        node = lib.percpu_search_step(self.node, step)
        if node < 0:
            self.stopped = bool(tally.full) or tally.kernel_stops > stops
            if not self.stopped:  # it was to be refused memory, and asked for none
                self.load(self.node)
            return False
        self.node = node
        if tally.states == states:  # known: its own schedule numbers actors as it will
            self.load(node)
        return True

    def load(self, node: int) -> None:
        """Go back to a state."""
        self.node = node
        self.stopped = not self.search.lib.percpu_search_come(node)
