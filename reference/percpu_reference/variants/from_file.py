"""A reviewer's own variant, read from a Python file.

The file subclasses a variant, overrides what its patch changes, and declares what it is expected to
break. It needs no contract: those of the functions it overrides are inherited.
"""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from percpu_reference.balance import Balance

EXAMPLE = """
    from percpu_reference.variants.linux_6_12 import Linux612

    class Mine(Linux612):
        EXPECTED = {"HINT-5": "why"}  # clauses that it breaks; {} for none
        def should_reclaim_chunk(self, chunk): ...
"""


class VariantFileError(ValueError):
    """A file that holds no variant; the message says what to write."""

    def __init__(self, path: Path, wrong: str) -> None:
        super().__init__(f"{path}: {wrong}; write a subclass of a variant, such as{EXAMPLE}")


@cache
def variant_from_file(path: Path) -> type[Balance]:
    """Return the variant that a file defines: its one class that no other in it derives from.

    Raises VariantFileError where the file does not import, has no such class or several, where that
    overrides nothing, or lacks a declared verdict.
    """
    module = _imported(path)
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Balance)
        and value.__module__ == module.__name__
    ]  # fmt: skip
    last = [cls for cls in own if not any(cls in other.__bases__ for other in own)]
    if len(last) != 1:
        names = ", ".join(cls.__name__ for cls in last) or "none"
        raise VariantFileError(path, f"expected one variant class, found {names}")
    cls = last[0]
    written = [base for base in cls.__mro__ if base in own]
    if not any("EXPECTED" in vars(base) for base in written):
        raise VariantFileError(path, f"{cls.__name__} lacks a declared verdict, EXPECTED")
    if not isinstance(cls.EXPECTED, dict) or not isinstance(cls.NOT_APPLICABLE, dict):
        raise VariantFileError(path, f"EXPECTED of {cls.__name__} is no dict of clause to reason")
    kernel = {name for base in cls.__mro__ if base not in own for name in vars(base)}
    kernel -= {"EXPECTED", "NOT_APPLICABLE"}
    overrides = {
        name for base in written for name in vars(base)
        if name in kernel and not (name.startswith("__") and name != "__init__")
    }  # fmt: skip
    if not overrides:
        raise VariantFileError(path, f"{cls.__name__} overrides nothing")
    return cls


def _imported(path: Path) -> ModuleType:
    name = f"percpu_variant_{path.stem}"
    if not path.is_file():
        raise VariantFileError(path, "no such file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise VariantFileError(path, "not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where inspect looks for the source of its classes
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise VariantFileError(path, f"does not import ({type(error).__name__}: {error})") from None
    return module
