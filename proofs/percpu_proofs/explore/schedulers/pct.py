"""Probabilistic concurrency testing (Burckhardt and others 2010).

Actors have random priorities and the highest that can go on does, but at `depth - 1` random steps
it drops to the lowest: a bug that needs so many ordering constraints is hit with a probability that
does not shrink with the actors' lengths.
"""

from __future__ import annotations

from percpu_proofs.run.choices import Choices

_PRIORITIES = 1 << 30


class Pct:
    """Runs the highest that can go on; longest: steps that a schedule is expected to have."""

    def __init__(self, choices: Choices, depth: int, longest: int) -> None:
        self._choices = choices
        self._priorities: dict[int, int] = {}
        self._drops = {choices.number(longest): -n for n in range(1, depth)}
        self._taken = 0

    def next(self, enabled: list[int]) -> int | None:
        """Return the step of the highest priority."""
        if not enabled:
            return None
        for step in enabled:  # actors may come up later: runs of work that was asked for
            if step not in self._priorities:
                self._priorities[step] = self._choices.number(_PRIORITIES)
        best = max(enabled, key=self._priorities.__getitem__)
        self._priorities[best] = self._drops.get(self._taken, self._priorities[best])
        self._taken += 1
        return max(enabled, key=self._priorities.__getitem__)
