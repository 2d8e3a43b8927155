"""The words of the glossary and the kernel's names as entries of the report."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from percpu_proofs.report.functions import clauses_naming, entries_by_name, findings_naming
from percpu_proofs.report.places import followed_functions
from percpu_spec.glossary import Term, glossary, kernel_names

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
