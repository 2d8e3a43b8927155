"""Counterexamples of compiled code taken to the model: does it break the clause there too?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Final

from percpu_proofs.explore.modes import search
from percpu_proofs.explore.overlap import OperationSpan
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.token import Token
from percpu_proofs.kernel.search.compiled import SearchPlan
from percpu_proofs.kernel.search.retrace import Retrace
from percpu_proofs.run.driver import HandleError
from percpu_proofs.run.inputs import InputError
from percpu_reference.variants import variant_class

_MOST_STEPS: Final = 200_000


@dataclass(frozen=True, slots=True)
class OnModel:
    """A token of the model that breaks the same clause with the same operations, or why not."""

    token: str | None
    reason: str = ""


NOT_TRIED: Final = OnModel(None, "not tried")


def on_model(variant: str, clause: str, plan: SearchPlan, retraced: Retrace) -> OnModel:
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
    found = search(
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
