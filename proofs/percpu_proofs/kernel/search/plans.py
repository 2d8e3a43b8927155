"""The searches of a tree: alphabets, geometries, bounds. One readable place.

The alphabets are those of the searches of variants (explore/searches.py) as far as there are some.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from percpu_proofs.explore.scenario import KERNEL_32K, Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.searches import CRUMBS, EDGES, PAGES, QUARTERS
from percpu_proofs.explore.system import scheduled
from percpu_proofs.kernel.instance import ACCESS, BuildForm
from percpu_proofs.kernel.search.compiled import (
    ALL_POINTS,
    BEGIN,
    FREE,
    LOCKS,
    REFUSED,
    WORK,
    CompiledSearch,
    CompiledSystem,
    SearchPlan,
)
from percpu_proofs.run.choices import Choices, drawn
from percpu_proofs.run.operations import Operation, parse_operations
from percpu_spec.counts import counted
from percpu_spec.geometry import LEAST_UNIT, Geometry


@dataclass(frozen=True, slots=True)
class TreeSearch:
    """One search of a tree: its name, what it is about, and its plan."""

    name: str
    what: str
    plan: SearchPlan
    noted: bool = False  # accesses without pcpu_lock are noted

    @property
    def form(self) -> BuildForm:
        """The form that the tree is compiled in."""
        return BuildForm.of(self.plan.geometry)

    @property
    def bound(self) -> str:
        """What is searched, in words."""
        plan = self.plan
        kinds = plan.faults[0] if len(plan.faults) == 1 else f"{len(plan.faults)} kinds"
        failures = f", {plan.failures} refused, of {kinds}" if plan.failures else ""
        if plan.programs:
            return (
                f"{plan.programs} drawn programs of {counted(plan.longest, 'operation')}, up to "
                f"{plan.together} at once{failures}, and the work"
            )
        if not plan.longest:
            return f"every schedule of {len(plan.operations)} actors and {plan.works} runs of work"
        at_once = f", {plan.together} at once" if plan.together > 1 else ""
        length = counted(plan.longest, "operation")
        return f"every list of up to {length}{at_once}{failures}, and the work"


def _requests(texts: Iterable[str]) -> tuple[Operation, ...]:
    return tuple(parse_operations(Path("alphabet"), [f"a 0 {text}" for text in texts]).operations)


def _open(
    name: str, what: str, requests: Iterable[str], longest: int, sizes: str = "", **more: Any
) -> TreeSearch:
    sizes = f"{KERNEL_32K},{sizes}" if sizes else KERNEL_32K
    plan = SearchPlan(sizes, _requests(requests), longest=longest)
    return TreeSearch(name, what, replace(plan, **more))


_OPEN = (
    _open("quarters", "quarters of a page, some aligned to half a page", QUARTERS, 5),
    _open("crumbs", "a chunk filled but for a few bytes", CRUMBS, 4),
    _open("edges", "a chunk filled but for quarters of a page", EDGES, 4),
    _open("pages", "whole pages, some for requests that must not sleep", PAGES, 6),
    _open("whole", "a full first chunk, then single pages", ("28672 4 -", "4096 4 A"), 7),
    _open(
        "pairs", "pages and pairs of pages, two callers at once",
        ("28672 4 -", "8192 4 -", "4096 4 -", "4096 4 A"), 4, together=2,
    ),
    _open("race", "pairs of pages, two callers at once", ("8192 4 -", "8192 4 A"), 6, together=2),
    _open(
        "refused", "memory that runs out", ("28672 4 -", "8192 4 -", "4096 4 A"), 4, failures=1,
        faults=(
            "page", "area", "metadata", "second metadata", "third metadata", "fourth metadata",
            "mapping", "second mapping",
        ),
    ),
    _open(
        "charged", "accounted requests, and charges that are refused",
        ("28672 4 G", "4096 4 AG", "4096 4 -"), 4, "memcg=1", failures=1, faults=("charge",),
    ),
    _open(
        "reserved", "reserved requests beside others, and requests that are illegal",
        ("4096 4 R", "28672 4 -", "4096 4 RA", "4096 12 W", "32772 4 W"), 4,
        "static=100,reserved=8192,dyn=20480",
    ),
    _open(
        "killed", "waits for the mutex that end early", ("28672 4 -", "4096 4 -", "4096 4 F"), 3,
        together=2, waiting=True, failures=1, faults=("wait",),
    ),
    _open(
        "limits", "requests without I/O or file systems, by their flags and by their task's scope",
        ("28672 4 -", "4096 4 S", "4096 4 O", "4096 4 s", "4096 4 o"), 3,
    ),
    _open("km", "chunks born populated", ("28672 4 -", "28672 4 A", "4096 4 -"), 5, "backing=km"),
)  # fmt: skip


def of_scenario(scenario: Scenario, *, fine: bool = True) -> TreeSearch:
    """Return the search of a scenario; fine: stop at every point, not where the model stops."""
    plan = SearchPlan(
        scenario.geometry, scenario.concurrent, scenario.prepared, works=scenario.works,
        waiting=scenario.waiting, failures=scenario.failures, merge=not fine,
        points=ALL_POINTS if fine else LOCKS,
    )  # fmt: skip
    return TreeSearch(scenario.name, scenario.what, plan)


_SIZES = "4096 4 -", "4096 4 A", "8192 4 -", "12288 4 -", "16384 4 A", "20480 4 -", "28672 4 -"
_CRUMBS = "4 4 -", "12 4 A", "1024 4 -", "2048 4 -", "4092 4 -", "4100 4 A", "4096 4096 -"
_FULL = "32768 4 -", "32768 4 A"


def _drawn(name: str, what: str, requests: Iterable[str], *sizes: str, **more: Any) -> TreeSearch:
    return _open(name, what, requests, 24, *sizes, together=3, programs=150, **more)


DRAWN = (
    _drawn("drawn", "few sizes each, many operations", (*_SIZES, *_CRUMBS, *_FULL)),
    _drawn(
        "drawn-refused", "the same with memory refused", (*_SIZES, *_CRUMBS, *_FULL), failures=2,
        faults=("page", "area", "metadata", "mapping"), waiting=True,
    ),
    _drawn(
        "drawn-charged", "accounted requests beside others",
        (*_SIZES, *(f"{text}G".replace("-", "") for text in _SIZES)), "memcg=1",
    ),
)  # fmt: skip
"""Programs drawn at random, with more operations than all lists can be tried of."""

QUICK: tuple[TreeSearch, ...] = (*_OPEN, *(of_scenario(s) for s in SCENARIOS.values()))
"""What `review --source` runs first, each to its end."""


UNNAMED = _open(
    "unnamed", "frees that name no live area, which the tree refuses",
    ("28672 4 -", "4096 4 -", "64 4 A"), 4, refuses=True,
)  # fmt: skip
"""Runs beside QUICK where a tree refuses such frees (API-2)."""


def search_named(name: str) -> TreeSearch:
    """Return one of the searches by its name."""
    return next(search for search in (*QUICK, *DRAWN) if search.name == name)


def deeper(search: TreeSearch) -> TreeSearch:
    """Return a search that goes two operations further, as far as memory for its states lasts."""
    plan = search.plan
    if not plan.longest:
        return search
    if plan.programs:
        more = replace(plan, programs=40 * plan.programs)
    else:
        more = replace(plan, longest=plan.longest + 2)
    return replace(search, plan=replace(more, most_states=4_000_000))


def shallower(search: TreeSearch) -> TreeSearch:
    """Return a search of lists one operation shorter, or of a third of the programs."""
    plan = search.plan
    if not plan.longest:
        return search
    if plan.programs:
        return replace(search, plan=replace(plan, programs=plan.programs // 3))
    return replace(search, plan=replace(plan, longest=plan.longest - 1))


STOPS = "stops at "
"""Of the names of searches in which actors stand still at accesses that a patch adds."""
_NOTED = ("pages", "pairs", "refused", "reclaim-frees", "no-memory", "only-isolated")


def noting() -> list[TreeSearch]:
    """Return the searches that note accesses without pcpu_lock, one operation shorter."""
    return [
        replace(shallower(search), name=f"accesses in {search.name}", noted=True)
        for search in QUICK
        if search.name in _NOTED
    ]


def stopping_at(places: tuple[int, ...], searches: Iterable[TreeSearch]) -> list[TreeSearch]:
    """Return searches that note accesses with actors standing still at some of these."""
    return [
        replace(
            search,
            name=f"{STOPS}{search.name}",
            plan=replace(search.plan, stops_at=places, points=(*search.plan.points, ACCESS)),
        )
        for search in searches
        if search.noted
    ]


def at_page(search: TreeSearch, page: int) -> TreeSearch:
    """Return an open search at pages of so many bytes, its requests by pages as before.

    The dynamic part of the first chunk is what one request may take, and a unit no larger than
    that part and what is before it: the kernel allows no request of more, so that a search of so
    few operations would never fill a larger unit.
    """
    before = search.plan.geometry
    if page == before.page:
        return search
    largest = -(-LEAST_UNIT // page) * page
    static = page if before.static == before.page else before.static
    reserved = page if before.reserved else 0
    unit = -(-(static + reserved + largest) // page) * page
    if not before.smp:
        unit = 1 << (unit - 1).bit_length()
    sizes = replace(
        before, page=page, unit=unit, static=static, reserved=reserved,
        dyn=unit - static - reserved,
    ).require_kernel()  # fmt: skip
    requests = dict.fromkeys(_scaled(o, before, sizes) for o in search.plan.operations)
    return replace(search, plan=replace(search.plan, sizes=sizes.text, operations=tuple(requests)))


def _scaled(operation: Operation, before: Geometry, after: Geometry) -> Operation:
    """Return a request by pages: what is near a whole first chunk stays as near to it."""
    kind, arg, size, align, reserved, gfp = operation
    scale = after.page // before.page
    if size > before.largest:
        size += after.largest - before.largest
    elif size > before.dyn // 2:
        size = min(after.dyn - (before.dyn - size), after.largest)
    elif size >= before.page // 4:
        size = min(size * scale, after.largest)
    if align >= before.page // 4:
        align *= scale
    return kind, arg, size, align, reserved, gfp


_MOST_STEPS = 1000
"""Of a program; one that goes on is left to the searches, which see it come back to itself."""


class Callers:
    """A scheduler: who is under way mostly goes on, and callers choose among a few requests.

    Few of an alphabet, and others in each program, lead further than all of them at once.
    """

    def __init__(self, choices: Choices, alphabet: int) -> None:
        self._choices = choices
        self._others = choices.pick((0, 1, 4))  # times of ten that another takes over
        few = 1 + choices.number(4)
        self._requests = {BEGIN + choices.number(alphabet) for _ in range(few)}
        self._under_way: set[int] = set()
        self._last = -1

    def next(self, enabled: list[int]) -> int | None:
        """Return a step: the last actor's, another's, or that of a new operation."""
        left = {step for step in enabled if BEGIN <= step < FREE} - self._requests
        plain = [step for step in enabled if step < REFUSED and step not in left]
        if not plain:
            return None
        under_way = {step for step in plain if step < WORK}
        new = under_way - self._under_way
        self._last = new.pop() if new else self._last
        self._under_way = under_way
        goes_on = self._last in under_way and self._choices.number(10) >= self._others
        step = self._last if goes_on else self._any(plain)
        self._last = step
        refusals = [s for s in enabled if s >= REFUSED and s % REFUSED == step]
        if refusals and not self._choices.number(30):
            return self._choices.pick(refusals)
        return step

    def _any(self, plain: list[int]) -> int:
        """Return a step of a kind, as there are more handles than requests or runs of the work."""
        kinds = [
            [step for step in plain if first <= step < end]
            for first, end in ((0, WORK), (WORK, BEGIN), (BEGIN, FREE), (FREE, REFUSED))
        ]
        return self._choices.pick(self._choices.pick([kind for kind in kinds if kind]))


def draw(search: CompiledSearch, seed: str) -> Iterator[int]:
    """Run the programs of a plan, yielding the number of each when it has ended."""
    system = CompiledSystem(search)
    for number in range(search.plan.programs):
        choices = drawn(f"{seed}/{number}")
        system.load(0)
        steps = scheduled(system, Callers(choices, len(search.plan.operations)))
        for count, step in enumerate(steps):
            system.step(step)
            if count == _MOST_STEPS:
                break
        yield number
        if search.tally.full:
            break
