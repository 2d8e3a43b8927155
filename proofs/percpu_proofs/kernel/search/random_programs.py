"""Programs drawn at random: callers who choose, overlap one another and the work, and free."""

from __future__ import annotations

from collections.abc import Iterator

from percpu_proofs.explore.system import scheduled
from percpu_proofs.kernel.search.compiled import (
    BEGIN,
    FREE,
    REFUSED,
    WORK,
    CompiledSearch,
    CompiledSystem,
)
from percpu_proofs.run.choices import Choices, drawn

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
