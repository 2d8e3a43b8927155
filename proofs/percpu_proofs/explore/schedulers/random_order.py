"""Schedulers that draw who runs next: uniformly, in bursts, by PCT."""

from __future__ import annotations

from percpu_proofs.run.choices import Choices


class Uniform:
    """Every step that can be taken is as likely as any other."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices

    def next(self, enabled: list[int]) -> int | None:
        """Return any of the steps."""
        return self._choices.pick(enabled) if enabled else None


class Bursts:
    """An actor goes on, but every so often, of ten steps, any other does.

    Of those numbered below `in_order` no actor begins before the ones before it have begun.
    """

    def __init__(self, choices: Choices, others: int, in_order: int = 0) -> None:
        self._choices = choices
        self._others = others
        self._in_order = in_order
        self._begun: set[int] = set()
        self._last = -1

    def next(self, enabled: list[int]) -> int | None:
        """Return the last actor's step, or that of any other which may begin."""
        if not enabled:
            return None
        if self._last not in enabled or self._choices.number(10) < self._others:
            fresh = [step for step in enabled if step not in self._begun]
            first = [step for step in fresh if step < self._in_order][1:]
            self._last = self._choices.pick([step for step in enabled if step not in first])
        self._begun.add(self._last)
        return self._last


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
