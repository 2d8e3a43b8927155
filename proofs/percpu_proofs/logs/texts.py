"""The texts of answers and advice: entries of the Markdown files beside this module, filled in."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
_HEADING = re.compile(r"^## ", re.M)
_PARAGRAPH = re.compile(r"(>|harmless:)?\s*(?:\[(\w+)\] )?(.*)")


class Paragraph(NamedTuple):
    """A text with holes. kind: what it begins with; condition: a value, without which it is not."""

    kind: str
    condition: str
    text: str


class Entry(NamedTuple):
    """An entry of a file, with what stands in its heading behind the name."""

    marks: str
    paragraphs: list[Paragraph]


class Texts(NamedTuple):
    """An entry filled in. marks: clauses and what else its heading says."""

    marks: tuple[str, ...]
    harmless: str
    says: tuple[str, ...]
    advice: tuple[str, ...]


def texts(file: str, name: str, **values: object) -> Texts:
    """Return an entry of a file, filled in."""
    marks, paragraphs = entries(file)[name]
    by_kind: dict[str, list[str]] = {"": [], ">": [], "harmless:": []}
    for kind, condition, text in paragraphs:
        if not condition or values[condition]:
            by_kind[kind].append(text.format(**values))
    listed = tuple(filter(None, marks.format(**values).split(", ")))
    return Texts(listed, "".join(by_kind["harmless:"]), tuple(by_kind[""]), tuple(by_kind[">"]))


@cache
def entries(file: str) -> dict[str, Entry]:
    """Return the entries of a file by name."""
    found = {}
    for entry in _HEADING.split((FOLDER / f"{file}.md").read_text("utf-8"))[1:]:
        heading, _, body = entry.partition("\n")
        name, _, marks = heading.partition(":")
        found[name] = Entry(marks.strip(), list(map(_paragraph, body.strip().split("\n\n"))))
    return found


def _paragraph(lines: str) -> Paragraph:
    """Return a paragraph on one line.

    >>> _paragraph("> [short] batches: at most\\n> {most}")
    Paragraph(kind='>', condition='short', text='batches: at most {most}')
    """
    match = _PARAGRAPH.fullmatch(" ".join(lines.replace("\n>", "\n").split()))
    assert match is not None
    return Paragraph(match[1] or "", match[2] or "", match[3])
