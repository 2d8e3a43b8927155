"""What words and lines mean; `lookup` knows clauses, findings, functions, and asks each module.

An explanation has plain values: texts, lists of texts or of records, maps of names to texts; `id`,
`title`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from percpu_spec.catalogue import title

Explanation = dict[str, Any]


def explanation(word: str, title: str, says: str, **more: Any) -> Explanation:
    """Return an explanation of a word, or of what a line is; more: its other fields."""
    return {"id": word, "title": title, "says": says} | more


def docstring(thing: object) -> tuple[str, str]:
    """Return the first paragraph of a docstring on one line, and the rest as it is."""
    first, _, rest = (inspect.getdoc(thing) or "").partition("\n\n")
    return " ".join(first.split()), rest


def titles(clause_ids: Iterable[str]) -> list[dict[str, str]]:
    """Return clauses with their titles."""
    return [{"clause": one, "what": title(one)} for one in clause_ids]


def unwrapped(entry: Explanation) -> Explanation:
    """Return an explanation whose texts have a line a paragraph; code stays as it is.

    >>> unwrapped({"says": "One\\nline.\\n\\nAnother.", "code": "a\\nb"})
    {'says': 'One line.\\n\\nAnother.', 'code': 'a\\nb'}
    """
    return {
        name: re.sub(r"(?<!\n)\n(?=[^\s|*-])", " ", value)
        if isinstance(value, str) and name != "code" else value
        for name, value in entry.items()
    }  # fmt: skip
