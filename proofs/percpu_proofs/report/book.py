"""The specification as a book: every clause with all that is known of it, in one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from percpu_proofs.beside import pages as beside
from percpu_proofs.beside.comparison import Comparison
from percpu_proofs.data import folder
from percpu_proofs.explain import docstring
from percpu_proofs.explore.scenarios import FOLDER, SCENARIOS
from percpu_proofs.prove.ledger import committed
from percpu_proofs.report import entries as terms
from percpu_proofs.report.document import Document, IndexEntry, Places, clause_index
from percpu_proofs.report.entries import (
    ClauseEntry,
    KernelFunction,
    chapters,
    citations,
    kernel_functions,
    own_functions,
    plain_definitions,
)
from percpu_proofs.report.pictures import plots
from percpu_proofs.report.walks import walks
from percpu_proofs.review.matrix import Cell
from percpu_reference.variants import RELEASES, VARIANTS, Allocator
from percpu_spec.catalogue import clauses, findings
from percpu_spec.releases import COMPARED, KM
from percpu_spec.releases import RELEASES as SEARCHED

TITLE = "The Linux percpu allocator, specified"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A variant as the book shows it."""

    title: str
    says: str
    base: str | None  # the variant that it extends
    expected: Mapping[str, str]
    not_applicable: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a book holds."""

    clauses: int
    findings: int
    walks: int
    functions: int
    claims: int


def book(
    cells: Sequence[Cell], comparisons: Sequence[Comparison] = ()
) -> tuple[str, Counts]:
    """Return the book as HTML, and how much it holds.

    cells: the verdicts, of every clause for each variant, as percpu_proofs.review gives them.
    comparisons: functions of a kernel tree beside the model's.
    """
    kernel, own = kernel_functions(), own_functions()
    words, names = terms.words(), terms.names()
    document = Document(
        _names(kernel, (*words, *names)), terms.linked_words(words), Places(_functions(kernel))
    )
    specification = chapters(document.code, kernel)
    for chapter in specification:
        for entry in chapter.entries:
            _judge(entry, cells, document)
    entries = [entry for chapter in specification for entry in chapter.entries]
    counts = Counts(
        len(entries), len(findings()), sum(len(entry.walks) for entry in entries), len(kernel),
        len(committed()),
    )  # fmt: skip
    definitions = plain_definitions()
    index = [
        *clause_index(), *_found_names(kernel),
        *(IndexEntry(f"variant-{name}", "variant", name, algorithm(cls).title)
          for name, cls in (VARIANTS | RELEASES).items()),
        *(_found_term("word", word) for word in words),
        *(_found_term("kernel name", name) for name in names),
        *(IndexEntry(f"model-{f.name}", "function of the model", f.name, f.title) for f in own),
        *(IndexEntry(f"definition-{d.name}", "definition", d.name, d.title) for d in definitions),
        *(IndexEntry(f"scenario-{s.name}", "scenario", s.name, s.what) for s in SCENARIOS.values()),
    ]  # fmt: skip
    text = (resources.files("percpu_spec") / "findings.md").read_text(encoding="utf-8")
    compared = [one.function for one in comparisons]
    html = document.render(
        "book.html", TITLE, index,
        chapters=specification, counts=counts, releases=SEARCHED, km=KM, compared=COMPARED,
        variants=list(dict.fromkeys(cell.variant for cell in cells)),
        partial=any(cell.partial for cell in cells),
        patches=_patches(),
        findings_introduction=text.partition("\n")[2].partition("\n## ")[0],
        algorithms={name: algorithm(cls) for name, cls in (VARIANTS | RELEASES).items()},
        scenarios=[_scenario(name) for name in SCENARIOS], plots=plots(),
        kernel_functions=kernel, names=names, own_functions=own, cited=bool(citations()),
        definitions=definitions, claims=committed(), words=words, comparisons=comparisons,
        beside=[beside.html_fragment(one, link=_to_clause, functions=compared)
                for one in comparisons],
        beside_places={one.function: beside.anchor(one) for one in reversed(comparisons)},
        more_style=beside.style() if comparisons else "",
    )  # fmt: skip
    return html, counts


def _to_clause(clause: str) -> str | None:
    return f"#{clause}" if clause in clauses() else None


def _functions(kernel: Iterable[KernelFunction]) -> dict[str, str]:
    """Return the places of what code calls: functions of the model, and definitions."""
    own = [one.name for one in own_functions()]
    mine = [one.name for of in kernel for one in of.functions]
    places = {name: f"model-{name}" for name in (*mine, *own)}
    return places | {one.name: f"definition-{one.name}" for one in plain_definitions()}


def _names(kernel: Iterable[KernelFunction], entries: Iterable[terms.Word]) -> Places:
    """Return the places of all names of the book."""
    places = terms.places(entries)
    places |= {name: f"scenario-{name}" for name in SCENARIOS}
    places |= {name: f"variant-{name}" for name in VARIANTS | RELEASES}
    return Places(places | _functions(kernel) | {one.name: one.name for one in kernel})


def _judge(entry: ClauseEntry, cells: Iterable[Cell], document: Document) -> None:
    """Enter what is known of a clause on the variants, counterexamples step by step."""
    entry.cells = [cell for cell in cells if cell.clause == entry.clause.id]
    for cell in entry.cells:
        entry.walks += walks(cell, document.bars)


def algorithm(cls: type[Allocator]) -> Algorithm:
    """Return what the book says of a variant."""
    title, says = docstring(cls)
    known = {other: name for name, other in (VARIANTS | RELEASES).items()}
    base = next((known[one] for one in cls.__mro__[1:] if one in known), None)
    return Algorithm(title, says, base, cls.EXPECTED, cls.NOT_APPLICABLE)


def _patches() -> dict[str, str]:
    """Return the shipped patches by name."""
    return {path.name: path.read_text("utf-8") for path in sorted(folder("patches").iterdir())}


def _scenario(name: str) -> Mapping[str, Any]:
    text = (FOLDER / f"{name}.txt").read_text("utf-8")
    return {"name": name, "what": SCENARIOS[name].what, "text": text}


def _found_names(kernel: Iterable[KernelFunction]) -> Iterator[IndexEntry]:
    for one in kernel:
        model = " ".join(f"{function.name} {function.title}" for function in one.functions)
        yield IndexEntry(one.name, "kernel function", one.name, model)


def _found_term(kind: str, term: terms.Word) -> IndexEntry:
    text = " ".join((*term.text.replace("`", "").split(), *term.clauses))
    return IndexEntry(term.place, kind, ", ".join(term.names), text)
