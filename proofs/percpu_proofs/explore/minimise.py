"""Making a counterexample small: fewest operations first, then fewest preemptions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.schedulers import search
from percpu_proofs.explore.search import Finding
from percpu_proofs.inputs import InputError
from percpu_proofs.refinement import REFINE

MAX_STEPS = 200_000


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A scenario and a schedule of it that breaks a clause."""

    scenario: Scenario
    finding: Finding
    preemptions: int

    @property
    def operations(self) -> int:
        """How many operations it takes, those of the setup included."""
        return len(self.scenario.setup) + len(self.scenario.actors)


def minimise(scenario: Scenario, variant: str, clause: str) -> Counterexample | None:
    """Return a counterexample from which no single operation can be left out.

    Allocations go together with their frees. Of its schedules it has one with the fewest
    preemptions. None if the scenario has no counterexample within MAX_STEPS. Ctrl-C is raised.
    """
    if _first(scenario, variant, clause) is None:
        return None
    smaller: Scenario | None = scenario
    while smaller is not None:
        scenario = smaller
        smaller = next(
            (s for s in _without_one(scenario) if _first(s, variant, clause) is not None), None
        )
    for preemptions in range(64):
        finding = _first(scenario, variant, clause, preemptions)
        if finding is not None:
            return Counterexample(scenario, finding, preemptions)
    return None


def _first(
    scenario: Scenario, variant: str, clause: str, preemptions: int | None = None
) -> Finding | None:
    try:
        start = scenario.start(variant)
    except InputError:
        return None  # an operation that others need was left out
    result = search(
        start,
        max_steps=MAX_STEPS,
        stop=None if preemptions is not None else lambda r: clause in r.findings,
        preemptions=preemptions,
        refine=clause == REFINE,
    )
    if result.interrupted:
        raise KeyboardInterrupt
    return result.findings.get(clause)


def _without_one(scenario: Scenario) -> list[Scenario]:
    """Return the scenarios with one failure, one actor or one operation of the setup less."""
    fewer = [replace(scenario, failures=scenario.failures - 1)] if scenario.failures else []
    fewer += [
        replace(scenario, actors=scenario.actors[:i] + scenario.actors[i + 1 :])
        for i in range(len(scenario.actors))
    ]
    for line in scenario.setup:
        handle = line.split()[1:2] if line[:1] in "af" else []
        if line[:1] == "a":
            gone = [s for s in scenario.setup if s[:1] in "af" and s.split()[1:2] == handle]
            if any(a[:1] == "f" and a.split()[1:2] == handle for a in scenario.actors):
                continue
        else:
            gone = [line]
        rest = tuple(s for s in scenario.setup if s not in gone)
        fewer.append(replace(scenario, setup=rest))
    return fewer
