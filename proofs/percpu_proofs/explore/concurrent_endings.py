"""Operation lists whose last operations run at once, beside one another and the balance work.

Every schedule of them is searched and every step judged. What comes before them runs alone, and a
run of the balance work is done with before they begin, or begins with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from percpu_proofs.explore.breadth import AllocatorCopy, Breadth, Operations
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.schedulers.matching import StepFacts
from percpu_proofs.explore.searches import WORK
from percpu_proofs.explore.start import Start
from percpu_proofs.run.operations import Operation


@dataclass
class Hunt(Breadth):
    """The search of operation lists with their last 1 to `together` operations at once."""

    witnessed: Counter[str] = field(default_factory=Counter)
    known: StepFacts = field(default_factory=StepFacts)

    def goes_on(self, length: int) -> bool:
        """Whether longer lists are made of those of so many operations."""
        return super().goes_on(length) and not self.is_enough(length)

    def choices(
        self, here: AllocatorCopy, operations: Operations, further: bool
    ) -> Iterable[Operation]:
        """Return the operations that can come after a list; none where no longer ones are made."""
        return super().choices(here, operations, further) if further else ()

    def at_length(self, length: int) -> None:
        """Search every choice of operations at once that makes lists of this length."""
        for at_once in range(1, min(self.plan.together, length) + 1):
            for operations in self.levels[length - at_once]:
                here = self.after(operations)
                choices = list(self.plan.alphabet.operations(here.handles, len(operations) + 1))
                for chosen in combinations(choices, at_once):
                    if at_once == 1 < self.plan.together and _is_among_pairs(operations, chosen[0]):
                        continue
                    self.check()
                    self._search(here, operations, _renamed(chosen, len(operations) + 1))

    def _search(self, here: AllocatorCopy, operations: Operations, actors: Operations) -> None:
        """Search every schedule of the actors and one run of the work, if it is asked for."""
        start = Start(here.allocator, here.handles, actors, works=1)
        result = search(start, preemptions=self.plan.preemptions, known=self.known, once=True)
        self.steps += result.steps
        self.witnessed.update(result.witnessed)
        for found in result.findings.values():
            self.enter(found.clause, found.message, operations, actors, found.schedule)
        if result.interrupted:
            raise KeyboardInterrupt

    @property
    def judged(self) -> Counter[str]:
        """How often each clause's question arose."""
        return self.witnessed


def _is_among_pairs(operations: Operations, last: Operation) -> bool:
    """Return whether a list's last operation and one more alone are searched as a pair as well.

    Of the schedules of two at once some run the first to its end before the other begins. Not so
    if the work ran in between, the other frees what the first allocates, or they are the same.
    """
    if not operations or operations[-1] == WORK:
        return False
    before = operations[-1]
    same = before[0] == last[0] == "a" and before[2:] == last[2:]
    return before[1] != last[1] and not same


def _renamed(chosen: Operations, handle: int) -> Operations:
    """Give each allocation a handle of its own, from `handle` up."""
    return tuple(
        ("a", handle + number, *operation[2:]) if operation[0] == "a" else operation
        for number, operation in enumerate(chosen)
    )
