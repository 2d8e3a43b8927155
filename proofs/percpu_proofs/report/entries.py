"""The entries of the book: clauses by chapter, functions, definitions, words and kernel names.

The tests that cite a clause stand in a clone; an installed package has none, and its book tells of
none.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, resources
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from percpu_contracts.registry import COMPILED, statements
from percpu_proofs import data
from percpu_proofs.explain import docstring
from percpu_proofs.explain.lookup import explain
from percpu_proofs.prove.ledger import committed
from percpu_proofs.report.document import (
    Code,
    followed_functions,
    model_functions,
    names_of_functions,
)
from percpu_proofs.report.walks import Walkthrough
from percpu_proofs.review.matrix import Cell
from percpu_proofs.run.inputs import InputError
from percpu_reference.kernel_names import OURS
from percpu_spec import definitions
from percpu_spec.catalogue import Clause, Finding, clauses, findings
from percpu_spec.glossary import Term, glossary, kernel_names


@dataclass(frozen=True, slots=True)
class Chapter:
    """One file of clauses."""

    name: str
    title: str
    introduction: str  # Markdown
    entries: tuple[ClauseEntry, ...]


@dataclass(slots=True)
class ClauseEntry:
    """One clause of the book."""

    clause: Clause
    predicates: list[PredicateCode]
    contracts: list[Mapping[str, str]]
    functions: list[str]  # of the kernel
    claims: Mapping[str, Mapping[str, Any]]
    tests: Mapping[str, list[str]]  # that cite it, by file
    findings: list[Finding]
    not_asked: str  # why no release is
    cells: list[Cell] = field(default_factory=list)
    walks: list[Walkthrough] = field(default_factory=list)


class PredicateCode(NamedTuple):
    """A function that states a clause, or the condition of a contract that does."""

    name: str
    module: str
    scope: str  # of what it is asked, and when
    code: Markup


def chapters(code: Code, kernel: Sequence[KernelFunction]) -> list[Chapter]:
    """Return the specification, a chapter a file, in alphabetical order."""
    by_file: dict[str, list[ClauseEntry]] = {}
    for clause in clauses().values():
        by_file.setdefault(clause.chapter, []).append(_clause_entry(clause, code, kernel))
    folder = resources.files("percpu_spec") / "clauses"
    found = []
    for name, entries in by_file.items():
        text = (folder / f"{name}.md").read_text(encoding="utf-8")
        title, _, body = text.partition("\n")
        introduction = body.partition("\n## ")[0].strip()
        found.append(Chapter(name, title.removeprefix("# "), introduction, tuple(entries)))
    return found


def _clause_entry(clause: Clause, code: Code, kernel: Iterable[KernelFunction]) -> ClauseEntry:
    """Return what is known of a clause but for verdicts on variants."""
    contracts: list[Mapping[str, str]] = explain(clause.id)["contracts"]
    return ClauseEntry(
        clause,
        list(_predicates(clause, code, contracts)),
        contracts,
        [one.name for one in kernel if clause.id in one.clauses],
        {
            name: line for name, line in committed().items()
            if clause.id in line["clause"].split(", ")
        },
        citations().get(clause.id, {}),
        [one for one in findings().values() if clause.id in one.clauses],
        COMPILED.not_asked().get(clause.id, ""),
    )  # fmt: skip


def _predicates(
    clause: Clause, code: Code, contracts: Iterable[Mapping[str, str]]
) -> Iterator[PredicateCode]:
    """Yield what states a clause; conditions on functions where nothing else does."""
    stated = [one for one in statements() if one.clause == clause.id]
    for one in stated:
        asked = f"of {one.scope.value}, {one.when.value}"
        module = one.predicate.__module__
        yield PredicateCode(one.predicate.__name__, module, asked, code.with_helpers(one.predicate))
    if not stated:
        for name in dict.fromkeys(line["condition"] for line in contracts):
            module, _, function = name.rpartition(".")
            condition = getattr(import_module(module), function)
            asked = "a condition of contracts on functions"
            yield PredicateCode(function, module, asked, code.with_helpers(condition))


_ID: Final = re.compile(r"\b(?:[A-Z]+-[1-9][0-9]*|[LR][1-9])\b")


@cache
def citations() -> dict[str, dict[str, list[str]]]:
    """Return for each id the files of tests that name it, with the definitions that do in each."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in sorted((data.REPOSITORY / "tests").glob("*.py")):
        for name, place in _ids_of_definitions(path.read_text("utf-8")):
            places = found.setdefault(name, {}).setdefault(path.name, [])
            if place not in places:
                places.append(place)
    return found


def _ids_of_definitions(source: str) -> Iterator[tuple[str, str]]:
    """Yield the ids that a source names, each with the definition at the top level it is in.

    >>> list(_ids_of_definitions('LIMIT = 3\\n\\ndef test_float():\\n    "FLT-1"'))
    [('FLT-1', 'test_float')]
    """
    lines = source.splitlines()
    for node in ast.parse(source).body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
        text = "\n".join(lines[first - 1 : node.end_lineno])
        yield from ((name, _name(node)) for name in dict.fromkeys(_ID.findall(text)))


def _name(node: ast.stmt) -> str:
    """Return what a statement at the top level defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else "its words"


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """A kernel function that the model follows."""

    name: str
    files: tuple[str, ...]
    functions: list[ModelFunction]
    clauses: list[str]  # that name it, or that contracts of its functions ask
    findings: list[str]


@dataclass(frozen=True, slots=True)
class ModelFunction:
    """A function of the model.

    entry: what `explain` says of it, its contract and what overrides it among that. claims: of the
    ledger, about it.
    """

    name: str
    entry: Mapping[str, Any]
    claims: Sequence[str]
    function: Callable[..., Any]

    @property
    def clauses(self) -> set[str]:
        """Ids of the clauses that its contract asks."""
        lines = (*self.entry["requires"], *self.entry["ensures"])
        return {word for line in lines for word in line["says"].partition(":")[0].split()}


def kernel_functions() -> list[KernelFunction]:
    """Return the kernel functions that the model follows, by name."""
    found = []
    for name, files in followed_functions().items():
        functions = _model_functions(model_functions(name))
        asked = set().union(*(one.clauses for one in functions))
        found.append(KernelFunction(name, files, functions, *_speaking_of((name,), asked)))
    return found


def own_functions() -> list[ModelFunction]:
    """Return the functions of the model that the kernel has none of."""
    return _model_functions(sorted(OURS))


def _model_functions(names: Iterable[str]) -> list[ModelFunction]:
    """Return functions of the model but for those that a variant alone or a state's view has."""
    found = []
    for name in names:
        try:
            entry = explain(name)
        except InputError:
            continue
        if "(" in entry["id"] and "file" in entry:
            owner = entry["id"].partition("(")[0].rpartition(".")[0]
            function = getattr(getattr(import_module(entry["file"]), owner), name)
            found.append(ModelFunction(name, entry, _claims_by_function().get(name, ()), function))
    return found


@cache
def _claims_by_function() -> dict[str, list[str]]:
    """Return the claims of the ledger about each function of the model, by its name."""
    found: dict[str, list[str]] = {}
    for claim, line in committed().items():
        for function in line["functions"]:
            found.setdefault(function.rpartition(".")[2], []).append(claim)
    return found


def _speaking_of(
    names: Iterable[str], asked: Iterable[str] = ()
) -> tuple[list[str], list[str]]:
    """Return the clauses that speak of names, with those asked of them, and the findings."""
    ids = set(asked).union(*(_ids_by_name().get(name, ()) for name in names))
    return [one for one in clauses() if one in ids], [one for one in findings() if one in ids]


@cache
def _ids_by_name() -> dict[str, set[str]]:
    """Return the clauses and findings that speak of each kernel name."""
    texts = {c.id: f"{c.statement} {c.formal} {c.kernel} {c.since}" for c in clauses().values()}
    texts |= {f.id: f"{f.what} {f.function or ''}" for f in findings().values()}
    found: dict[str, set[str]] = {}
    for entry, text in texts.items():
        for name in names_of_functions(text):
            found.setdefault(name, set()).add(entry)
    return found


class PlainDefinition(NamedTuple):
    """A derived quantity in plain code, straight from the bitmaps."""

    name: str
    module: str
    title: str
    function: Callable[..., Any]


def plain_definitions() -> list[PlainDefinition]:
    """Return the definitions of percpu_spec.definitions, by module and in their order."""
    found = [
        PlainDefinition(name, one.__module__.rpartition(".")[2], docstring(one)[0], one)
        for name, one in vars(definitions).items()
        if inspect.isfunction(one)
    ]
    return sorted(found, key=lambda one: (one.module, one.function.__code__.co_firstlineno))


_ORDINARY: Final = frozenset({
    "after", "all", "asked", "broken", "charge", "empty", "explore", "fix", "full", "holds",
    "list", "lock", "longer", "longest", "mended", "missed", "moment", "new", "off", "operation",
    "reference", "run", "scope", "search", "served", "state", "step", "type", "unit", "variant",
    "warning",
})  # fmt: skip
"""Words of the glossary that statements use in their ordinary sense too."""


@dataclass(frozen=True, slots=True)
class TermEntry:
    """One word, or the names of one thing; place is its id in the document."""

    place: str
    names: tuple[str, ...]
    text: str  # Markdown; empty for a name that only clauses explain
    clauses: list[str]  # that name it
    findings: list[str]


def glossary_entries() -> list[TermEntry]:
    """Return the glossary."""
    return [_term_entry("term", term) for term in dict.fromkeys(glossary().values())]


def kernel_name_entries() -> list[TermEntry]:
    """Return the kernel's names but for functions that the model follows.

    Those that clauses or findings speak of and that have no text are among them.
    """
    explained = kernel_names().keys() | glossary().keys() | followed_functions().keys()
    bare = (Term((name,), "") for name in _ids_by_name() if name not in explained)
    terms = (*dict.fromkeys(kernel_names().values()), *bare)
    found = [_term_entry("name", term) for term in terms]
    return sorted(found, key=lambda one: (one.names[0].strip("_").lower(), one.names[0]))


def _term_entry(kind: str, term: Term) -> TermEntry:
    place = f"{kind}-{re.sub(r'[^a-zA-Z0-9_]+', '-', term.names[0]).strip('-')}"
    return TermEntry(place, term.names, term.text, *_speaking_of(term.names))


def places_of_terms(entries: Iterable[TermEntry]) -> dict[str, str]:
    """Return where each name stands."""
    return {name: entry.place for entry in entries for name in entry.names}


def places_in_statements(words: Iterable[TermEntry]) -> dict[str, str]:
    """Return where the words of the glossary stand that statements link."""
    return {name: place for name, place in places_of_terms(words).items() if name not in _ORDINARY}
