"""The operation language and the form of scenario files as text, from what their parsers know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent, fill
from typing import Any, Final

from percpu_proofs.explore.scenario_file import CONCURRENT, FIELDS, SECTIONS
from percpu_proofs.run.operations import FLAGS, MEANINGS, SHAPES, WRONG
from percpu_proofs.show.mail import WIDTH
from percpu_spec.steps import Kind

_TEXT: Final = (Path(__file__).parent / "grammar.txt").read_text("utf-8").rstrip()
"""The language for a reader: prose and examples, tables in braces."""
_EXAMPLE: Final = re.compile(r"^example(?:: (.*))?\n\n((?:    .*(?:\n|\Z))+)", re.M)
_EXAMPLES: Final = {title: dedent(listed) for title, listed in _EXAMPLE.findall(_TEXT)}
LISTS: Final = {title: listed.rstrip() for title, listed in _EXAMPLES.items() if title}
"""Operation lists, by what they show."""
SCENARIO: Final = f"{_EXAMPLES['']}\n"


def text() -> str:
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
    return "\n\n".join(part if part[0].isspace() else _filled(part) for part in parts)


def as_json() -> dict[str, Any]:
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


def _filled(paragraph: str) -> str:
    return fill(" ".join(paragraph.split()), WIDTH)


def _table(rows: Mapping[str, str]) -> str:
    width = max(map(len, rows)) + 4
    return "\n".join(
        fill(meaning, WIDTH, initial_indent=f"  {name}".ljust(width), subsequent_indent=" " * width)
        for name, meaning in rows.items()
    )
