"""A reviewer's own variant, read from a Python file.

The file subclasses a variant, overrides what its patch changes, and declares what it is expected to
break. It needs no contract: those of the functions it overrides are inherited.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from contextlib import redirect_stdout
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType

from percpu_contracts.traps import slots_of
from percpu_reference.balance import Balance
from percpu_reference.chunk import Chunk
from percpu_spec.catalogue import clauses

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
    overrides nothing, or not as it must, or lacks a declared verdict.
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
    _check_verdicts(path, cls)
    theirs = {
        name: base for base in reversed(cls.__mro__) if base not in own for name in vars(base)
    }
    ours = {
        name: value for base in reversed(written) for name, value in vars(base).items()
        if not name.startswith("__") or name == "__init__"
    }  # fmt: skip
    for name, value in ours.items():
        _check_member(path, cls, name, value, theirs)
    if not ours.keys() & theirs.keys() - {"EXPECTED", "NOT_APPLICABLE", "UNLOCKED"}:
        raise VariantFileError(path, f"{cls.__name__} overrides nothing")
    return cls


def _check_verdicts(path: Path, cls: type[Balance]) -> None:
    """Refuse declarations that are no map from clauses, or fields of its own, to reasons."""
    for name in ("EXPECTED", "NOT_APPLICABLE"):
        declared = getattr(cls, name)
        if not isinstance(declared, dict):
            raise VariantFileError(
                path, f"{name} of {cls.__name__} is no dict of clause to reason"
            )
        for key, reason in declared.items():
            if key not in clauses():
                near = get_close_matches(str(key), clauses()) or list(clauses())[:3]
                raise VariantFileError(
                    path, f"{name} of {cls.__name__}: no clause {key!r}, such as {', '.join(near)}"
                )
            if not isinstance(reason, str):
                raise VariantFileError(
                    path, f"{name} of {cls.__name__}: the reason for {key} is no text"
                )
    if not isinstance(cls.UNLOCKED, dict):
        raise VariantFileError(path, f"UNLOCKED of {cls.__name__} is no dict of field to reason")
    for field in cls.UNLOCKED:
        if field in (*slots_of(cls.__mro__[-2]), *slots_of(Chunk)):
            raise VariantFileError(
                path, f"UNLOCKED of {cls.__name__}: {field} is no field of its own"
            )


def _check_member(
    path: Path, cls: type[Balance], name: str, value: object, theirs: dict[str, type]
) -> None:
    """Refuse what cannot stand for the function of this name, or nearly has the name of one."""
    base = theirs.get(name)
    function = isinstance(value, FunctionType)
    if base is None and function and not name.startswith("_"):
        near = get_close_matches(name, (n for n in theirs if n[0] != "_"), 1, 0.85)
        if near:
            raise VariantFileError(
                path,
                f"{cls.__name__}.{name} overrides nothing, {near[0]} is meant? (begin the name of "
                "a helper with _)",
            )
    if isinstance(value, (list, set, bytearray)):
        raise VariantFileError(
            path, f"{cls.__name__}.{name} is one for all allocators; make it in __init__"
        )
    original = vars(base).get(name) if base is not None else None
    if function and isinstance(original, FunctionType) and name != "__init__":
        wanted = list(inspect.signature(original).parameters)
        found = inspect.signature(value).parameters  # type: ignore[arg-type]
        more = [p for p in list(found.values())[len(wanted) :] if p.default is p.empty]
        if list(found)[: len(wanted)] != wanted or more:
            raise VariantFileError(
                path,
                f"{cls.__name__}.{name} takes ({', '.join(found)}), "
                f"expected ({', '.join(wanted)})",
            )


def _imported(path: Path) -> ModuleType:
    name = f"percpu_variant_{path.stem}"
    if not path.is_file():
        raise VariantFileError(path, "no file" if path.exists() else "no such file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise VariantFileError(path, "not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where inspect looks for the source of its classes
    try:
        with redirect_stdout(sys.stderr):  # what it prints is no part of a result
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise VariantFileError(path, f"does not import ({type(error).__name__}: {error})") from None
    return module
