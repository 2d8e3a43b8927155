"""What the report explains, by name, and where in the document that stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from percpu_reference.kernel_names import FILES, PART_OF, model_name, origin
from percpu_spec.catalogue import clauses, findings

KERNEL_NAME: Final = r"\b_{0,2}pcpu_\w+\b|\bfree_percpu\b"
"""What a name of the kernel's percpu code looks like in a text."""

_IN_TEXT = re.compile(rf"\b[A-Z]+-[1-9][0-9]*\b|\b[LR][1-9][0-9]*\b|\bREFINE\b|{KERNEL_NAME}")
_DOTTED = re.compile(r"\w+(\.\w+)+")
_ALIASES: Final = {"pcpu_alloc": "pcpu_alloc_noprof"}  # the name before 6.10


def kernel_names(text: str) -> list[str]:
    """Return the names of kernel functions and variables in a text, each once, under one name.

    >>> kernel_names("pcpu_alloc takes pcpu_lock; pcpu_alloc")
    ['pcpu_alloc_noprof', 'pcpu_lock']
    """
    return list(dict.fromkeys(_ALIASES.get(n, n) for n in re.findall(KERNEL_NAME, text)))


def followed_functions() -> dict[str, tuple[str, ...]]:
    """Return the kernel functions that the model follows, each with its files."""
    found: dict[str, tuple[str, ...]] = {}
    for file, functions in FILES.items():
        for name in functions:
            found[name] = (*found.get(name, ()), file)
    return dict(sorted(found.items(), key=lambda one: one[0].lstrip("_")))


def model_functions(kernel: str) -> list[str]:
    """Return the functions of the model that are a kernel function, or parts of it.

    >>> model_functions("pcpu_destroy_chunk")
    ['destroy_chunk', 'chunk_destroyed']
    """
    whole = model_name(kernel)
    found = origin(whole)
    first = [whole] if found is not None and found.function == kernel else []
    return first + [part for part, of in PART_OF.items() if of == kernel]


class Places:
    """The places of one document by the names that they explain: clauses and findings, and more."""

    def __init__(self, more: Mapping[str, str] | None = None) -> None:
        self._places = {name: name for name in (*clauses(), *findings())} | dict(more or {})
        for alias, name in _ALIASES.items():
            if name in self._places:
                self._places[alias] = self._places[name]

    def place(self, name: str) -> str | None:
        """Return the id of the place that explains a name, None if there is none.

        >>> places = Places({"held": "here", "patch": "there"})
        >>> [places.place(name) for name in ("HINT-5", "locks.held()", "L1-end.patch")]
        ['HINT-5', 'here', None]
        """
        name = name.removesuffix("()")
        last = name.rpartition(".")[2] if _DOTTED.fullmatch(name) else name
        return self._places.get(name) or self._places.get(last)

    def split(self, text: str) -> list[tuple[str, str | None]]:
        """Return a text in pieces, each with the place that explains it, if one does."""
        pieces: list[tuple[str, str | None]] = []
        done = 0
        for match in _IN_TEXT.finditer(text):
            place = self.place(match[0])
            if place is not None:
                pieces += [(text[done : match.start()], None), (match[0], place)]
                done = match.end()
        return [*pieces, (text[done:], None)]
