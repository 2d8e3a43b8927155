"""The house: what may import what, one class for one name, sizes of modules and front doors."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
PACKAGES = ("percpu_spec", "percpu_contracts", "percpu_reference", "percpu_proofs")
LAYERS = (
    "data", "refine", "run", "bugs", "show", "recorded", "explore", "kernel", "live", "logs",
    "prove", "counterexample", "workload", "review", "bench", "beside", "explain", "report",
    "commands", "api", "cli",
)  # fmt: skip
"""The folders of proofs; each imports from those before it."""

FACADE = ("percpu_spec", "percpu_proofs.api")  # `import percpu_spec as ps` has the public API

SUBCLASSES = {"Linux", "Rfc"}  # a variant extends the class of the one before it, by its name


@cache
def modules() -> dict[str, ast.Module]:
    """Return the modules of the four packages by their dotted names."""
    found = {}
    for package in PACKAGES:
        folder = TOP / package.removeprefix("percpu_")
        for path in sorted(folder.rglob("*.py")):
            name = ".".join(path.relative_to(folder).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(path.read_text("utf-8"))
    return found


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield what a module has but for expressions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.expr):
            yield node
            yield from nodes(node)


def imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield what a module imports, for types only too: a module, and a name in it or ""."""
    for node in nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole, "") if whole in modules() else (node.module, alias.name)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


@cache
def edges() -> list[tuple[str, str, str]]:
    """Return each module with what it imports of ours: a module, and a name in it or ""."""
    return [
        (name, used, part)
        for name, tree in modules().items()
        for used, part in imports(tree)
        if used in modules() and (name, used) != FACADE
    ]


def height(module: str) -> tuple[int, int]:
    """Return how high a module stands: its package, and in proofs its folder."""
    package, _, rest = module.partition(".")
    return PACKAGES.index(package), LAYERS.index(rest.split(".")[0]) if (
        package == PACKAGES[-1] and rest
    ) else 0


def folder(module: str) -> str:
    """Return the package that a module lies in; for a package itself, that."""
    parts = module.split(".")
    path = TOP / parts[0].removeprefix("percpu_") / "/".join(parts)
    return module if path.is_dir() else ".".join(parts[:-1])


def test_imports_go_downwards() -> None:
    assert [edge for edge in edges() if height(edge[0]) < height(edge[1])] == []


@pytest.mark.parametrize("level", ["module", "folder"])
def test_nothing_imports_in_circles(level: str) -> None:
    graph = defaultdict(set)
    for name, used, _ in edges():
        one, other = (name, used) if level == "module" else (folder(name), folder(used))
        nested = level == "folder" and (f"{one}.".startswith(f"{other}.")
                                        or f"{other}.".startswith(f"{one}."))  # fmt: skip
        if one != other and not nested:
            graph[one].add(other)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_nothing_takes_private_names_of_others() -> None:
    assert [edge for edge in edges() if edge[2].startswith("_")] == []


def test_a_class_has_its_name_for_itself() -> None:
    homes = defaultdict(list)
    for name, tree in modules().items():
        for node in nodes(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(name)
    shared = {name: where for name, where in homes.items() if len(where) > 1}
    assert {name: shared[name] for name in shared.keys() - SUBCLASSES} == {}


def test_modules_and_front_doors_are_short() -> None:
    assert len((TOP / "README.md").read_text("utf-8").splitlines()) < 150
    for package in PACKAGES:
        top = TOP / package.removeprefix("percpu_")
        assert len((top / "README.md").read_text("utf-8").splitlines()) <= 60, top
        for path in top.rglob("*.py"):
            assert len(path.read_text("utf-8").splitlines()) <= 400, path


def test_files_that_texts_name_are_there() -> None:
    tails = {"mine.py"}  # a user's
    for path in [p for top in TOP.glob("[a-z]*") for p in top.rglob("*.py")]:
        parts = path.relative_to(TOP).parts
        tails.update("/".join(parts[n:]) for n in range(len(parts)))
    folders = [TOP / package.removeprefix("percpu_") for package in PACKAGES]
    kinds = ("*.py", "*.md", "*.c", "*.h")
    texts = [text for folder in folders for kind in kinds for text in folder.rglob(kind)]
    for text in [TOP / "README.md", *texts]:
        named = re.findall(r"(?<![\w/.-])((?:[a-z_]+/)*[a-z_]+\.py)\b", text.read_text("utf-8"))
        assert {name.removeprefix("a/") for name in named} <= tails, text
