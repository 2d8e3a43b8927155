"""Standard output and error as they may be, tables that fit them, and how far long work is."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from typing import Any, Final, TextIO, cast

import click
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from percpu_proofs.run.inputs import InputError

CUT_OFF: Final = 141
"""The exit code where a reader of the output has left: 128 + SIGPIPE, as a shell has it."""


class _Stream:
    """A text stream, None for one that is closed. silent: what it does not take is not told."""

    def __init__(self, inner: TextIO | None, *, silent: bool) -> None:
        self.error: OSError | None = None  # why nothing can be written any more
        self._silent = silent
        if inner is None:
            inner = TextIOWrapper(BytesIO(), "utf-8")  # never written to, as there is an error
            self.error = OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, text: str) -> int:
        """Write a text."""
        if self.error is None:
            try:
                return self._inner.write(text)
            except OSError as error:
                self._lose(error)
        if text:
            self.complain()
        return len(text)

    def flush(self) -> None:
        """Write what is held back."""
        if self.error is None:
            try:
                self._inner.flush()
            except OSError as error:
                self._lose(error)
                self.complain()

    def _lose(self, error: OSError) -> None:
        self.error = error
        with suppress(OSError, ValueError), open(os.devnull, "w", encoding="utf-8") as nowhere:
            os.dup2(nowhere.fileno(), self._inner.fileno())  # for what Python holds back

    def complain(self) -> None:
        """Raise InputError if something was lost; SystemExit if its reader has left, who knows."""
        if self.error is None or self._silent:
            return
        if self.error.errno == errno.EPIPE:
            raise SystemExit(CUT_OFF)
        expected = f"a place that can be written ({self.error.strerror})"
        raise InputError("standard output", None, expected)


@contextmanager
def any_streams() -> Iterator[None]:
    """Let the block write to streams, whatever they are, and say at its end if output was lost.

    Standard output raises InputError where it cannot be written, SystemExit where the reader has
    left. What cannot be written to standard error is lost. What a stream has no character for is
    escaped.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    output, errors = _Stream(before[0], silent=False), _Stream(before[1], silent=True)
    closed = output.error
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, errors)
    try:
        try:
            yield
        finally:
            output.flush()
            if output.error is not closed:  # who wrote may have passed over it
                output.complain()
    finally:
        sys.stdout, sys.stderr = before


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
        least = sum(one.least for one in (*part, column))
        if len(part) > 1 and least + _blanks(len(part) + 1, dense=True) > width:
            yield part
            part = [columns[0]]
        part.append(column)
    yield part


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


_EXPECTED_LINE, _FIRST_LINE, _NEXT_LINE = 4.0, 15.0, 30.0  # seconds; bad input ends before


class ProgressLines:
    """Lines on standard error where no terminal shows a bar: what long work expects, how far it is.

    Work that is done soon prints none.
    """

    def __init__(self, title: str, each: float) -> None:
        self._title, self._each = title, each
        self._done = self._total = self._first = 0
        self._began = self._since = time.monotonic()
        self._end = threading.Event()
        self._expected = ""

    def __call__(self, done: int, total: int, title: str | None = None) -> None:
        """Take note that `done` of `total` is done, and at the beginning what that may take."""
        self._title = title or self._title
        if total != self._total or done < self._done:
            self._first, self._since = done, time.monotonic()
            left = (total - done) * self._each
            if left >= _FIRST_LINE:
                missing = f"{total - done} of {total} searches to run"
                self._expected = self._expected or f"{self._title}: {missing}, {_about(left)}"
        self._done, self._total = done, total

    def __str__(self) -> str:
        now = time.monotonic()
        text = f"{self._title}: {now - self._began:.0f} s"
        if self._total:
            text += f", {100 * self._done // self._total} % done"
        if self._done > self._first:
            each = max((now - self._since) / (self._done - self._first), self._each)
            text += f", {_about(each * (self._total - self._done))} left"
        return text

    @contextmanager
    def printing(self) -> Iterator[ProgressLines]:
        """Print lines while the block runs: the first when it takes long, then in steady steps."""
        clock = threading.Thread(target=self._print, daemon=True)
        clock.start()
        try:
            yield self
        finally:
            self._end.set()
            clock.join()

    def _print(self) -> None:
        if self._end.wait(_EXPECTED_LINE):
            return
        if self._expected:
            click.echo(self._expected, err=True)
        wait = _FIRST_LINE - _EXPECTED_LINE
        while not self._end.wait(wait):
            click.echo(str(self), err=True)
            wait = _NEXT_LINE


def _about(seconds: float) -> str:
    """Return a time as it is estimated.

    >>> _about(42.0), _about(200.0)
    ('about 40 s', 'about 3 min')
    """
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {round(seconds, -1):.0f} s"
