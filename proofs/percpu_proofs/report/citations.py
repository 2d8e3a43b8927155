"""Which tests cite a clause or finding: the functions and the tables that name its id.

The tests stand in a clone; an installed package has none, and its report tells of none.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import NamedTuple

from percpu_proofs import data

_ID = re.compile(r"\b(?:[A-Z]+-[1-9][0-9]*|[LR][1-9])\b")


class Citation(NamedTuple):
    """A file of the tests and what in it names an id: functions, or other definitions."""

    file: str
    places: tuple[str, ...]


@cache
def citations() -> dict[str, tuple[Citation, ...]]:
    """Return the tests that name each id, by file; nothing where there are none."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted((data.REPOSITORY / "tests").glob("*.py")):
        for name, place in _named(path.read_text("utf-8")):
            places = found.setdefault(name, {}).setdefault(path.name, [])
            if place not in places:
                places.append(place)
    return {
        name: tuple(Citation(file, tuple(places)) for file, places in files.items())
        for name, files in found.items()
    }


def _named(source: str) -> list[tuple[str, str]]:
    """Return the ids that a source names, each with the definition at the top level it is in.

    >>> _named('LIMIT = 3\\n\\ndef test_float():\\n    "FLT-1"')
    [('FLT-1', 'test_float')]
    """
    found = []
    lines = source.splitlines()
    for node in ast.parse(source).body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        found += [(name, _name(node)) for name in dict.fromkeys(_ID.findall(text))]
    return found


def _name(node: ast.stmt) -> str:
    """Return what a statement at the top level defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else "its words"
