"""Seeded bugs, each a line of a real function changed, by name.

A bug's name is its function's with a number behind it, in the order of the tables.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from percpu_proofs.bugs import maps, undetected, work
from percpu_proofs.bugs.planting import Row, plant, repaired
from percpu_reference.variants import Allocator


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


def _named() -> dict[str, Bug]:
    numbered = Counter[str]()
    found: dict[str, Bug] = {}

    def enter(rows: list[Row], *, aside: bool = False, same: bool = False) -> None:
        for function, text, instead, said in rows:
            numbered[function] += 1
            name = f"{function}-{numbered[function]}"
            found[name] = Bug(name, function, text, instead, said, aside, same)

    for table in (maps.SLOTS, maps.HINTS, maps.AREAS, work.CHUNKS, work.BACKING, work.MEMCG):
        enter(table)
    for table in (work.OPERATIONS, work.BALANCE, undetected.REPAIRED, undetected.FAST):
        enter(table)
    enter(undetected.UNLIKE, aside=True)
    enter(undetected.EQUAL, same=True)
    enter(work.STEPS, aside=True)
    enter(undetected.LIMITS, aside=True)
    return found


BUGS = _named()
"""Every seeded bug by its name."""
