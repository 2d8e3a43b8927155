"""Which tests cite a clause or finding: the functions and the tables that name its id.

The tests stand in a clone; an installed package has none, and its report tells of none.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class ModelFunction:
    """A function of the model: its contract, what overrides it, and the claims about it."""

    name: str
    signature: str  # Class.name(...)
    module: str
    title: str
    says: str
    kernel: str  # where it comes from, in words
    requires: tuple[Mapping[str, str], ...]
    ensures: tuple[Mapping[str, str], ...]
    overridden: tuple[Mapping[str, str], ...]
    claims: tuple[str, ...]
    function: Callable[..., Any]

    @property
    def clauses(self) -> list[str]:
        """Ids of the clauses that its contract asks."""
        heads = [line["says"].partition(":")[0] for line in (*self.requires, *self.ensures)]
        asked = {clause for head in heads for clause in head.split()}
        return [clause for clause in clauses() if clause in asked]


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """A kernel function that the model follows."""

    name: str
    files: tuple[str, ...]
    functions: tuple[ModelFunction, ...]
    clauses: tuple[str, ...]  # that name it, or that contracts of its functions ask
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlainDefinition:
    """A derived quantity in plain code, straight from the bitmaps."""

    name: str
    module: str
    title: str
    function: Callable[..., Any]


def model_function(name: str, claims: Mapping[str, tuple[str, ...]]) -> ModelFunction | None:
    """Return a function of the model; None where a variant alone has it, or a view of a state."""
    try:
        found = explain(name)
    except InputError:
        return None
    if "(" not in found["id"] or "file" not in found:
        return None
    owner, _, _ = found["id"].partition("(")[0].rpartition(".")
    cls = getattr(importlib.import_module(found["file"]), owner)
    return ModelFunction(
        name, found["id"], found["file"], found["title"], found["says"], found["kernel"],
        tuple(found["requires"]), tuple(found["ensures"]), tuple(found["overridden"]),
        claims.get(name, ()), _plain(inspect.getattr_static(cls, name)),
    )  # fmt: skip


def _plain(member: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(member, "__func__", member)
    return function


def claims_by_function() -> dict[str, tuple[str, ...]]:
    """Return the claims of the ledger about each function of the model, by its name."""
    found: dict[str, tuple[str, ...]] = {}
    for claim, line in committed().items():
        for function in line["functions"]:
            name = function.rpartition(".")[2]
            found[name] = (*found.get(name, ()), claim)
    return found


def kernel_functions() -> list[KernelFunction]:
    """Return the kernel functions that the model follows, by name."""
    claims = claims_by_function()
    found = []
    for name, files in followed_functions().items():
        made = [model_function(one, claims) for one in model_functions(name)]
        functions = tuple(one for one in made if one is not None)
        asked = {c for one in functions for c in one.clauses}
        found.append(
            KernelFunction(
                name, files, functions, tuple(clauses_naming(name, asked)), findings_naming(name)
            )
        )
    return found


def own_functions() -> list[ModelFunction]:
    """Return the functions of the model that the kernel has none of."""
    claims = claims_by_function()
    made = (model_function(name, claims) for name in sorted(OURS))
    return [one for one in made if one is not None]


def clauses_naming(name: str, asked: Collection[str] = ()) -> Iterator[str]:
    """Yield the clauses that speak of a kernel name, and those asked of it."""
    speaking = entries_by_name().get(name, set()) | set(asked)
    return (clause for clause in clauses() if clause in speaking)


def findings_naming(name: str) -> tuple[str, ...]:
    """Return the findings that speak of a kernel name."""
    return tuple(finding for finding in findings() if finding in entries_by_name().get(name, ()))


@cache
def entries_by_name() -> dict[str, set[str]]:
    """Return the clauses and findings that speak of each kernel name."""
    texts = {c.id: f"{c.statement} {c.formal} {c.kernel} {c.since}" for c in clauses().values()}
    texts |= {f.id: f"{f.what} {f.function or ''}" for f in findings().values()}
    found: dict[str, set[str]] = {}
    for entry, text in texts.items():
        for name in names_of_functions(text):
            found.setdefault(name, set()).add(entry)
    return found


def plain_definitions() -> list[PlainDefinition]:
    """Return the definitions of percpu_spec.definitions, by module and in their order."""
    found = [
        PlainDefinition(name, one.__module__.rpartition(".")[2], docstring(one)[0], one)
        for name, one in vars(definitions).items()
        if inspect.isfunction(one)
    ]
    return sorted(found, key=lambda one: (one.module, one.function.__code__.co_firstlineno))


@dataclass(frozen=True, slots=True)
class PredicateCode:
    """A function that states a clause, or the condition of a contract that does."""

    name: str
    module: str
    asked: str  # of what, and when
    code: Markup


@dataclass(slots=True)
class ClauseEntry:
    """One clause of the book."""

    clause: Clause
    predicates: list[PredicateCode]
    contracts: list[Mapping[str, str]]
    functions: list[str]  # of the kernel
    claims: Mapping[str, Mapping[str, Any]]
    tests: Sequence[Citation]
    findings: list[Finding]
    not_asked: str  # why no release is
    cells: list[Cell] = field(default_factory=list)
    walks: list[Walkthrough] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Chapter:
    """One file of clauses."""

    name: str
    title: str
    introduction: str  # Markdown
    entries: tuple[ClauseEntry, ...]


def entry(clause: Clause, code: Code, kernel: Iterable[KernelFunction]) -> ClauseEntry:
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
        citations().get(clause.id, ()),
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


def chapters(code: Code, kernel: Sequence[KernelFunction]) -> list[Chapter]:
    """Return the specification, a chapter a file, in alphabetical order."""
    by_file: dict[str, list[ClauseEntry]] = {}
    for clause in clauses().values():
        by_file.setdefault(clause.chapter, []).append(entry(clause, code, kernel))
    folder = resources.files("percpu_spec") / "clauses"
    found = []
    for name, entries in by_file.items():
        text = (folder / f"{name}.md").read_text(encoding="utf-8")
        title, _, rest = text.partition("\n")
        introduction = rest.partition("\n## ")[0].strip()
        found.append(Chapter(name, title.removeprefix("# "), introduction, tuple(entries)))
    return found


_ORDINARY: Final = frozenset({
    "after", "all", "asked", "broken", "charge", "empty", "explore", "fix", "full", "holds",
    "list", "lock", "longer", "longest", "mended", "missed", "moment", "new", "off", "operation",
    "reference", "run", "scope", "search", "served", "state", "step", "type", "unit", "variant",
    "warning",
})  # fmt: skip
"""Words of the glossary that statements use in their ordinary sense too."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word, or the names of one thing; place is its id in the document."""

    place: str
    names: tuple[str, ...]
    text: str  # Markdown; empty for a name that only clauses explain
    clauses: tuple[str, ...] = ()  # that name it
    findings: tuple[str, ...] = ()


def words() -> list[Word]:
    """Return the glossary."""
    return [_entry("term", term) for term in dict.fromkeys(glossary().values())]


def names() -> list[Word]:
    """Return the kernel's names but for functions that the model follows.

    Those that clauses or findings speak of and that have no text are among them.
    """
    found = [_entry("name", term) for term in dict.fromkeys(kernel_names().values())]
    told = kernel_names().keys() | glossary().keys() | followed_functions().keys()
    found += [_entry("name", Term((name,), "")) for name in entries_by_name() if name not in told]
    return sorted(found, key=lambda one: (one.names[0].strip("_").lower(), one.names[0]))


def places(entries: Iterable[Word]) -> dict[str, str]:
    """Return where each name stands."""
    return {name: entry.place for entry in entries for name in entry.names}


def linked_words(entries: Iterable[Word]) -> dict[str, str]:
    """Return where the words stand that statements link."""
    return {name: place for name, place in places(entries).items() if name not in _ORDINARY}


def _entry(kind: str, term: Term) -> Word:
    place = f"{kind}-{re.sub(r'[^a-zA-Z0-9_]+', '-', term.names[0]).strip('-')}"
    clauses = {c: None for name in term.names for c in clauses_naming(name)}
    findings = {f: None for name in term.names for f in findings_naming(name)}
    return Word(place, term.names, term.text, tuple(clauses), tuple(findings))
