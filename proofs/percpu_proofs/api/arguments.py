"""Arguments of the API: a wrong one is named by its parameter, never by an option."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from percpu_proofs.run.inputs import InputError

_PARAMETERS = {"--search": "searches", "--patch": "patches", "--fix": "fixes"}


def require(parameter: str, value: object, expected: str, *types: type) -> None:
    """Raise InputError unless a value is of one of the types; True and False are no numbers."""
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise InputError(parameter, None, expected, repr(value))


def require_bytes(parameter: str, value: object) -> None:
    """Raise InputError unless a value is a number of bytes."""
    require(parameter, value, "a number of bytes", int)
    if isinstance(value, int) and value < 0:
        raise InputError(parameter, None, "a number of bytes", repr(value))


@contextmanager
def parameters() -> Iterator[None]:
    """Let errors that speak of an option of the command line speak of the parameter."""
    try:
        yield
    except InputError as error:
        if not error.where.startswith("--"):
            raise
        name = _PARAMETERS.get(error.where, error.where.removeprefix("--"))
        given: Any = error.__reduce__()[1]
        raise InputError(name, *given[1:]) from None
