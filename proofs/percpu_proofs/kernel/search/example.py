"""Counterexamples of compiled code: made small, run again in words, looked for on the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain, takewhile
from typing import Any, Final

from percpu_proofs.explore.modes import search as search_variant
from percpu_proofs.explore.rerun import OperationSpan, OperationStep, parts, spans
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.shrink import shrink, stretches
from percpu_proofs.explore.token import Token
from percpu_proofs.kernel.instance import (
    KernelStopped,
    Library,
    Point,
    SourceLocation,
    places_of,
)
from percpu_proofs.kernel.search.accesses import access_sites
from percpu_proofs.kernel.search.compiled import (
    BEGIN,
    FAULTS,
    RUNS,
    WORK,
    CompiledSearch,
    CompiledSystem,
    SearchPlan,
)
from percpu_proofs.kernel.search.judge import CRASH, BrokenClause, SearchJudge
from percpu_proofs.kernel.search.plans import DRAWN, TreeSearch
from percpu_proofs.kernel.search.records import Record, present_state
from percpu_proofs.kernel.search.tree_token import TreeToken
from percpu_proofs.run.driver import HandleError
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import HANDLES, Operation, text_of
from percpu_proofs.show.text import StateRows, state_of
from percpu_reference.variants import variant_class

_OWN = 0xFF  # of a label: whose step, or what begins
Labels = tuple[int, ...]

_MOST_STEPS: Final = 200_000
"""Of the search of the model."""
_TRIES = 400
"""Of making a schedule small that was drawn; a search breadth first has the shortest."""


@dataclass(frozen=True, slots=True)
class TreeStep:
    """One step: who took it, where the actor stands then, and the state it left."""

    actor: int
    operation: str  # in the operation language
    begins: bool
    ends: bool
    refused: str  # what was asked for in vain
    stands: str
    function: str  # of the tree, where it stands; empty at its end
    line: str
    mutex: int | None  # who holds pcpu_alloc_mutex
    state: StateRows | None  # None where the kernel stops, or its lists are corrupt

    def as_json(self) -> dict[str, Any]:
        """Return the step with plain values only."""
        plain = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "state"}
        chunks = () if self.state is None else self.state.chunks
        counters = {} if self.state is None else dict(self.state.counters)
        return plain | {
            "float": counters.get("pcpu_nr_empty_pop_pages", 0),
            "memory": [f"{chunk.place:13} {chunk.name}: {chunk.pages}" for chunk in chunks],
            "counters": counters,
        }


@dataclass(frozen=True, slots=True)
class Retrace:
    """A schedule in words, and the operations as they began."""

    operations: tuple[str, ...]
    steps: tuple[TreeStep, ...]
    stopped: str = ""  # why the kernel went no further than this
    before: StateRows | None = None  # the state behind the setup

    @property
    def spans(self) -> Iterator[OperationSpan[str]]:
        """Which of its operations run alone, and which beside one another."""
        return spans(
            OperationStep(s.actor, s.operation, s.operation[0] in "bB", s.ends) for s in self.steps
        )


def retrace(
    search: CompiledSearch, library: Library, labels: Sequence[int], *, work_alone: bool = False
) -> Retrace:
    """Run a schedule again. Handles are numbered as they are allocated into.

    work_alone: what is wrong is how the work goes on from there, alone.
    """
    numbers = dict(search.handles)
    operations: list[str] = []
    under_way: dict[int, str] = {}
    rows: list[tuple[Any, ...]] = []
    stopped = ""
    before = _state(search) if search.replay(()) else None
    for count, label in enumerate(labels, 1):
        seen = _state(search) if search.replay(labels[:count]) else None
        stopped = search.reason if seen is None else ""
        actor = search.lib.percpu_mover
        begins = actor not in under_way
        if begins:
            under_way[actor] = _began(search, actor, numbers)
            operations.append(under_way[actor])
        point, addresses = search.trace(actor) if seen else (Point.DONE, search.stop_trace())
        rows.append((actor, under_way[actor], begins, label, point, addresses, seen))
        if seen is None:
            break
        if point == Point.DONE and search.plan.longest:
            del under_way[actor]
    if work_alone and not stopped and search.run_work_alone(labels):
        begins = bool(search.plan.longest) or 0 not in under_way
        rows.append((0, "b", begins, WORK, Point.DONE, search.stop_trace(), None))
    places = places_of(library.path, [address for row in rows for address in row[5]])
    steps = tuple(_step(row, places) for row in rows)
    return Retrace(tuple(operations), steps, stopped, before and before[1])


def _began(search: CompiledSearch, actor: int, numbers: dict[int, int]) -> str:
    """Return the operation that an actor began with, its handle as people count."""
    kind, handle, size, align, reserved, gfp = search.operation(actor)
    if kind == "a" and (search.plan.longest or handle not in numbers):
        numbers[handle] = max(numbers.values(), default=0) + 1
    arg = numbers.get(handle, handle) if kind in HANDLES else size
    operation: Operation = (kind, arg, size, align, reserved, gfp)
    return text_of(operation)


def _step(row: tuple[Any, ...], places: dict[int, tuple[SourceLocation, ...]]) -> TreeStep:
    actor, operation, begins, label, point, addresses, seen = row
    here = next((place for address in addresses for place in places[address]), None)
    holder, state = seen if seen is not None else (None, None)
    refused = [name for bit, name in enumerate(FAULTS) if label >> 8 + bit & 1]
    return TreeStep(
        actor, operation, begins, seen is not None and point == Point.DONE,
        ", ".join(refused), Point.WORDS[point] if seen is not None else "the kernel stops",
        here.function if here else "", f"{here.file}:{here.line}" if here else "",
        holder, state,
    )  # fmt: skip


def _state(search: CompiledSearch) -> tuple[int | None, StateRows] | None:
    """Return the mutex's holder and the present state; None if lists are corrupt."""
    try:
        view = present_state(search)
    except KernelStopped:
        return None
    ids = [search.lib.percpu_chunk_id(number) for number in range(len(view.chunks))]

    def losing(chunk: Record, page: int) -> bool:
        return bool(chunk.populated[page] and not chunk.mapped[page])

    state = state_of(view, "", losing, lambda chunk: str(ids[chunk.number]))
    holder = search.lib.percpu_search_holder()
    return None if holder < 0 else holder, state


@dataclass(frozen=True, slots=True)
class OnModel:
    """A token of the model that breaks the same clause with the same operations, or why not."""

    token: str | None
    reason: str = ""


NOT_TRIED: Final = OnModel(None, "not tried")


@dataclass(frozen=True, slots=True)
class TreeExample:
    """A counterexample found on the compiled code, the shortest of its search."""

    clause: str
    message: str
    length: int  # operations of callers, the setup's included
    labels: Labels
    plan: SearchPlan
    trace: Retrace
    token: str
    search: str
    on_model: OnModel = NOT_TRIED

    @property
    def rank(self) -> str:
        """Whether there may be one of fewer operations within its search, in words."""
        drawn = self.search in {search.name for search in DRAWN}
        order = "maybe not the fewest, drawn in" if drawn else "the fewest of"
        return f"{order} search {self.search} of compiled code"

    @property
    def parts(self) -> list[tuple[str, list[str]]]:
        """How its operations run, and these: as `rerun.parts` has it."""
        return list(parts(self.plan.setup_texts, self.trace.spans))

    def with_model(self, variant: str) -> TreeExample:
        """Return it with what a variant of the model does with its operations."""
        on_model = _search_model(variant, self.clause, self.plan, self.trace)
        return replace(self, on_model=on_model)


def of_process(search: TreeSearch, message: str) -> TreeExample:
    """Return the counterexample that is all there is where the kernel ended its process."""
    return TreeExample(CRASH, message, 0, (), search.plan, Retrace((), ()), "", search.name)


def example(
    library: Library, search: TreeSearch, broken: BrokenClause, labels: Labels
) -> TreeExample:
    """Return the counterexample of a clause that a schedule breaks; made small if it was drawn."""
    plan, wrong = replace(search.plan, programs=0), broken.wrong
    if search.plan.programs:
        labels, wrong = _small(library, plan, broken, labels)
    with CompiledSearch(library, plan) as compiled:
        shown = retrace(compiled, library, labels, work_alone=broken.work_alone)
    begun = sum((label & _OWN) >= BEGIN for label in labels)
    length = begun if plan.longest else len(plan.setup) + len(plan.operations)
    token = str(TreeToken(broken.clause, library.release, plan, labels))
    return TreeExample(broken.clause, wrong, length, labels, plan, shown, token, search.name)


def _small(
    library: Library, plan: SearchPlan, broken: BrokenClause, labels: Labels
) -> tuple[Labels, str]:
    """Return a schedule of which no step can be left out, and what is wrong behind it."""
    wrong = {labels: broken.wrong}

    def shows(candidate: Labels) -> Labels | None:
        with CompiledSearch(library, plan) as compiled:
            taken, found = _judge(compiled, candidate)
        if broken.clause in found:
            wrong[taken] = found[broken.clause]
            return taken
        return None

    def fewer(labels: Labels) -> Iterator[Labels]:
        for gone in stretches(len(labels)):
            yield labels[: gone.start] + labels[gone.stop :]

    best = shrink(labels, fewer, shows, _TRIES).best
    return best, wrong[best]


def _judge(search: CompiledSearch, labels: Labels) -> tuple[Labels, dict[str, str]]:
    """Follow a schedule from the start; return the steps taken and what they break."""
    judge = SearchJudge(search)
    taken = follow(search, labels)
    return taken, {broken.clause: broken.wrong for broken in judge.look()}


def follow(search: CompiledSearch, labels: Labels) -> Labels:
    """Take those steps of a schedule that can be taken, from the start; return them."""
    system = CompiledSystem(search)
    taken = []
    for label in labels:
        if label % RUNS in system.enabled():
            taken.append(label)
            system.step(label)
    system.enabled()  # looks at what the work makes of it
    return tuple(taken)


def broken_by(
    search: CompiledSearch, library: Library, labels: Labels, *, accesses: bool
) -> dict[str, str]:
    """Return what a schedule breaks, each clause with what is wrong; of a search not begun."""
    taken, found = _judge(search, labels)
    stops = any(search.lib.percpu_troubles[i].stopped for i in range(search.tally.troubles))
    if taken != labels and not stops:
        step = next(n for n in range(len(labels)) if taken[n : n + 1] != labels[n : n + 1])
        expected = "a schedule that is possible on this tree"
        raise InputError("token", None, expected, f"step {step + 1}")
    for site in access_sites(search, library) if accesses else ():
        if site.broken is not None:
            found.setdefault(site.broken.clause, site.broken.wrong)
    return found


def _search_model(variant: str, clause: str, plan: SearchPlan, trace: Retrace) -> OnModel:
    """Search a variant for a schedule of the same operations that breaks the same clause.

    What ran alone on the compiled code is done first; all schedules of the rest are searched, as
    the model stops at other points.
    """
    if clause not in variant_class(variant).EXPECTED:
        reason = f"{variant}, the model of the kernel without a patch, does not declare {clause}"
        return OnModel(None, reason)
    if any(step.refused for step in trace.steps):
        return OnModel(None, "requests were refused: the model is refused others")
    alone, together = _parts(trace.spans)
    actors = tuple(operation for operation in together if operation != "b")
    works = max(together.count("b"), 1)
    scenario = Scenario(
        "of compiled code", clause, plan.setup_texts + alone, actors or ("b",), plan.sizes, works,
        waiting=plan.waiting,
    )  # fmt: skip
    try:
        start = scenario.start(variant)
    except (HandleError, InputError) as error:
        return OnModel(None, f"{variant} cannot do these operations ({error})")
    found = search_variant(
        start, "matching", max_steps=_MOST_STEPS,
        stop=lambda result: clause in result.findings,
    ).findings.get(clause)  # fmt: skip
    if found is None:
        return OnModel(None, f"no schedule of these operations breaks {clause} on {variant}")
    return OnModel(str(Token.of(variant, clause, scenario, found.schedule)))


def _parts(found: Iterable[OperationSpan[str]]) -> tuple[tuple[str, ...], list[str]]:
    """Return the operations that ran one after the other at first, and the others.

    The last one is among the others, so that its step is one of a schedule.
    """
    members = [[operation for operation, _ in span.members] for span in found]
    alone = list(takewhile(lambda operations: len(operations) == 1, members[:-1]))
    together = chain.from_iterable(members[len(alone) :])
    return tuple(chain.from_iterable(alone)), list(together)
