"""Seeded bugs: a text in the source of one method is changed, everything else stays.

The tables are the text files beside this module. A line at the margin names a function, of the km
backing with `km.` in front; those below it are its bugs, `TEXT => WHAT STANDS THERE INSTEAD --
CLAUSES`, a text in quotes where it begins or ends with blanks or has several lines. A bug's name is
its function's with a number behind it, in the order of the tables: a new one goes behind all others
of its function, so that the ledger and the tests go on naming what they name. In `lemmas.txt` a
lemma stands before the function, and the bug's name behind it.
"""

from __future__ import annotations

import inspect
import json
import sys
import textwrap
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, cast

from percpu_reference.variants import Allocator, with_backing
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.reference import FIXES

KM = "km."

Row = tuple[str, str, str, str]
"""Method, text of its source, what stands there instead, clauses that may name the bug."""


class NoSuchTextError(ValueError):
    """The text that a seeded bug replaces is not there once: the function has changed."""


def source_of(owner: type, name: str, text: str = "", bug: str = "") -> str:
    """Return a method's source from its `def` on, in which `text`, if given, reads `bug`.

    Raises NoSuchTextError.
    """
    lines = textwrap.dedent(inspect.getsource(vars(owner)[name])).splitlines(keepends=True)
    source = "".join(lines[next(i for i, line in enumerate(lines) if line[:4] == "def ") :])
    if not text:
        return source
    if source.count(text) != 1:
        raise NoSuchTextError(f"{owner.__name__}.{name}: {text!r} is not there once")
    return source.replace(text, bug)


@cache
def plant(name: str, text: str, bug: str) -> type[Allocator]:
    """Return linux_6_12 with a method in whose source `text`, which occurs once, reads `bug`.

    The override has no contract of its own: decorators are left out. Raises NoSuchTextError.
    """
    base: type[Allocator] = Linux612
    if name.startswith(KM):
        name, base = name.removeprefix(KM), with_backing(base, "km")
    owner = next(cls for cls in base.__mro__ if name in cls.__dict__)
    # outside its class, super() must be told where it stands
    source = source_of(owner, name, text, bug).replace("super()", f"super({owner.__name__}, self)")
    names = dict(vars(sys.modules[owner.__dict__[name].__module__]))
    exec(compile(source, f"<{owner.__name__}.{name} with a bug>", "exec"), names)
    return type(f"Bugged{base.__name__}", (base,), {"__slots__": (), name: names[name]})


def repaired(bugged: type[Allocator]) -> type[Allocator]:
    """Return the variant with the fixes of `reference` on top, held to every clause."""
    namespace: dict[str, object] = {"__slots__": (), "EXPECTED": {}, "NOT_APPLICABLE": {}}
    return cast("type[Allocator]", type("Repaired", (*FIXES, bugged), namespace))


_CLAIMED: Final = (
    *("slots", "hints", "areas", "chunks", "backing", "memcg", "operations", "balance"),
    *("repaired", "fast"),
)
_ASIDE: Final = frozenset({"unlike", "steps", "limits"})


class Bug(NamedTuple):
    """A seeded bug: function, its text and what stands there instead, what it breaks.

    aside: no claim about one function need catch it, as no clause forbids it, or one that is asked
    of whole operations and of steps. same: it changes nothing, for the reason in `reason`.
    """

    name: str
    function: str
    text: str
    instead: str
    reason: str
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
            change, _, reason = line.strip().partition(" -- ")
            text, _, instead = map(_plain, change.partition(" => "))
            assert text and reason, f"{name}.txt: {line!r}"
            rows.append((function, text, instead, reason))
        elif not line.startswith("#"):
            function = line
    return tuple(rows)


def _plain(part: str) -> str:
    """Return a text of a table without its quotes."""
    text: str = json.loads(part) if part.startswith('"') else part
    return text


def _named() -> dict[str, Bug]:
    numbered = Counter[str]()
    bugs: dict[str, Bug] = {}
    for name in (*_CLAIMED, "unlike", "equal", "steps", "limits"):
        for row in table(name):
            numbered[row[0]] += 1
            bug = f"{row[0]}-{numbered[row[0]]}"
            bugs[bug] = Bug(bug, *row, aside=name in _ASIDE, same=name == "equal")
    return bugs


BUGS = _named()
"""Every seeded bug by its name."""
