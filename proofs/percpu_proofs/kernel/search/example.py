"""Counterexamples of compiled code: made small, in words, as a token, and taken to the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from typing import Final

from percpu_proofs.explore.modes import search as search_variant
from percpu_proofs.explore.overlap import OperationSpan, parts
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.shrink import shrink, stretches
from percpu_proofs.explore.token import Token
from percpu_proofs.kernel.library import Library
from percpu_proofs.kernel.search.accesses import access_sites
from percpu_proofs.kernel.search.compiled import RUNS, CompiledSearch, CompiledSystem, SearchPlan
from percpu_proofs.kernel.search.judge import CRASH, BrokenClause, SearchJudge
from percpu_proofs.kernel.search.plans import DRAWN, TreeSearch
from percpu_proofs.kernel.search.retrace import Retrace, operations_of, retrace
from percpu_proofs.kernel.search.tree_token import TreeToken
from percpu_proofs.run.driver import HandleError
from percpu_proofs.run.inputs import InputError
from percpu_reference.variants import variant_class

Labels = tuple[int, ...]

_MOST_STEPS: Final = 200_000
"""Of the search of the model."""
_TRIES = 400
"""Of making a schedule small that was drawn; a search breadth first has the shortest."""


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
    length: int  # operations of callers
    labels: Labels
    plan: SearchPlan
    retraced: Retrace
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
        """How its operations run, and these: as `overlap.parts` has it."""
        return list(parts(self.plan.setup_texts, self.retraced.spans))

    def with_model(self, variant: str) -> TreeExample:
        """Return it with what a variant of the model does with its operations."""
        tried = search_model(variant, self.clause, self.plan, self.retraced)
        return replace(self, on_model=tried)


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
        shown = retrace(compiled, library, labels, rest=broken.rest)
        length = operations_of(compiled, labels)
    token = str(TreeToken(broken.clause, library.release, plan, labels))
    return TreeExample(broken.clause, wrong, length, labels, plan, shown, token, search.name)


def _small(
    library: Library, plan: SearchPlan, broken: BrokenClause, labels: Labels
) -> tuple[Labels, str]:
    """Return a schedule of which no step can be left out, and what is wrong behind it."""
    wrong = {labels: broken.wrong}

    def shows(candidate: Labels) -> Labels | None:
        taken, found = _followed(library, plan, candidate)
        if broken.clause in found:
            wrong[taken] = found[broken.clause]
            return taken
        return None

    best = shrink(labels, _fewer, shows, _TRIES).best
    return best, wrong[best]


def _fewer(labels: Labels) -> Iterator[Labels]:
    for gone in stretches(len(labels)):
        yield labels[: gone.start] + labels[gone.stop :]


def _followed(library: Library, plan: SearchPlan, labels: Labels) -> tuple[Labels, dict[str, str]]:
    with CompiledSearch(library, plan) as compiled:
        judge = SearchJudge(compiled)
        taken = follow(compiled, labels)
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
    judge = SearchJudge(search)
    taken = follow(search, labels)
    stops = any(search.lib.percpu_troubles[i].stopped for i in range(search.tally.troubles))
    if taken != labels and not stops:
        step = next(n for n in range(len(labels)) if taken[n : n + 1] != labels[n : n + 1])
        expected = "a schedule that is possible on this tree"
        raise InputError("token", None, expected, f"step {step + 1}")
    found = {broken.clause: broken.wrong for broken in judge.look()}
    for site in access_sites(search, library) if accesses else ():
        if site.broken is not None:
            found.setdefault(site.broken.clause, site.broken.wrong)
    return found


def search_model(variant: str, clause: str, plan: SearchPlan, retraced: Retrace) -> OnModel:
    """Search a variant for a schedule of the same operations that breaks the same clause.

    What ran alone on the compiled code is done first; all schedules of the rest are searched, as
    the model stops at other points.
    """
    if clause not in variant_class(variant).EXPECTED:
        reason = f"{variant}, the model of the kernel without a patch, does not declare {clause}"
        return OnModel(None, reason)
    if any(step.refused for step in retraced.steps):
        return OnModel(None, "requests were refused: the model is refused others")
    alone, together = _parts(retraced.spans)
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
