"""Clauses as the book has them: with all that states, asks, proves and tests each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module, resources
from typing import Any

from markupsafe import Markup

from percpu_contracts.registry import COMPILED, statements
from percpu_proofs.explain.lookup import explain
from percpu_proofs.prove.ledger import committed
from percpu_proofs.report.citations import Citation, citations
from percpu_proofs.report.code import Code
from percpu_proofs.report.functions import KernelFunction
from percpu_proofs.report.walks import Walkthrough
from percpu_proofs.review.matrix import Cell
from percpu_spec.catalogue import Clause, Finding, clauses, findings


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
