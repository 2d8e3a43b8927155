"""The searches of a tree, which `searches.toml` has, and those that follow from them.

What a program is drawn by is here too.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from percpu_proofs.explore.scenario import KERNEL_32K, Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.searches import SEQUENCES
from percpu_proofs.explore.system import scheduled
from percpu_proofs.kernel.instance import BuildForm, Point
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
    notes_accesses: bool = False  # accesses without pcpu_lock are noted

    def with_plan(self, **changes: Any) -> TreeSearch:
        """Return the same search with some of its plan changed."""
        return replace(self, plan=replace(self.plan, **changes))

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


_TABLES: Final = tomllib.loads(Path(__file__).with_name("searches.toml").read_text("utf-8"))


def _read(table: str) -> Iterator[TreeSearch]:
    """Yield the searches of a table."""
    requests: dict[str, Sequence[str]] = {one.name: one.alphabet.requests for one in SEQUENCES}
    for name, entry in _TABLES[table].items():
        fields = dict(entry)
        texts = fields.pop("requests")
        requests[name] = requests[texts] if isinstance(texts, str) else texts
        listed = parse_operations(Path("alphabet"), [f"a 0 {text}" for text in requests[name]])
        sizes = ",".join([KERNEL_32K, *fields.pop("sizes", "").split()])
        plan = SearchPlan(sizes, tuple(listed.operations))
        if "faults" in fields:
            fields["faults"] = tuple(fields["faults"])
        yield TreeSearch(name, fields.pop("what"), plan).with_plan(**fields)


def of_scenario(scenario: Scenario, *, fine: bool = True) -> TreeSearch:
    """Return the search of a scenario; fine: stop at every point, not where the model stops."""
    plan = SearchPlan(
        scenario.geometry, scenario.concurrent, scenario.prepared, works=scenario.works,
        waiting=scenario.waiting, failures=scenario.failures, merge=not fine,
        points=ALL_POINTS if fine else LOCKS,
    )  # fmt: skip
    return TreeSearch(scenario.name, scenario.what, plan)


DRAWN: Final = tuple(_read("drawn"))
QUICK: Final = (*_read("open"), *map(of_scenario, SCENARIOS.values()))
"""What `review --source` runs first, each to its end."""
(UNNAMED,) = _read("refusing")
"""Runs beside QUICK where a tree refuses such frees (API-2)."""


def search_named(name: str) -> TreeSearch:
    """Return one of the searches by its name."""
    return next(search for search in (*QUICK, *DRAWN) if search.name == name)


def deeper(search: TreeSearch) -> TreeSearch:
    """Return a search that goes two operations further, as far as memory for its states lasts."""
    plan = search.plan
    if not plan.longest:
        return search
    more = {"programs": 40 * plan.programs} if plan.programs else {"longest": plan.longest + 2}
    return search.with_plan(**more, most_states=4_000_000)


def shallower(search: TreeSearch) -> TreeSearch:
    """Return a search of lists one operation shorter, or of a third of the programs."""
    plan = search.plan
    if not plan.longest:
        return search
    if plan.programs:
        return search.with_plan(programs=plan.programs // 3)
    return search.with_plan(longest=plan.longest - 1)


STOPS = "stops at "
"""Of the names of searches in which actors stand still at accesses that a patch adds."""
_NOTED = ("pages", "pairs", "refused", "reclaim-frees", "no-memory", "only-isolated")


def access_searches() -> list[TreeSearch]:
    """Return the searches that note accesses without pcpu_lock, one operation shorter."""
    return [
        replace(shallower(search), name=f"accesses in {search.name}", notes_accesses=True)
        for search in QUICK
        if search.name in _NOTED
    ]


def stopping_at(places: tuple[int, ...], searches: Iterable[TreeSearch]) -> list[TreeSearch]:
    """Return searches that note accesses with actors standing still at some of these."""
    return [
        replace(one, name=f"{STOPS}{one.name}").with_plan(
            stops_at=places, points=(*one.plan.points, Point.ACCESS)
        )
        for one in searches
        if one.notes_accesses
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
    return search.with_plan(sizes=sizes.text, operations=tuple(requests))


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
