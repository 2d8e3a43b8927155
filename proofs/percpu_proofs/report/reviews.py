"""What every report of a review shows: what is new first, the verdicts, how far was searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from percpu_proofs.counterexample.sentences import sentence_of, title_of
from percpu_proofs.report.document import Document, IndexEntry, clause_index
from percpu_proofs.report.walks import Walkthrough


@dataclass(frozen=True, slots=True)
class Sign:
    """A verdict in the matrix."""

    words: str
    style: str  # a class of the style sheet
    unexpected: bool = False


@dataclass(frozen=True, slots=True)
class ClauseLine:
    """A clause in the matrix, with a mark for each subject; reason: why it was not asked."""

    clause: str
    marks: tuple[Sign | None, ...]
    reason: str = ""

    @property
    def title(self) -> str:
        """The clause's title, also of what stands in the place of one."""
        return title_of(self.clause)


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A clause that is broken, or mended, with its counterexamples."""

    clause: str
    place: str
    words: str = ""
    walks: tuple[Walkthrough, ...] = ()

    @property
    def title(self) -> str:
        """The clause's title."""
        return title_of(self.clause)

    @property
    def sentence(self) -> str:
        """What the clause says, in Markdown."""
        return sentence_of(self.clause)


@dataclass(frozen=True, slots=True)
class Group:
    """Clauses of one kind: newly broken, mended, and so on."""

    heading: str
    shown: tuple[Exhibit, ...]
    serious: bool = False
    says: str = ""


@dataclass(frozen=True, slots=True)
class SearchBound:
    """How far a search came."""

    search: str
    subject: str
    reach: str


@dataclass(frozen=True, slots=True)
class AccessLine:
    """An access without pcpu_lock, in words."""

    words: str
    new: bool


@dataclass(slots=True)
class ReviewReport:
    """A review as its report shows it."""

    title: str
    summary: list[str]
    subjects: list[str]
    groups: list[Group] = field(default_factory=list)
    rows: list[ClauseLine] = field(default_factory=list)
    bounds: list[SearchBound] = field(default_factory=list)
    accesses: Sequence[AccessLine] = ()
    patches: Mapping[str, str] = field(default_factory=dict)


def render(into: Document, review: ReviewReport) -> str:
    """Return the report of a review as HTML."""
    shown = [one for group in review.groups for one in group.shown]
    index = [IndexEntry(one.place, "shown here", f"{one.clause}: {one.title}", one.words)
             for one in shown]  # fmt: skip
    return into.render(
        "review.html", review.title, [*index, *clause_index()], summary=review.summary,
        groups=[group for group in review.groups if group.shown], subjects=review.subjects,
        rows=review.rows, bounds=review.bounds, accesses=review.accesses, patches=review.patches,
    )  # fmt: skip
