"""How far long work is, where no terminal shows a bar: lines on standard error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

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
    def told(self) -> Iterator[ProgressLines]:
        """Print lines while the block runs: the first when it takes long, then in steady steps."""
        clock = threading.Thread(target=self._tell, daemon=True)
        clock.start()
        try:
            yield self
        finally:
            self._end.set()
            clock.join()

    def _tell(self) -> None:
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
