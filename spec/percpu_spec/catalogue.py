"""The clause catalogue and the findings: Markdown, read into records, strictly.

A chapter of `clauses/` and `findings.md` have one form. Line one is `# Title`; each entry is a
heading `## ID — title` followed by paragraphs that open with a field name in bold, in the order of
its kind's fields. Only the optional ones may be left out. Text before the first entry introduces.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any, NamedTuple

REFINE = "REFINE"
"""Stands where a clause id does for a step that is no action of the abstract machine."""
MOMENTS = ("always", "outside operations", "per operation", "after a free", "quiescent")

_RELEASE = re.compile(r"[2-9]\.[0-9.]+[ ;](?s:.*)\(mm/percpu[^()]*\)$")
_FIELD = re.compile(r"\*\*([^*]+)\.\*\*(?: (.*))?")


class EntryForm(NamedTuple):
    """The form of a kind of entries: what an id is, and the fields in order."""

    id: str
    fields: tuple[str, ...]
    optional: frozenset[str]


CLAUSES = EntryForm(
    "[A-Z]+-[1-9][0-9]*",
    ("Statement", "Formal", "When", "Kernel", "Since", "Known on 6.12"),
    frozenset({"Known on 6.12"}),
)
FINDINGS = EntryForm(
    "[LR][1-9][0-9]*|REFINE",
    ("What happens", "Function", "Since", "Reproduced on", "Breaks", "Fix", "Cost", "Upstream"),
    frozenset({"Function", "Since", "Reproduced on", "Fix", "Cost", "Upstream"}),
)


class ClauseError(Exception):
    """A file that does not follow its form, or an id stated twice."""


class UnknownClauseError(KeyError):
    """No clause or finding has the id; the message names near ones."""

    def __str__(self) -> str:
        """Return the message without the quotes that KeyError adds."""
        return str(self.args[0])


class CatalogueEntry(NamedTuple):
    """One entry of a file: its fields by name, and where its heading stands."""

    id: str
    title: str
    fields: dict[str, str]
    where: str

    def texts(self, form: EntryForm) -> list[Any]:
        """Return the text of each field of its form, None for one that is left out."""
        return [self.fields.get(label) for label in form.fields]


@dataclass(frozen=True, slots=True)
class Clause:
    """One numbered statement. `known` names the findings that break it, None if none does."""

    id: str
    title: str
    statement: str
    formal: str
    when: str  # begins with one of MOMENTS
    kernel: str
    since: str  # the release that made it hold or promised it first, what changed later, the files
    known: str | None
    chapter: str  # file name without .md

    @property
    def moment(self) -> str:
        """When the clause is asked for: one of MOMENTS."""
        return next(m for m in MOMENTS if self.when.startswith(m))

    @property
    def findings(self) -> tuple[str, ...]:
        """Ids of the findings that break it on 6.12."""
        return () if self.known is None else tuple(self.known.split(", "))


@dataclass(frozen=True, slots=True)
class Finding:
    """A way in which the kernel breaks clauses, or what else stands in a clause's place.

    The fields are texts, None where one does not apply.
    """

    id: str
    title: str
    what: str
    function: str | None  # of the kernel, with its file
    since: str | None
    reproduced: str | None
    breaks: str
    fix: str | None
    cost: str | None
    upstream: str | None

    @property
    def clauses(self) -> tuple[str, ...]:
        """Ids of the clauses that it breaks."""
        return tuple(re.findall(CLAUSES.id, self.breaks))

    @property
    def fixes(self) -> tuple[str, ...]:
        """Names of the classes that mend the model (percpu_reference.variants.fixes)."""
        return tuple(re.findall(r"`([A-Z]\w+)`", self.fix or ""))

    @property
    def patches(self) -> tuple[str, ...]:
        """Names of the files that mend the kernel's C (percpu_proofs/data/patches)."""
        return tuple(re.findall(r"`([\w.-]+\.patch)`", self.fix or ""))


def parse(name: str, text: str, form: EntryForm) -> Iterator[CatalogueEntry]:
    """Yield the entries of a file in order. Raises ClauseError with file and line."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# "):
        raise ClauseError(f"{name}.md:1: expected '# Title'")
    heads = [number for number, line in enumerate(lines) if line.startswith("## ")]
    if not heads:
        raise ClauseError(f"{name}.md: expected at least one '## ID — title'")
    for head, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        yield _parse_entry(name, lines, head, end, form)


def _parse_entry(
    name: str, lines: list[str], head: int, end: int, form: EntryForm
) -> CatalogueEntry:
    """Read the entry whose heading is lines[head]."""
    where = f"{name}.md:{head + 1}"
    heading = re.fullmatch(rf"## ({form.id}) — (\S.*)", lines[head])
    if heading is None:
        raise ClauseError(f"{where}: expected '## ID — title', found {lines[head]!r}")
    values: dict[str, list[str]] = {}
    for number, line in enumerate(lines[head + 1 : end], head + 2):
        opened = _FIELD.match(line)
        if opened is not None:
            label = opened[1]
            if label not in form.fields or label in values:
                raise ClauseError(f"{name}.md:{number}: field {label!r} unknown or repeated")
            values[label] = [opened[2] or ""]
        elif values:
            values[next(reversed(values))].append(line)
        elif line.strip():
            raise ClauseError(f"{name}.md:{number}: text before the first field")
    fields = {label: "\n".join(text).strip() for label, text in values.items()}
    wanted = [label for label in form.fields if label in fields or label not in form.optional]
    if list(fields) != wanted or not all(fields.values()):
        raise ClauseError(f"{where}: expected {', '.join(wanted)}, in this order, none empty")
    return CatalogueEntry(heading[1], heading[2], fields, where)


def parse_chapter(name: str, text: str) -> list[Clause]:
    """Return the clauses of one chapter in order. Raises ClauseError with chapter and line."""
    found = []
    for entry in parse(name, text, CLAUSES):
        if not entry.fields["When"].startswith(MOMENTS):
            raise ClauseError(f"{entry.where}: When begins with one of: {', '.join(MOMENTS)}")
        if not _RELEASE.match(entry.fields["Since"]):
            raise ClauseError(f"{entry.where}: Since begins with a release (5.14), ends with files")
        known = entry.fields.get("Known on 6.12")
        if known is not None and not re.fullmatch(r"[LR]\d+(, [LR]\d+)*", known):
            raise ClauseError(f"{entry.where}: Known on 6.12 names findings, with ', ' between")
        texts = [entry.id, entry.title, *entry.texts(CLAUSES), name]
        found.append(Clause(*texts))
    return found


def parse_findings(text: str) -> list[Finding]:
    """Return the findings in order. Raises ClauseError with file and line."""
    return [
        Finding(entry.id, entry.title, *entry.texts(FINDINGS))
        for entry in parse("findings", text, FINDINGS)
    ]


def collect(chapters: Iterable[tuple[str, str]]) -> dict[str, Clause]:
    """Return clauses by id from (chapter name, text) pairs. Raises ClauseError on a repeated id."""
    found: dict[str, Clause] = {}
    for name, text in chapters:
        for item in parse_chapter(name, text):
            if item.id in found:
                raise ClauseError(f"{item.id}: stated in {found[item.id].chapter}.md and {name}.md")
            found[item.id] = item
    return found


@cache
def _catalogue() -> Mapping[str, Clause]:
    """Read the chapters that ship with the package, once."""
    folder = resources.files("percpu_spec") / "clauses"
    chapters = sorted(
        (entry.name.removesuffix(".md"), entry.read_text(encoding="utf-8"))
        for entry in folder.iterdir()
        if entry.name.endswith(".md")
    )
    if not chapters:
        raise ClauseError("no chapter found in percpu_spec/clauses")
    return MappingProxyType(collect(chapters))


def clauses() -> dict[str, Clause]:
    """Return every clause by id, chapters in alphabetical order."""
    return dict(_catalogue())


@cache
def _findings() -> Mapping[str, Finding]:
    text = (resources.files("percpu_spec") / "findings.md").read_text(encoding="utf-8")
    found: dict[str, Finding] = {}
    for item in parse_findings(text):
        if item.id in found:
            raise ClauseError(f"{item.id}: stated twice in findings.md")
        found[item.id] = item
    return MappingProxyType(found)


def findings() -> dict[str, Finding]:
    """Return every finding by id, in the order of the file."""
    return dict(_findings())


def entry_id(written: str) -> str:
    """Return the id of the clause or the finding that somebody wrote; what is none as it is.

    >>> [entry_id(word) for word in ("hint5", "HINT_05", "hint 5", "l-1", "refine", "HINT-55")]
    ['HINT-5', 'HINT-5', 'HINT-5', 'L1', 'REFINE', 'HINT-55']
    """
    word = written.strip().upper()
    parts = re.fullmatch(r"([A-Z]+)[-_ ]?0*(\d+)", word)
    forms = [mark.join(parts.groups()) for mark in ("-", "")] if parts else [word]
    return next((form for form in forms if form in _catalogue() or form in _findings()), written)


def clause(clause_id: str) -> Clause:
    """Return one clause. Raises UnknownClauseError, naming ids that look alike.

    >>> clause("API-1").chapter
    'api'
    """
    known = _catalogue()
    if clause_id in known:
        return known[clause_id]
    near = difflib.get_close_matches(clause_id.upper(), known, n=3)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise UnknownClauseError(f"{clause_id}: no such clause{hint}")


def title(entry_id: str) -> str:
    """Return the title of a clause or of a finding. Raises UnknownClauseError."""
    known = _findings()
    return known[entry_id].title if entry_id in known else clause(entry_id).title
