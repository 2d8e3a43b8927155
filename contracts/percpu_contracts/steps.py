"""Judging a step between two lock drops: one judge for the model and for compiled kernels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from percpu_contracts.contract import NOT_ASKED
from percpu_contracts.history import History
from percpu_contracts.registry import Scope, When, asked
from percpu_spec.steps import Step
from percpu_spec.views import AllocatorView

Judged = tuple[str, str | None]
"""A clause, and what is wrong; None where it holds."""


@cache
def _of_steps() -> tuple[tuple[str, Any], ...]:
    return tuple(asked(Scope.STEP, When.STEP))


def judged_step(step: Step, allocator: AllocatorView, history: History) -> Iterator[Judged]:
    """Yield the verdict of each clause about steps whose question a step raises.

    The allocator is as the step left it.
    """
    for clause, holds in _of_steps():
        wrong = holds(step, allocator, history)
        if wrong != NOT_ASKED:
            yield clause, wrong
