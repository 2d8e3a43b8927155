"""The glossary, the names of the kernel and its messages: Markdown, read into entries, strictly.

Each file has one form: `# Title`, an introduction, then entries, each a heading `## NAME, NAME...`
with the names of one thing, and one paragraph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import NamedTuple


class GlossaryError(Exception):
    """A file that does not follow its form, or a name that stands twice in it."""


class Term(NamedTuple):
    """One entry: its names, the first of which is the one used here, and what it says."""

    names: tuple[str, ...]
    text: str  # one line


def parse_terms(name: str, text: str, *, separator: str | None = ", ") -> Iterator[Term]:
    """Yield the entries of a file. separator: of the names in a heading; None where it is one name.

    Raises GlossaryError with file and line.
    """
    head, *sections = text.split("\n## ")
    if not head.startswith("# "):
        raise GlossaryError(f"{name}:1: expected '# Title'")
    seen: set[str] = set()
    line = head.count("\n") + 2
    for section in sections:
        heading, _, body = section.partition("\n")
        names = (heading,) if separator is None else tuple(heading.split(separator))
        paragraph = body.strip("\n")
        if not paragraph or "\n\n" in paragraph or not all(names):
            raise GlossaryError(f"{name}:{line}: expected '## NAME, NAME...' and one paragraph")
        if repeated := seen & {one.lower() for one in names}:
            raise GlossaryError(f"{name}:{line}: {min(repeated)} stands twice")
        seen |= {one.lower() for one in names}
        yield Term(names, " ".join(paragraph.split("\n")))
        line += section.count("\n") + 1


@cache
def _terms(file: str) -> tuple[Term, ...]:
    text = (resources.files("percpu_spec") / file).read_text(encoding="utf-8")
    separator = None if file == "kernel_messages.md" else ", "
    return tuple(parse_terms(file, text, separator=separator))


@cache
def _by_name(file: str) -> Mapping[str, Term]:
    return MappingProxyType({name: term for term in _terms(file) for name in term.names})


def glossary() -> Mapping[str, Term]:
    """Return the words of the specification, ours and the kernel's, by every name."""
    return _by_name("glossary.md")


def kernel_names() -> Mapping[str, Term]:
    """Return the kernel's fields, variables, constants and functions, by every name."""
    return _by_name("kernel_names.md")


def kernel_messages() -> tuple[Term, ...]:
    """Return what the kernel prints; names[0] is the message with %d, %x, %s, %t in it."""
    return _terms("kernel_messages.md")
