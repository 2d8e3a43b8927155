"""What names the specification's own code: predicates, definitions, fixes, claims, gaps."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any

import percpu_contracts
import percpu_reference
import percpu_spec
from percpu_proofs import data
from percpu_proofs.explain import Explanation, docstring, explanation
from percpu_reference.variants import fixes
from percpu_spec.catalogue import findings, title
from percpu_spec.steps import Kind


def explain_code(word: str) -> Iterator[Explanation]:
    """Yield what a word names in the code: `hint_is_ordered`, `RightEdgeKept`, `update-block`."""
    for finding in findings().values():
        if word in (*finding.fixes, *finding.patches):
            yield _fix(word, finding.id)
    if thing := _defined().get(word.removesuffix("()")):
        yield _function(thing)
    if (claim := claims().get(word)) is not None:
        yield {"id": word, "title": "a claim that `percpu-spec prove` checks"} | claim


def names() -> list[str]:
    """Return every name of this kind."""
    fixing = [name for f in findings().values() for name in (*f.fixes, *f.patches)]
    return [*fixing, *_defined(), *claims()]


def _fix(word: str, finding: str) -> Explanation:
    found: Explanation = {"id": word, "title": f"mends {finding}: {title(finding)}"}
    if word.endswith(".patch"):
        found["code"] = (data.folder("patches") / word).read_text("utf-8")
    else:
        cls = getattr(fixes, word)
        found["says"] = inspect.getdoc(cls) or ""
        found["file"] = cls.__module__
        found["code"] = inspect.getsource(cls)
    return found


def _function(thing: Any) -> Explanation:
    first, rest = docstring(thing)
    given = inspect.signature(thing) if inspect.isfunction(thing) else ""
    return explanation(
        f"{thing.__name__}{given}", first or f"of {thing.__module__}", rest,
        file=thing.__module__, code=inspect.getsource(thing),
    )  # fmt: skip


@cache
def _defined() -> Mapping[str, Any]:
    """Return what the specification and the clauses define, as `f` and `module.f`.

    The name alone stands for the first of its name, specification before clauses.
    """
    found: dict[str, Any] = {}
    for module in (*_modules(percpu_spec), *_modules(percpu_contracts)):
        for name, value in vars(module).items():
            public = callable(value) and not name.startswith("_")
            if public and _is_of(module, name, value):
                found.setdefault(name, value)
                found.setdefault(f"{module.__name__.rpartition('.')[2]}.{name}", value)
    return found


def _is_of(module: ModuleType, name: str, value: Any) -> bool:
    """Return whether a module defines what it calls so, and has not imported it.

    What one function makes of another is of the module that keeps it.
    """
    origin = getattr(value, "__module__", "")
    if origin == module.__name__:
        return True
    made = inspect.isfunction(value) and origin.startswith(("percpu_spec", "percpu_contracts"))
    return made and getattr(sys.modules[origin], name, None) is not value


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


@cache
def claims() -> Mapping[str, Explanation]:
    """Return the claims of the committed ledger by name, texts alone."""
    from percpu_proofs.prove.ledger import committed  # z3 takes as long as all other imports

    return {
        name: {
            "result" if key == "state" else key: (
                ", ".join(value) if isinstance(value, list) else str(value)
            )
            for key, value in entry.items()
        }
        for name, entry in committed().items()
    }


@cache
def gaps() -> Mapping[str, Explanation]:
    """Return the kinds of gaps, and the gaps that the reference and its variants stand in.

    What the step behind a kind of gap does is said by the comment beside the kind.
    """
    says = dict(re.findall(r"^ +(\w+) = auto\(\)  # (.*)$", inspect.getsource(Kind), re.M))
    found: dict[str, Explanation] = {
        kind.name: explanation(kind.name, "a kind of gap", says[kind.name]) for kind in Kind
    }
    for module in _modules(percpu_reference):
        for name, kind in _named_in(module):
            entry = found.setdefault(name, {"id": name, "title": "a gap"})
            entry |= {"says": f"The step that leaves it: {says[kind]}.", "kind": kind}
            entry.setdefault("file", module.__name__)
    return found


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
