"""Tables that fit: no word is broken, nothing is cropped, however narrow the console is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, with its cells.

    numeric: set to the right. whole: its cells are never folded, not even between words.
    """

    name: str
    cells: tuple[Text, ...]
    numeric: bool
    whole: bool

    @property
    def least(self) -> int:
        """Characters of its longest word, or of its longest cell if they are whole."""
        texts = [cell.plain for cell in self.cells]
        pieces = texts if self.whole or self.numeric else [w for t in texts for w in t.split()]
        return max(map(cell_len, (*self.name.split(), *pieces)), default=1)

    @property
    def most(self) -> int:
        """Characters of its longest line, unfolded."""
        lines = [line for cell in self.cells for line in cell.plain.split("\n")]
        return max(map(cell_len, (self.name, *lines)))


@dataclass(frozen=True, slots=True)
class FittedTable:
    """A table as wide as there is room for.

    Where the longest words of all columns do not fit beside one another, blanks between columns
    are saved; where that is not enough, the columns that have no room follow in tables of their
    own, each row behind its first cell.
    """

    title: str
    columns: tuple[Column, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        """Yield the tables for a console."""
        width = options.max_width
        for number, columns in enumerate(_parts(self.columns, width)):
            title = f"{self.title}, more columns" if number else self.title
            yield _drawn(title, columns, width)


def _parts(columns: Sequence[Column], width: int) -> Iterator[list[Column]]:
    """Yield columns whose longest words have room in a width, each time the first before them."""
    part: list[Column] = list(columns[:1])
    for column in columns[1:]:
        if len(part) > 1 and not _fits([*part, column], width):
            yield part
            part = [columns[0]]
        part.append(column)
    yield part


def _fits(columns: Sequence[Column], width: int) -> bool:
    return sum(column.least for column in columns) + _blanks(len(columns), dense=True) <= width


def _blanks(columns: int, *, dense: bool) -> int:
    """Return the characters of a line that are of no column: edges, and blanks between columns."""
    return 2 * columns + 1 if dense else 3 * columns + 1


def _drawn(title: str, columns: Sequence[Column], width: int) -> Table:
    dense = sum(column.least for column in columns) + _blanks(len(columns), dense=False) > width
    made = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0) if dense else (0, 1),
    )  # fmt: skip
    widths = _widths(columns, width - _blanks(len(columns), dense=dense))
    for column, characters in zip(columns, widths, strict=True):
        made.add_column(
            column.name,
            justify="right" if column.numeric else "left",
            overflow="fold",
            width=characters,
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        made.add_row(*row)
    return made


def _widths(columns: Sequence[Column], room: int) -> list[int]:
    """Return how wide columns are: the widest are narrowed first, none below its longest word.

    Where not even those have room, the widest words are broken.
    """
    widths = [column.most for column in columns]
    least = [column.least for column in columns]
    for floor in (least, [1] * len(columns)):
        while sum(widths) > room and any(w > low for w, low in zip(widths, floor, strict=True)):
            wide = [n for n, low in enumerate(floor) if widths[n] > low]
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths
