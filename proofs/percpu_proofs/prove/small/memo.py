"""Remembering results where CrossHair watches."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def memo(function: F) -> F:
    """Remember what a function of hashable arguments returns.

    CrossHair sees through functools.cache and would compute it anew on every path.
    """
    known: dict[Any, Any] = {}

    @functools.wraps(function)
    def remembering(*args: Any) -> Any:
        if args not in known:
            known[args] = function(*args)
        return known[args]

    return cast("F", remembering)
