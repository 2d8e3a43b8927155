"""A reviewer's own variant, read from a Python file.

The file subclasses a variant, overrides what its patch changes, and declares what it is expected to
break. It needs no contract: those of the functions it overrides are inherited.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from traceback import walk_tb
from types import FunctionType, ModuleType

from percpu_contracts.traps import slots_of
from percpu_reference.balance import Balance
from percpu_reference.chunk import Chunk
from percpu_spec.catalogue import REFINE, clauses

FILES: set[str] = set()
"""The files of variants that were imported, by the names that their code carries."""


class VariantFileError(ValueError):
    """A file that holds no variant; the message says where and what is wrong."""

    def __init__(self, path: Path, wrong: str, line: int | None = None) -> None:
        super().__init__(path, wrong, line)  # so that it pickles

    def __str__(self) -> str:
        path, wrong, line = self.args
        place = path if line is None else f"{path}:{line}"
        return f"{place}: expected a subclass of a variant: {' '.join(wrong.split())}"


@cache
def variant_from_file(path: Path) -> type[Balance]:
    """Return the variant that a file defines: its one class that no other in it derives from.

    Raises VariantFileError where the file does not import, has no such class or several, or where
    that overrides nothing, or not as it must.
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
        raise VariantFileError(path, f"one such class in the file, found {names}")
    cls = last[0]
    written = [base for base in cls.__mro__ if base in own]
    _check_verdicts(path, cls)
    _check_unlocked(path, cls)
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
        raise VariantFileError(path, f"{cls.__name__} overrides nothing", line_of_name(cls, ""))
    return cls


def _check_verdicts(path: Path, cls: type[Balance]) -> None:
    """Refuse declared verdicts that are no map from clauses of the catalogue to reasons."""
    known = [*clauses(), REFINE]
    for name in ("EXPECTED", "NOT_APPLICABLE"):
        declared = getattr(cls, name)
        wrong = ""
        if not isinstance(declared, dict):
            wrong = "is no dict of clause to reason"
        else:
            for key, reason in declared.items():
                if key not in known:
                    near = get_close_matches(str(key), known) or known[:3]
                    wrong = wrong or f"has no clause {key!r}, such as {', '.join(near)}"
                elif not isinstance(reason, str):
                    wrong = wrong or f"has a reason for {key} that is no text"
        if wrong:
            line = line_of_name(cls, name)
            raise VariantFileError(path, f"{name} of {cls.__name__} {wrong}", line)


def _check_unlocked(path: Path, cls: type[Balance]) -> None:
    """Refuse an UNLOCKED that is no map from fields of the variant's own to reasons."""
    line = line_of_name(cls, "UNLOCKED")
    if not isinstance(cls.UNLOCKED, dict):
        wrong = f"UNLOCKED of {cls.__name__} is no dict of field to reason"
        raise VariantFileError(path, wrong, line)
    for field in cls.UNLOCKED:
        if field in (*slots_of(cls.__mro__[-2]), *slots_of(Chunk)):
            wrong = f"UNLOCKED of {cls.__name__}: {field} is no field of its own"
            raise VariantFileError(path, wrong, line)


def _check_member(
    path: Path, cls: type[Balance], name: str, value: object, theirs: dict[str, type]
) -> None:
    """Refuse what cannot stand for the function of this name, or nearly has the name of one."""
    base = theirs.get(name)
    function = value if isinstance(value, FunctionType) else None
    wrong = ""
    if base is None and function and not name.startswith("_"):
        near = get_close_matches(name, (n for n in theirs if n[0] != "_"), 1, 0.85)
        if near:
            wrong = f"overrides nothing, {near[0]} is meant? (begin the name of a helper with _)"
    if isinstance(value, (list, set, bytearray)):
        wrong = "is one for all allocators; make it in __init__"
    original = vars(base).get(name) if base is not None else None
    if function and isinstance(original, FunctionType) and name != "__init__":
        wanted = list(inspect.signature(original).parameters)
        found = inspect.signature(function).parameters
        more = [p for p in list(found.values())[len(wanted) :] if p.default is p.empty]
        if list(found)[: len(wanted)] != wanted or more:
            wrong = f"takes ({', '.join(found)}), expected ({', '.join(wanted)})"
    if wrong:
        raise VariantFileError(path, f"{cls.__name__}.{name} {wrong}", line_of_name(cls, name))


def line_of_class(cls: type) -> tuple[str, int] | None:
    """Return the file and line of the first class among the bases that a variant's file has."""
    for base in cls.__mro__:
        module = sys.modules[base.__module__]
        file = getattr(module, "__file__", None)
        if file in FILES and base in vars(module).values():
            return file, inspect.getsourcelines(base)[1]
    return None


def line_of_name(cls: type, name: str) -> int | None:
    """Return the line of a variant's file on which a class gives a name its value, else its own."""
    owner = next((base for base in cls.__mro__ if name in vars(base)), cls)
    place = line_of_class(owner)
    if place is None:
        return None
    for node in ast.walk(_parsed(place[0])):
        if isinstance(node, ast.ClassDef) and node.name == owner.__name__:
            for member in node.body:
                targets = [getattr(member, "name", None)]
                targets += [getattr(t, "id", None) for t in getattr(member, "targets", ())]
                targets.append(getattr(getattr(member, "target", None), "id", None))
                if name in targets:
                    return member.lineno
    return place[1]


def line_of_field(file: str, name: str) -> int | None:
    """Return the first line of a variant's file on which an attribute of that name is set."""
    lines = [
        node.lineno
        for node in ast.walk(_parsed(file))
        if isinstance(node, ast.Attribute) and node.attr == name and isinstance(node.ctx, ast.Store)
    ]
    return min(lines, default=None)


def _parsed(file: str) -> ast.Module:
    return ast.parse(Path(file).read_text(encoding="utf-8"))


def _imported(path: Path) -> ModuleType:
    name = f"percpu_variant_{len(FILES)}_{path.stem}"
    if not path.is_file():
        raise VariantFileError(path, "no file" if path.exists() else "no such file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise VariantFileError(path, "not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where inspect looks for the source of its classes
    FILES.add(str(path))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [n for f, n in walk_tb(error.__traceback__) if f.f_code.co_filename == str(path)]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines.append(error.lineno or 1)
        wrong = f"the file does not import ({type(error).__name__}: {error})"
        raise VariantFileError(path, wrong, lines[-1] if lines else None) from None
    return module
