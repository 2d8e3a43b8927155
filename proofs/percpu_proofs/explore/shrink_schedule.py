"""Making a counterexample small: fewest operations first, then fewest preemptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.schedulers.matching import StepFacts
from percpu_proofs.explore.search import ScheduleFinding
from percpu_proofs.explore.shrink import Program, shrink, smaller
from percpu_spec.catalogue import REFINE

MAX_STEPS = 200_000
TRIES = 4_000


@dataclass(frozen=True, slots=True)
class Minimum:
    """A scenario and a schedule of it that breaks a clause."""

    scenario: Scenario
    finding: ScheduleFinding
    preemptions: int
    stopped: str  # why operations may be left that can be left out; empty: none can

    @property
    def operations(self) -> int:
        """How many operations it takes, those of the setup included."""
        return len(self.scenario.setup) + len(self.scenario.actors)


def minimise(
    scenario: Scenario,
    variant: str,
    clause: str,
    candidates: Callable[[Program], Iterable[Program]] = smaller,
    most: int = MAX_STEPS,
) -> Minimum | None:
    """Return a counterexample from which no operation can be left out.

    Allocations go together with their frees. Of its schedules it has one with the fewest
    preemptions. None if the scenario has no counterexample within `most` steps. Ctrl-C is raised.
    candidates: as shrink has it.
    """
    known = StepFacts()

    def finding(program: Program, preemptions: int | None = None) -> ScheduleFinding | None:
        result = search(
            scenario.with_program(program).start(variant),
            max_steps=most,
            stop=None if preemptions is not None else lambda found: clause in found.findings,
            preemptions=preemptions,
            refine=clause == REFINE,
            known=known,
        )
        if result.interrupted:
            raise KeyboardInterrupt
        return result.findings.get(clause)

    if finding(scenario.program) is None:
        return None
    small = shrink(scenario.program, candidates, lambda one: one if finding(one) else None, TRIES)
    for preemptions in range(64):
        found = finding(small.best, preemptions)
        if found is not None:
            least = scenario.with_program(small.best)
            return Minimum(least, found, preemptions, small.stopped)
    return None

