"""The searches by name, with what they try before they come to a counterexample."""

from __future__ import annotations

from functools import cache
from typing import Final

from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.searches import HUNTS, SEQUENCES, AlphabetPlan
from percpu_proofs.explore.short_form import mark

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
    found = {f"hunt {plan.name}": _shorter(plan) for plan in HUNTS}
    found |= {f"sequences {plan.name}": _shorter(plan) for plan in SEQUENCES}
    found |= {
        f"scenario {name}": f"every schedule of its {len(s.actors)} actors and up to {s.works} "
        "runs of the work"
        for name, s in SCENARIOS.items()
    }
    found[DRAWN] = "at random, then made small; there may be shorter ones"
    found[SMALL] = "a known one, made small as far as was tried; there may be shorter ones"
    found[ALONE] = "the shortest lists first, on the variant with its other findings mended"
    return found


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
