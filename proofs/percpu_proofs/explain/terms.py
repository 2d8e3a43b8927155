"""Words with an entry: of the glossary, the views, the kernel, our output; the operation language.

The language, and the form of scenario files, are told by what their parsers know.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from textwrap import dedent, fill
from typing import Any, Final

from percpu_proofs.explain import Explanation, explanation
from percpu_proofs.explore.scenario import CONCURRENT, FIELDS, SECTIONS
from percpu_proofs.run.operations import FLAGS, MEANINGS, SHAPES, WRONG
from percpu_proofs.show.mail import WIDTH
from percpu_spec import views
from percpu_spec.catalogue import clauses, findings
from percpu_spec.glossary import Term, glossary, kernel_names, parse_terms
from percpu_spec.steps import Kind

_TEXT: Final = (Path(__file__).parent / "grammar.txt").read_text("utf-8").rstrip()
"""The language for a reader: prose and examples, tables in braces."""
_EXAMPLE: Final = re.compile(r"^example(?:: (.*))?\n\n((?:    .*(?:\n|\Z))+)", re.M)
_EXAMPLES: Final = {title: dedent(listed) for title, listed in _EXAMPLE.findall(_TEXT)}
LISTS: Final = {title: listed.rstrip() for title, listed in _EXAMPLES.items() if title}
"""Operation lists, by what they show."""
SCENARIO: Final = f"{_EXAMPLES['']}\n"
_VIEWS = {
    "block": views.BlockView, "chunk": views.ChunkView, "allocator": views.AllocatorView
}  # fmt: skip


def language_text() -> str:
    """Return the whole language for a reader, at most WIDTH columns wide."""
    values = {
        "operations": _table({shape: MEANINGS[kind] for kind, shape in SHAPES.items()}),
        "wrong": ", ".join(kind for kind in SHAPES if kind in WRONG),
        "flags": _table(FLAGS),
        "concurrent": " ".join(CONCURRENT),
        "kinds": ", ".join(kind.name for kind in Kind),
        "fields": _table(FIELDS),
        "sections": _table(SECTIONS),
    }
    parts = (part.format(**values) for part in _TEXT.split("\n\n"))
    return "\n\n".join(
        part if part[0].isspace() else fill(" ".join(part.split()), WIDTH) for part in parts
    )


def language_record() -> dict[str, Any]:
    """Return the language as values."""
    return {
        "operations": {
            kind: {"shape": shape, "meaning": MEANINGS[kind]} for kind, shape in SHAPES.items()
        },
        "flags": dict(FLAGS),
        "scenario": {"fields": dict(FIELDS), "sections": dict(SECTIONS), "actors": CONCURRENT},
        "gaps": [kind.name for kind in Kind],
        "examples": {"lists": dict(LISTS), "scenario": SCENARIO},
    }


def _table(rows: Mapping[str, str]) -> str:
    width = max(map(len, rows)) + 4
    return "\n".join(
        fill(meaning, WIDTH, initial_indent=f"  {name}".ljust(width), subsequent_indent=" " * width)
        for name, meaning in rows.items()
    )


@cache
def output_words() -> Mapping[str, Term]:
    """Return the columns and lines that commands print, where the glossary has no entry."""
    text = (Path(__file__).parent / "outputs.md").read_text(encoding="utf-8")
    return {name: term for term in parse_terms("outputs.md", text) for name in term.names}


def explain_term(word: str, *, glossary_only: bool = False) -> Iterator[Explanation]:
    """Yield the entries that a word has, in any case, one or many of the thing."""
    for kind, known in _lower().items():
        if glossary_only and kind != GLOSSARY:
            continue
        for form in _forms(word):
            if form in known:
                yield _explained(known[form], kind, form)
                break


@cache
def _lower() -> Mapping[str, Mapping[str, Term]]:
    """Return the entries of each kind by their names in lower case."""
    return {
        kind: {name.lower(): term for name, term in entries().items()}
        for kind, entries in _KINDS.items()
    }


def names() -> list[str]:
    """Return every name that has an entry."""
    return [name for entries in _KINDS.values() for name in entries()]


def headings_in(line: str) -> list[str]:
    """Return the longest heading of several words that is most of a line, if there is one."""
    line = " ".join(line.lower().split())
    found = [
        name for kind in (GLOSSARY, _OUTPUT) for name in _lower()[kind]
        if " " in name and 2 * len(name) >= len(line) and f" {name} " in f" {line} "
    ]  # fmt: skip
    return sorted(found, key=len)[-1:]


def named_by(*words: str) -> dict[str, str]:
    """Return the clauses and findings whose text on the kernel names one of these, with titles."""
    if not words:
        return {}
    form = re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b")
    return {entry: title for entry, (title, text) in _on_kernel().items() if form.search(text)}


@cache
def _on_kernel() -> Mapping[str, tuple[str, str]]:
    """Return the title of each clause and finding, and what it says of the kernel."""
    texts = {c.id: (c.title, f"{c.kernel} {c.when}") for c in clauses().values()}
    return texts | {f.id: (f.title, f.function or "") for f in findings().values()}


def _forms(word: str) -> list[str]:
    """Return a word as headings may have it.

    >>> _forms("Empty-Pages")
    ['empty-pages', 'empty pages', 'empty-page', 'empty page']
    """
    lower = " ".join(word.lower().split()).removesuffix("()").rstrip(":")
    bare = re.sub(r"^(?:the|an?) (?=\w)", "", lower)
    forms = dict.fromkeys([lower, re.sub(r"(?<=\w)[-_](?=\w)", " ", lower), bare])
    return [*forms, *(form.removesuffix("s") for form in forms if form.endswith("s"))]


def _explained(term: Term, kind: str, form: str) -> Explanation:
    name = next(name for name in term.names if name.lower() == form)
    others = [other for other in term.names if other != name]
    found = explanation(name, kind, term.text)
    if others:
        found["other_names"] = ", ".join(others)
    if named := named_by(*(name for name in term.names if "_" in name or "." in name)):
        found["named_by"] = named
    return found


@cache
def _fields() -> Mapping[str, Term]:
    """Return the fields of the kernel's structures that views have, by name."""
    found: dict[str, Term] = {}
    for whose, view in _VIEWS.items():
        for name, value in vars(view).items():
            if isinstance(value, property):
                says = " ".join((inspect.getdoc(value) or "").split())
                text = f"Of the {whose}: {says}"
                if name in found:
                    text = f"{found[name].text} {text}"
                found[name] = Term((name,), text)
    return found


GLOSSARY = "a word of the glossary"
_OUTPUT = "a word of our output"
_KINDS: dict[str, Callable[[], Mapping[str, Term]]] = {
    GLOSSARY: glossary,
    "a field, as the views have it": _fields,
    "a name of the kernel": kernel_names,
    _OUTPUT: output_words,
}
