"""Moments that a trace leaves open, and the contradictions that show one was assumed wrongly."""

from __future__ import annotations

from typing import NamedTuple


class Moment(NamedTuple):
    """One point in time that no event shows, named by where it became possible.

    `work`: balance work begins (possible from event `at` on); `gap`: balance work takes
    pcpu_lock again after its `nth` silent release (begun before event `at`); `area`: the
    allocation printed by event `at` takes its area.
    """

    kind: str
    at: int
    nth: int = 0


class Choice(NamedTuple):
    """A moment and the event before which it lies; possible from before event `since` on."""

    moment: Moment
    before: int
    since: int = 0


class Contradiction(Exception):
    """The model, under the timings assumed so far, cannot have produced an event.

    `remedies` are other timings worth trying, best first.
    """

    def __init__(
        self, index: int, kind: str, detail: str, remedies: tuple[Choice, ...] = ()
    ) -> None:
        super().__init__(f"event {index}: {kind}: {detail}")
        self.index = index
        self.kind = kind
        self.detail = detail
        self.remedies = remedies
