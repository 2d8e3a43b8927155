"""A counterexample walked through in a terminal, a screen a step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

import click
from rich.console import Console

from percpu_proofs.commands.counterexamples import show_lines, width_of
from percpu_proofs.counterexample import Counterexample
from percpu_proofs.counterexample.relevance import relevance
from percpu_proofs.counterexample.table import rows, table
from percpu_proofs.counterexample.text import Line, head, legend, state, wrap_lines

_KEYS: Final = "n or space: next, p or b: back, f: first, l: last, q: quit"
_BY: Final = {
    "n": 1, " ": 1, "\r": 1, "\n": 1, "\x1b[C": 1, "\x1b[B": 1,
    "p": -1, "b": -1, "\x1b[D": -1, "\x1b[A": -1,
}  # fmt: skip
"""By how many steps a key goes; arrows too."""
_BEFORE: Final = 3  # steps that are shown before the present one


def walk(out: Console, c: Counterexample) -> None:
    """Walk through a counterexample by keys, or by lines where standard input is no terminal."""
    at, last = 0, len(c.steps)
    while True:
        if out.is_terminal:
            out.clear()
        show_lines(out, screen(c, at, width_of(out)))
        key = _key()
        if key in ("q", "\x1b", "\x03", ""):
            return
        if key in ("f", "l"):
            at = 0 if key == "f" else last
        at = min(max(at + _BY.get(key, 0), 0), last)


def _key() -> str:
    """Return the next key; of a line its first letter, empty at the end of the input."""
    if sys.stdin.isatty():
        return click.getchar()
    line = sys.stdin.readline()
    return line[:1] if line.strip() else line[-1:]


def screen(c: Counterexample, at: int, width: int) -> Iterator[Line]:
    """Yield the lines of the screen behind so many steps."""
    shown = relevance(c)
    yield from wrap_lines("head", f"{c.clause} on {c.subject}, step {at} of {len(c.steps)}", width)
    if at == 0:
        yield from head(c, width)
    yield "", ""
    if at:
        since = max(at - 1 - _BEFORE, 0)
        present = rows(c, 0, shown)[since:at]
        yield from table(present, c.cpus, width)
        yield "", ""
    yield from state("State:", c.state_at(at), c, shown, width)
    yield from wrap_lines("dim", legend(c, shown), width)
    yield from wrap_lines("dim", _KEYS, width)
