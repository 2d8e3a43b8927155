"""The glossary of the specification, where it has one: a heading a term, a paragraph each."""

from __future__ import annotations

import re
from importlib import resources
from typing import NamedTuple


class Term(NamedTuple):
    """A word with its meaning, in Markdown; place is its id in the document."""

    place: str
    name: str
    text: str


def glossary() -> list[Term]:
    """Return the terms in their order; none where there is no glossary."""
    file = resources.files("percpu_spec") / "glossary.md"
    return terms(file.read_text(encoding="utf-8")) if file.is_file() else []


def terms(text: str) -> list[Term]:
    """Return the terms of a text.

    >>> terms("# Words\\n\\n## a term\\n\\nWhat it means.\\n")
    [Term(place='term-a-term', name='a term', text='What it means.')]
    """
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name, _, body = section.partition("\n")
        place = "term-" + re.sub(r"[^a-z0-9]+", "-", name.strip().lower()).strip("-")
        found.append(Term(place, name.strip(), body.strip()))
    return found
