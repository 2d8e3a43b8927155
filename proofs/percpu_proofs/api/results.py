"""Arguments are checked and results show themselves; the simplest of them is what a word means."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import Any

from rich.console import Console

from percpu_proofs.commands.explain import show_senses
from percpu_proofs.explain import lookup
from percpu_proofs.run.inputs import InputError

_COLUMNS = 120  # of a repr
_PARAMETERS = {"--search": "searches", "--patch": "patches", "--fix": "fixes"}


def require(parameter: str, value: object, expected: str, *types: type) -> None:
    """Raise InputError unless a value is of one of the types; True and False are no numbers."""
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise InputError(parameter, None, expected, repr(value))


def require_bytes(parameter: str, value: object) -> None:
    """Raise InputError unless a value is a number of bytes."""
    require(parameter, value, "a number of bytes", int)
    if isinstance(value, int) and value < 0:
        raise InputError(parameter, None, "a number of bytes", repr(value))


@contextmanager
def parameters() -> Iterator[None]:
    """Let errors that speak of an option of the command line speak of the parameter."""
    try:
        yield
    except InputError as error:
        if not error.where.startswith("--"):
            raise
        name = _PARAMETERS.get(error.where, error.where.removeprefix("--"))
        given: Any = error.__reduce__()[1]
        raise InputError(name, *given[1:]) from None


class Display(ABC):
    """A result that prints itself."""

    @abstractmethod
    def show(self, out: Console) -> None:
        """Print the result."""

    def __repr__(self) -> str:
        """Return the text, without blanks at the ends of lines."""
        written = StringIO()
        self.show(Console(file=written, width=_COLUMNS, highlight=False, color_system=None))
        return "\n".join(line.rstrip() for line in written.getvalue().rstrip().split("\n"))

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


class Meaning(Display, dict[str, Any]):
    """What `percpu-spec explain WORD --json` prints, and as text what it prints without.

    Its fields are id, title and whatever the kind of word has.
    """

    def show(self, out: Console) -> None:
        """Print every sense."""
        show_senses(out, [self, *self["also"]])

    def _repr_html_(self) -> str:
        first, *rest = repr(self).split("\n")
        return f"<b>{escape(first)}</b><pre>{escape(chr(10).join(rest))}</pre>"


def explain(word: str) -> Meaning:
    """Say what a word names, or what a line of a log means; as `percpu-spec explain`.

    Raises UnknownWordError, an InputError, with the words that are `near`.
    """
    require("word", word, "a word, or a line of a log", str)
    return Meaning(lookup.explain(word))
