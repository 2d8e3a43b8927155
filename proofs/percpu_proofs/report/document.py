"""The one file that a report is: templates filled in, with style, code and search index inside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from percpu_proofs.report.bars import LEGEND, ChunkBars
from percpu_proofs.report.code import Code
from percpu_proofs.report.places import Places
from percpu_proofs.report.prose import Prose
from percpu_spec.catalogue import clauses, findings


class IndexEntry(NamedTuple):
    """What the search box can find: a place of the document, and what stands there."""

    place: str
    kind: str
    title: str
    text: str


class Document:
    """One report in the making: what all its parts share."""

    def __init__(
        self,
        names: Places | None = None,
        terms: Mapping[str, str] | None = None,
        functions: Places | None = None,
    ) -> None:
        """names: what the report explains, clauses and findings alone unless given.

        terms: places of words that statements link where they first use them. functions: places of
        what code calls, all names unless given.
        """
        names = names or Places()
        self.prose = Prose(names, terms or {})
        self.code = Code(functions or names)
        self.bars = ChunkBars()

    def render(self, template: str, title: str, index: Iterable[IndexEntry], **content: Any) -> str:
        """Return the document. The same content gives the same bytes."""
        environment = Environment(
            loader=PackageLoader("percpu_proofs.report"), autoescape=True, trim_blocks=True,
            lstrip_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True,
        )  # fmt: skip
        return environment.get_template(template).render(
            title=title, prose=self.prose, code=self.code,
            bars=self.bars, bar_legend=LEGEND, index=list(map(list, index)),
            clauses=list(clauses().values()), findings=list(findings().values()), **content,
        )  # fmt: skip


def clause_index() -> Iterator[IndexEntry]:
    """Yield what the search box finds of clauses and findings."""
    for clause in clauses().values():
        text = " ".join(f"{clause.statement} {clause.kernel}".replace("`", "").split())
        yield IndexEntry(clause.id, "clause", f"{clause.id}: {clause.title}", text)
    for finding in findings().values():
        text = " ".join(finding.what.replace("`", "").split())
        yield IndexEntry(finding.id, "finding", f"{finding.id}: {finding.title}", text)
