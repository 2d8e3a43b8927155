"""The alphabets of the hunts: few operations that reach much, at a kernel's smallest geometry.

Units have 8 pages; the first chunk serves 7 of them, 28672 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from percpu_proofs.explore.hunt import Alphabet, Hunt
from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_spec.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Plan:
    """One hunt: its alphabet and how far it goes."""

    name: str
    what: str
    alphabet: Alphabet
    longest: int  # operations
    together: int  # at the same time
    hints: bool  # judge the hints of every state
    geometry: str = KERNEL_32K

    def hunt(self, variant: str, budget: float) -> Hunt:
        """Return the hunt through a variant, not begun."""
        geometry = Geometry().with_changes(self.geometry)
        return Hunt(
            variant, geometry, self.alphabet, self.longest, self.together, budget, self.hints
        )

    @property
    def bound(self) -> str:
        """How far the hunt goes, in words."""
        requests = self.alphabet.blocking + self.alphabet.atomic
        sizes = ", ".join(sorted({f"{s} aligned {a}" for s, a in requests}, key=_number))
        return (
            f"all lists of up to {self.longest} operations, up to {self.together} at once, "
            f"requests of {sizes} bytes"
        )


def _number(text: str) -> int:
    return int(text.split()[0])


PLANS = (
    Plan(
        "race",
        "pairs of pages, asked for by requests that may sleep and by others that may not",
        Alphabet(((8192, 4),), ((8192, 4),)),
        longest=5,
        together=2,
        hints=False,
    ),
    Plan(
        "pages",
        "whole pages, a full first chunk, and requests that must not sleep",
        Alphabet(((4096, 4), (8192, 4), (28672, 4)), ((4096, 4),)),
        longest=6,
        together=2,
        hints=False,
    ),
    Plan(
        "quarters",
        "quarters of a page, some aligned to half a page",
        Alphabet(((1024, 4), (2048, 4), (1024, 2048))),
        longest=6,
        together=1,
        hints=True,
    ),
    Plan(
        "crumbs",
        "a chunk filled but for a few bytes",
        Alphabet(((28656, 4), (4, 4), (12, 4))),
        longest=5,
        together=1,
        hints=True,
    ),
)
