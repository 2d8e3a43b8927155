"""What all blocks for a mail share: plain ASCII, 76 columns, and what does not fit is counted."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final

WIDTH: Final = 76
LINES: Final = 40
_KNOWN: Final = {0x2014: "-", 0x2013: "-", 0x2026: "...", 0x2018: "'", 0x2019: "'"}


def plain(lines: Iterable[str]) -> list[str]:
    """Return lines in ASCII, none with blanks at its end."""
    return [
        line.translate(_KNOWN).encode("ascii", "backslashreplace").decode().rstrip()
        for line in lines
    ]


def block(text: str, most: int, more: str = "", indent: str = "") -> list[str]:
    """Return a text in at most so many lines, what is left counted; more: where that is found.

    Lines behind the first are indented. What is left are whole clauses of a sentence, where as much
    as half of what has room can stay then.

    >>> block("one two three " * 12, 2, "see there", "  ")[-1]
    '  (20 more words: see there)'
    >>> print(*block("one two; " * 6 + "three " * 30, 2), sep="\\n")
    one two; one two; one two; one two; one two; one two
    (30 more words)
    """
    lines = wrap(text, indent)
    if len(lines) <= most:
        return lines
    room = " ".join(line.strip() for line in lines[: most - 1])
    ends = [[found.start() for found in re.finditer(mark, f"{room} ")] for mark in _ENDS]
    end = next((at[-1] for at in ends if at and 2 * at[-1] >= len(room)), len(room))
    left = len("".join(plain([text])).split()) - len(room[:end].split())
    more = f"{indent}({left} more words{f': {more}' if more else ''})"
    return [*wrap(room[:end].rstrip(" ;,:"), indent), more]


_ENDS: Final = (r"(?<=[.;]) ", r", | \(|: ")
"""Between what clauses of a sentence end: those that part more come first."""


def wrap(text: str, indent: str = "") -> list[str]:
    """Return a text in as many lines as it takes; those behind the first are indented."""
    text = "".join(plain([text]))
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def listing(parts: Sequence[Sequence[str]], most: int, more: str) -> list[str]:
    """Return lines of parts in their order, whole parts only, in at most so many lines.

    more: a line about those left out, with {} for how many.
    """
    lines: list[str] = []
    for number, part in enumerate(parts):
        left = parts[number + 1 :]
        if len(lines) + len(part) + (1 if left else 0) > most:
            return [*lines, more.format(len(parts) - number)]
        lines += part
    return lines


def command(line: str) -> list[str]:
    """Return a command behind its heading, on one line if there is room.

    One that is longer than a line goes on behind backslashes, as shells take it: between its words,
    of which one may have blanks in quotes.
    """
    whole = f"Run: {line}"
    if len(whole) <= WIDTH:
        return [whole]
    if len(line) <= WIDTH:
        return ["Run:", line]
    parts: list[str] = []
    for word in map(shlex.quote, shlex.split(line)):
        if parts and len(parts[-1]) + 1 + len(word) <= WIDTH - 2:
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    return ["Run:", *(f"{part} \\" for part in parts[:-1]), parts[-1]]


def quoted(before: str, text: str) -> list[str]:
    """Return a command with a text as its last argument, as a shell takes it.

    On one line if there is room, else in pieces that the shell joins. The text's own lines stay.

    >>> print(*quoted("tool ", "one two " * 10), sep="\\n")
    tool \\
    'one two one two one two one two one two one two one two one two one two '\\
    'one two '
    """
    whole = before + shlex.quote(text)
    if len(whole) <= WIDTH and "\n" not in text:
        return [whole]
    for room in range(WIDTH - 3, 0, -1):  # a quote in the text takes five characters
        form = rf"[^\n]{{0,{room}}}\n|[^\n]{{1,{room}}}\Z|[^\n]{{0,{room - 1}}} |[^\n]{{1,{room}}}"
        pieces = [shlex.quote(piece) for piece in re.findall(form, text)]
        lines = "\\\n".join([before, *pieces]).split("\n")
        if all(len(line) <= WIDTH for line in lines):
            return lines
    return [whole]
