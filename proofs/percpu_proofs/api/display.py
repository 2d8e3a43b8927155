"""What all results have in common: text for people, the same for notebooks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from html import escape
from io import StringIO

from rich.console import Console

_WIDTH = 120  # columns of a repr


class Display(ABC):
    """A result that prints itself."""

    @abstractmethod
    def show(self, out: Console) -> None:
        """Print the result."""

    def __repr__(self) -> str:
        """Return the text, without blanks at the ends of lines."""
        written = StringIO()
        self.show(Console(file=written, width=_WIDTH, highlight=False, color_system=None))
        return "\n".join(line.rstrip() for line in written.getvalue().rstrip().split("\n"))

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"
