"""Steps drawn so that an actor mostly goes on for a while before another takes over."""

from __future__ import annotations

from percpu_proofs.run.choices import Choices


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
