"""Seeded bugs, each a line of a real function changed, by name.

The tables are the text files beside this module. A line at the margin names a function; those below
it are its bugs, `TEXT => WHAT STANDS THERE INSTEAD -- CLAUSES`, a text in quotes where it begins or
ends with blanks or has several lines. A bug's name is its function's with a number behind it, in
the order of the tables.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from percpu_proofs.bugs.planting import Row, plant, repaired
from percpu_reference.variants import Allocator

_CLAIMED: Final = (
    *("slots", "hints", "areas", "chunks", "backing", "memcg", "operations", "balance"),
    *("repaired", "fast"),
)
_ASIDE: Final = frozenset({"unlike", "steps", "limits"})


class Bug(NamedTuple):
    """A seeded bug: function, its text and what stands there instead, what it breaks.

    aside: no claim about one function need catch it, as no clause forbids it, or one that is asked
    of whole operations and of steps. same: it changes nothing, for the reason in `said`.
    """

    name: str
    function: str
    text: str
    instead: str
    said: str
    aside: bool
    same: bool

    def planted(self, variant: str) -> type[Allocator]:
        """Return linux_6_12 with the bug, or `reference`, its fixes on top."""
        bugged = plant(self.function, self.text, self.instead)
        return repaired(bugged) if variant == "reference" else bugged


@cache
def table(name: str) -> tuple[Row, ...]:
    """Return the bugs of a table; its first lines say what catches them."""
    rows: list[Row] = []
    function = ""
    for line in Path(__file__).with_name(f"{name}.txt").read_text("utf-8").splitlines():
        if line.startswith("  "):
            change, _, said = line.strip().partition(" -- ")
            text, _, instead = map(_text, change.partition(" => "))
            assert text and said, f"{name}.txt: {line!r}"
            rows.append((function, text, instead, said))
        elif not line.startswith("#"):
            function = line
    return tuple(rows)


def _text(part: str) -> str:
    quoted: str = json.loads(part) if part.startswith('"') else part
    return quoted


def _named() -> dict[str, Bug]:
    numbered = Counter[str]()
    found: dict[str, Bug] = {}
    for name in (*_CLAIMED, "unlike", "equal", "steps", "limits"):
        for row in table(name):
            numbered[row[0]] += 1
            bug = f"{row[0]}-{numbered[row[0]]}"
            found[bug] = Bug(bug, *row, aside=name in _ASIDE, same=name == "equal")
    return found


BUGS = _named()
"""Every seeded bug by its name."""
