"""The specification as a book: every clause with all that is known of it, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from percpu_proofs.beside import pages as beside
from percpu_proofs.beside.comparison import Comparison
from percpu_proofs.data import folder
from percpu_proofs.explain import docstring
from percpu_proofs.explore.scenarios import FOLDER, SCENARIOS
from percpu_proofs.prove.ledger import committed
from percpu_proofs.report.document import Document, IndexEntry, Places, clause_index
from percpu_proofs.report.entries import (
    TermEntry,
    chapters,
    citations,
    glossary_entries,
    kernel_functions,
    kernel_name_entries,
    own_functions,
    places_in_statements,
    places_of_terms,
    plain_definitions,
)
from percpu_proofs.report.pictures import PLOTS
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


def book(
    cells: Sequence[Cell], comparisons: Sequence[Comparison] = ()
) -> tuple[str, dict[str, int]]:
    """Return the book as HTML, and how much it holds.

    cells: the verdicts, of every clause for each variant, as percpu_proofs.review gives them.
    comparisons: functions of a kernel tree beside the model's.
    """
    kernel, own, definitions = kernel_functions(), own_functions(), plain_definitions()
    words, names = glossary_entries(), kernel_name_entries()
    algorithms = {name: algorithm(cls) for name, cls in (VARIANTS | RELEASES).items()}
    model = [*own, *(one for of in kernel for one in of.functions)]
    functions = {one.name: f"model-{one.name}" for one in model}
    functions |= {one.name: f"definition-{one.name}" for one in definitions}
    places = places_of_terms((*words, *names))
    places |= {name: f"scenario-{name}" for name in SCENARIOS}
    places |= {name: f"variant-{name}" for name in algorithms}
    places |= functions | {one.name: one.name for one in kernel}
    document = Document(Places(places), places_in_statements(words), Places(functions))
    specification = chapters(document.code, kernel)
    entries = [entry for chapter in specification for entry in chapter.entries]
    for entry in entries:
        entry.cells = [cell for cell in cells if cell.clause == entry.clause.id]
        entry.walks = [walk for cell in entry.cells for walk in walks(cell, document.bars)]
    counts = {
        "clauses": len(entries), "findings": len(findings()),
        "walks": sum(len(entry.walks) for entry in entries), "functions": len(kernel),
        "claims": len(committed()),
    }  # fmt: skip
    index = [
        *clause_index(),
        *(IndexEntry(one.name, "kernel function", one.name,
                     " ".join(f"{f.name} {f.entry['title']}" for f in one.functions))
          for one in kernel),
        *(IndexEntry(f"variant-{name}", "variant", name, one.title)
          for name, one in algorithms.items()),
        *(_index_of_term("word", word) for word in words),
        *(_index_of_term("kernel name", name) for name in names),
        *(IndexEntry(f"model-{f.name}", "function of the model", f.name, f.entry["title"])
          for f in own),
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
        patches={path.name: path.read_text("utf-8") for path in folder("patches").iterdir()},
        findings_introduction=text.partition("\n")[2].partition("\n## ")[0],
        algorithms=algorithms, plots=PLOTS,
        scenarios=[(one, (FOLDER / f"{one.name}.txt").read_text("utf-8"))
                   for one in SCENARIOS.values()],
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


def algorithm(cls: type[Allocator]) -> Algorithm:
    """Return what the book says of a variant."""
    title, says = docstring(cls)
    known = {other: name for name, other in (VARIANTS | RELEASES).items()}
    base = next((known[one] for one in cls.__mro__[1:] if one in known), None)
    return Algorithm(title, says, base, cls.EXPECTED, cls.NOT_APPLICABLE)


def _index_of_term(kind: str, term: TermEntry) -> IndexEntry:
    text = " ".join((*term.text.replace("`", "").split(), *term.clauses))
    return IndexEntry(term.place, kind, ", ".join(term.names), text)
