"""Lines that are wider than a mail's, or end with blanks, with the few that may."""

from __future__ import annotations

import re

WIDTH = 76
PROGRAMS = ("completion", "conform recorder")  # what they print is for shells and bpftrace
_MAY_BE_WIDER = re.compile(
    r"\s*(?:[\w ]+: )?(?:percpu-spec |--geometry )\S.*"  # a command, or a part of one, to paste
    r"|\s*(?:[\w ,]+\s{2,})?\S+"  # a path or a token, behind its label
    r"|(?=.{,81}$) *(?:page |[\d-]+[-e#])\|.{32}\|[-@ \w]*"  # the pages of a chunk
)


def unfolded(text: str) -> str:
    """Return a text with the pieces of its lines, which are indented, put together again."""
    return re.sub(r"\n +(?=\S)", " ", text)


def unfit(text: str) -> list[str]:
    """Return the lines of a text that do not fit a mail."""
    return [
        line
        for line in text.split("\n")
        if line != line.rstrip() or (len(line) > WIDTH and not _MAY_BE_WIDER.fullmatch(line))
    ]
