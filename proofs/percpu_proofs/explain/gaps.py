"""Gaps by the names that schedules show, and their kinds."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType

import percpu_reference
from percpu_proofs.explain import Explanation
from percpu_spec.steps import Kind


@cache
def gaps() -> Mapping[str, Explanation]:
    """Return the kinds of gaps, and the gaps that the reference and its variants stand in."""
    says = _meanings()
    found: dict[str, Explanation] = {
        kind.name: {"id": kind.name, "title": "a kind of gap", "says": says[kind.name]}
        for kind in Kind
    }
    for module in pkgutil.walk_packages(percpu_reference.__path__, "percpu_reference."):
        for name, kind in _named_in(importlib.import_module(module.name)):
            entry = found.setdefault(name, {"id": name, "title": "a gap"})
            entry |= {"says": f"The step that leaves it: {says[kind]}.", "kind": kind}
            entry.setdefault("file", module.name)
    return found


def _meanings() -> dict[str, str]:
    """Return what each kind says that the next step does: the comment beside it."""
    return dict(re.findall(r"^ +(\w+) = auto\(\)  # (.*)$", inspect.getsource(Kind), re.M))


def _named_in(module: ModuleType) -> Iterator[tuple[str, str]]:
    """Yield the name and the kind of each gap that a module makes."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            continue
        if node.func.id == "Gap" and node.args and isinstance(node.args[0], ast.Constant):
            values = [*node.args, *(word.value for word in node.keywords)]
            kinds = [value.attr for value in values if isinstance(value, ast.Attribute)]
            known = [kind for kind in kinds if kind in Kind.__members__]
            yield str(node.args[0].value), known[0] if known else Kind.PAUSE.name
