"""The compiled form of linux_6_12: the same Python, made C by mypyc (reference/hatch_build.py).

It is there if the package was installed with PERCPU_COMPILED=1. It has no contracts, knows vm
backing only and cannot be cloned. Everything runs the Python form but who asks for this one.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from percpu_reference.balance import Balance

PACKAGE = "percpu_compiled"


def compiled_class() -> type[Balance] | None:
    """Return linux_6_12 in the compiled form, for `build`; None where it was not built."""
    if find_spec(PACKAGE) is None:
        return None
    return cast("type[Balance]", import_module(f"{PACKAGE}.linux_6_12").Linux612)


def compiled_file() -> str | None:
    """Return the file that the compiled form's operations were loaded from."""
    if find_spec(PACKAGE) is None:
        return None
    return import_module(f"{PACKAGE}.operations").__file__
