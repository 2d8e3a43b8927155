"""The searches from an empty start: alphabets, geometries, bounds. One readable place.

Units have 8 pages, the fewest that a kernel accepts; the first chunk serves 7 of them, 28672 bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final

from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.short_form import mark
from percpu_proofs.run.operations import Operation, parse_texts
from percpu_spec.geometry import Geometry

WORK: Operation = ("b", 0, 0, 0, False, 0)


@dataclass(frozen=True)
class Alphabet:
    """Requests, each `SIZE ALIGN FLAGS`, and faults, each an operation such as `P 1`.

    Beside them every area held can be freed.
    """

    requests: tuple[str, ...]
    faults: tuple[str, ...] = ()

    @cached_property
    def _parsed(self) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        requests = [f"a 0 {text}" for text in self.requests]
        return parse_texts("alphabet", requests), parse_texts("alphabet", self.faults)

    def operations(self, held: Mapping[int, object], handle: int) -> Iterator[Operation]:
        """Yield what can be done with these handles held; an allocation takes `handle`."""
        requests, faults = self._parsed
        for kind, _, size, align, reserved, flags in requests:
            yield kind, handle, size, align, reserved, flags
        for other, area in held.items():
            if area is not None:
                yield ("f", other, 0, 0, False, 0)
        yield from faults

    def __str__(self) -> str:
        """In words: `4096 aligned 4 (A)`, flags as in the operation language."""
        words = []
        for text in self.requests:
            size, align, flags = text.split()
            words.append(f"{size}" + (f"/{align}" if align != "4" else "")
                         + (f" {flags}" if flags != "-" else ""))
        faults = f"; faults {', '.join(self.faults)}" if self.faults else ""
        return f"requests of {', '.join(words)} bytes{faults}"


@dataclass(frozen=True, slots=True)
class AlphabetPlan:
    """One search: its alphabet and how far it goes."""

    name: str
    what: str
    alphabet: Alphabet
    least: int  # operations, whatever is found
    longest: int  # operations, while a declared one of those sought has not shown
    geometry: str = KERNEL_32K
    sought: frozenset[str] = frozenset()
    together: int = 1  # at the same time
    preemptions: int | None = None  # in a schedule, at most; None for any number
    most: int = 20_000  # steps; three times what a variant of the package takes

    @property
    def sizes(self) -> Geometry:
        """The geometry."""
        return Geometry().with_changes(self.geometry)

    @property
    def how(self) -> str:
        """What is done with the lists, in words."""
        if self.together == 1:
            return "one after the other, contracts at full"
        few = "" if self.preemptions is None else f" with up to {self.preemptions} preemption"
        return f"the last {self.together} at once with the work, every schedule{few}"

    @property
    def bound(self) -> str:
        """What is searched, but for how far, in words."""
        return f"{self.alphabet}; {self.geometry}"


QUARTERS = ("1024 4 -", "2048 4 -", "1024 2048 -")
CRUMBS = ("28656 4 -", "4 4 -", "12 4 -")
EDGES = ("24576 4 -", "1024 4 -", "1024 2048 -")
PAGES = ("28672 4 -", "4096 4 -", "4096 4 A")

SEQUENCES = (
    AlphabetPlan("quarters", "quarters of a page, some aligned to half a page",
                 Alphabet(QUARTERS), 5, 5),
    AlphabetPlan("crumbs", "a chunk filled but for a few bytes", Alphabet(CRUMBS), 4, 4),
    AlphabetPlan("edges", "a chunk filled but for quarters of a page", Alphabet(EDGES), 4, 4),
    AlphabetPlan("pages", "whole pages, some for requests that must not sleep",
                 Alphabet(PAGES), 5, 6, sought=frozenset({"COST-1"})),
    AlphabetPlan("types", "accounted requests beside others",
                 Alphabet(("28672 4 -", "28672 4 G", "4096 4 AG")), 4, 4,
                 f"{KERNEL_32K},memcg=1"),
    AlphabetPlan("faults", "pages that run out",
                 Alphabet(("28672 4 -", "8192 4 -", "4096 4 A"), ("P 1",)), 4, 4),
    AlphabetPlan("reserve", "reserved requests, some that must not fail, mappings that fail and "
                 "waits that are killed",
                 Alphabet(("20480 4 -", "8192 4 F", "4096 4 R"), ("M 1", "K 1")), 4, 4,
                 "unit=32768,static=4096,reserved=8192,dyn=20480,cpus=2"),
    AlphabetPlan("limits", "requests without I/O or file systems, by their flags and by their "
                 "task's scope",
                 Alphabet(("28672 4 -", "4096 4 S", "4096 4 O", "4096 4 o")), 2, 2),
    AlphabetPlan("km", "chunks born populated",
                 Alphabet(("28672 4 -", "28672 4 A", "4096 4 -")), 5, 5,
                 f"{KERNEL_32K},backing=km"),
)  # fmt: skip
"""Run alone, one operation after the other, under contracts at full."""

WINDOW = frozenset({"ISO-1", "LIST-1", "POP-2"})
"""What can go wrong while pages are being released."""

HUNTS = (
    AlphabetPlan("race", "pairs of pages, asked for by requests that may sleep and by others that "
                 "may not",
                 Alphabet(("8192 4 -", "8192 4 A")), 5, 6,
                 sought=WINDOW, together=2, most=600_000),
    AlphabetPlan("pages", "whole pages, a full first chunk, and requests that must not sleep",
                 Alphabet(("28672 4 -", "8192 4 -", "4096 4 -", "4096 4 A")), 3, 5,
                 sought=frozenset({"BAL-1"}), together=2, most=600_000),
    AlphabetPlan("window", "what fits between one step of the work and its next",
                 Alphabet(PAGES), 4, 6,
                 sought=frozenset({"ISO-1", "LIST-1", "RCL-3"}), together=2, preemptions=1,
                 most=600_000),
)  # fmt: skip
"""The last operations at once, beside the balance work; every step of every schedule judged."""


DRAWN: Final = "drawing"
"""Programs or lists that were drawn at random, and made small."""
SMALL: Final = "reduction"
"""What another search found, made small."""
ALONE: Final = "search of one finding"
"""Lists on a variant with its other findings mended."""
MARKS: Final = 3  # groups of a search's mark, which no two share


@cache
def searches() -> dict[str, str]:
    """Return how far each search went when it found a counterexample, in words."""
    bounds = {f"hunt {plan.name}": _shorter(plan) for plan in HUNTS}
    bounds |= {f"sequences {plan.name}": _shorter(plan) for plan in SEQUENCES}
    bounds |= {
        f"scenario {name}": f"every schedule of its {len(s.actors)} actors and up to {s.works} "
        "runs of the work"
        for name, s in SCENARIOS.items()
    }
    bounds[DRAWN] = "at random, then made small; there may be shorter ones"
    bounds[SMALL] = "a known one, made small as far as was tried; there may be shorter ones"
    bounds[ALONE] = "the shortest lists first, on the variant with its other findings mended"
    return bounds


def _shorter(plan: AlphabetPlan) -> str:
    return f"no shorter list of operations breaks it: {plan.how}; {plan.alphabet}"


def bound_of(name: str) -> str:
    """Return how far a search went, with its name; empty for one that is not known."""
    how = searches().get(name)
    return "" if how is None else f"{name}: {how}"


def mark_of(name: str) -> int:
    """Return the number that stands for a search, 0 for none of them."""
    return mark(name, MARKS) if name in searches() else 0


def search_of(number: int) -> str:
    """Return the search that a number stands for; empty for none, and for one that is no more."""
    return next((name for name in searches() if mark_of(name) == number), "")
