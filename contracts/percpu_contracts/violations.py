"""What a broken clause becomes: an entry in a verdict, a count, or an exception."""

from __future__ import annotations

from dataclasses import dataclass

Breach = tuple[str, str]
"""A clause id and what is wrong."""


class ClauseViolation(AssertionError):
    """A clause was broken that the variant does not declare as one it breaks."""

    def __init__(self, clause: str, message: str, operation: int) -> None:
        super().__init__(f"{clause} violated at operation {operation}: {message}")
        self.clause = clause
        self.message = message
        self.operation = operation


class MisuseError(ValueError):
    """The caller broke a precondition (API-2): its error, not the allocator's."""


@dataclass(slots=True)
class Violation:
    """A broken clause: how often it was found broken, and the first time."""

    clause: str
    expected: bool
    count: int = 0
    first_operation: int = 0
    first_message: str = ""
