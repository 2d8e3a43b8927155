"""What a word names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from rich.console import Console

from percpu_proofs.api.arguments import require
from percpu_proofs.api.display import Display
from percpu_proofs.commands.explain import show_senses
from percpu_proofs.explain import lookup as explaining


class Meaning(Display, Mapping[str, Any]):
    """What `percpu-spec explain WORD --json` prints, and as text what it prints without."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = dict(found)

    def __getitem__(self, name: str) -> Any:
        """Return one field: id, title and whatever the kind of word has."""
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def show(self, out: Console) -> None:
        """Print every sense."""
        show_senses(out, [self._found, *self._found["also"]])

    def _repr_html_(self) -> str:
        first, *rest = repr(self).split("\n")
        return f"<b>{escape(first)}</b><pre>{escape(chr(10).join(rest))}</pre>"


def explain(word: str) -> Meaning:
    """Say what a word names, or what a line of a log means; as `percpu-spec explain`.

    Raises UnknownWordError, an InputError, with the words that are `near`.
    """
    require("word", word, "a word, or a line of a log", str)
    return Meaning(explaining.explain(word))
