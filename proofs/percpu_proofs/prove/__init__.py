"""Machine-checked results: obligations, the engines that discharge them, and the ledger.

CrossHair's libraries switch icontract off for good, everywhere, when they are first imported. So
that is done here, before any module of this package can do it, and undone: contracts are enforced
as ever, and are off only while CrossHair runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from icontract import _checkers

_NAMES = ("_assert_invariant", "_assert_preconditions", "_assert_postconditions")
_ENFORCING = {name: getattr(_checkers, name) for name in _NAMES}

import_module("crosshair.core_and_libs")

_SILENT = {name: getattr(_checkers, name) for name in _NAMES}


def _switch(functions: dict[str, object]) -> None:
    for name, function in functions.items():
        setattr(_checkers, name, function)


_switch(_ENFORCING)


@contextmanager
def contracts_off() -> Iterator[None]:
    """Let CrossHair decide alone when contracts are asked, as long as this lasts."""
    _switch(_SILENT)
    try:
        yield
    finally:
        _switch(_ENFORCING)
