"""Which cases of a test run with the quick ones, and which with `-m deep` only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def deep_unless(quick: Callable[..., bool], cases: Iterable[Any]) -> list[Any]:
    """Return the cases of a test, those marked deep that quick says no to."""
    marked = []
    for case in cases:
        values = case if type(case) is tuple else (case,)  # a named tuple is one value
        marks = () if quick(*values) else (pytest.mark.deep,)
        marked.append(pytest.param(*values, marks=marks))
    assert any(not param.marks for param in marked), "some case is to run with the quick tests"
    return marked
