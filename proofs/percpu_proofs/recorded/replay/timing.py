"""Moments that a trace leaves open, and the contradictions that show one was assumed wrongly."""

from __future__ import annotations

from typing import NamedTuple


class Moment(NamedTuple):
    """One point in time that no event shows: the `nth` step of an operation.

    `call`: of the request whose first event is `at` (its print, or the chunk that it creates);
    `work`: of the run of the balance work that was entered, or possible, at event `at`;
    `again`: a search in vain of the request whose area is taken at event `at`, before that;
    `creator`: not a point in time: which request makes the chunk of event `at`.
    """

    kind: str
    at: int
    nth: int = 0


class MomentChoice(NamedTuple):
    """A moment and the event before which it was taken to lie.

    Locks and the order of events allow it before any event from `since` to `until`.
    """

    moment: Moment
    before: int
    since: int
    until: int


Order = dict[Moment, int]
"""Events before which moments lie, where that is not the rule's guess."""


class Contradiction(Exception):
    """The model, in the order assumed so far, cannot have produced an event.

    `remedies` are other moments worth trying, best first.
    """

    def __init__(
        self, index: int, kind: str, detail: str, remedies: tuple[tuple[Moment, int], ...] = ()
    ) -> None:
        super().__init__(f"event {index}: {kind}: {detail}")
        self.index = index
        self.kind = kind
        self.detail = detail
        self.remedies = remedies
