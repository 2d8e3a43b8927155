"""The clause catalogue: every chapter of `clauses/`, read into records, strictly.

A chapter is Markdown. Line one is `# Title`; each clause is a heading `## ID — title` followed by
paragraphs that open with a field name in bold, in the order of `FIELDS`. Only the last may be left
out. Text between the title and the first clause introduces the chapter.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

FIELDS = ("Statement", "Formal", "When", "Kernel", "Since", "Known on 6.12")
OPTIONAL = frozenset({"Known on 6.12"})
REFINE = "REFINE"
"""Stands where a clause id does for a step that is no action of the abstract machine."""
MOMENTS = ("always", "outside operations", "per operation", "after a free", "quiescent")

_HEADING = re.compile(r"## ([A-Z]+-[1-9][0-9]*) — (\S.*)")
_RELEASE = re.compile(r"[2-9]\.[0-9.]+[ ;](?s:.*)\(mm/percpu[^()]*\)$")
_FIELD = re.compile(r"\*\*([^*]+)\.\*\*(?: (.*))?")


class ClauseError(Exception):
    """A chapter that does not follow the layout, or an id stated twice."""


class UnknownClauseError(KeyError):
    """No clause has the id; the message names near ones."""

    def __str__(self) -> str:
        """Return the message without the quotes that KeyError adds."""
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Clause:
    """One numbered statement. `known` is None where 6.12 is not known to break it."""

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


def parse_chapter(name: str, text: str) -> list[Clause]:
    """Return the clauses of one chapter in order. Raises ClauseError with chapter and line."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("# "):
        raise ClauseError(f"{name}.md:1: expected '# Title'")
    heads = [number for number, line in enumerate(lines) if line.startswith("## ")]
    if not heads:
        raise ClauseError(f"{name}.md: expected at least one clause")
    ends = [*heads[1:], len(lines)]
    return [_parse_clause(name, lines, *span) for span in zip(heads, ends, strict=True)]


def _parse_clause(name: str, lines: list[str], head: int, end: int) -> Clause:
    """Read the clause whose heading is lines[head]."""
    where = f"{name}.md:{head + 1}"
    heading = _HEADING.fullmatch(lines[head])
    if heading is None:
        raise ClauseError(f"{where}: expected '## ID — title', found {lines[head]!r}")
    values: dict[str, list[str]] = {}
    for number, line in enumerate(lines[head + 1 : end], head + 2):
        opened = _FIELD.match(line)
        if opened is not None:
            label = opened[1]
            if label not in FIELDS or label in values:
                raise ClauseError(f"{name}.md:{number}: field {label!r} unknown or repeated")
            values[label] = [opened[2] or ""]
        elif values:
            values[next(reversed(values))].append(line)
        elif line.strip():
            raise ClauseError(f"{name}.md:{number}: text before the first field")
    fields = {label: "\n".join(text).strip() for label, text in values.items()}
    wanted = [label for label in FIELDS if label in fields or label not in OPTIONAL]
    if list(fields) != wanted or not all(fields.values()):
        raise ClauseError(f"{where}: expected {', '.join(wanted)}, in this order, none empty")
    if not fields["When"].startswith(MOMENTS):
        raise ClauseError(f"{where}: When begins with one of: {', '.join(MOMENTS)}")
    if not _RELEASE.match(fields["Since"]):
        raise ClauseError(f"{where}: Since begins with a release (5.14) and ends with files")
    statement, formal, when, kernel, since = (fields[label] for label in FIELDS[:5])
    known = fields.get(FIELDS[5])
    return Clause(
        heading[1], heading[2], statement, formal, when, kernel, since, known, name
    )


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
