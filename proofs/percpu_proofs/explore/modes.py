"""The ways to search all schedules of a start, which must agree, held against one another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from percpu_proofs.explore.schedulers.depth_first import All, Commuting
from percpu_proofs.explore.schedulers.dpor import Reduction
from percpu_proofs.explore.schedulers.matching import Matching
from percpu_proofs.explore.search import Exploration, Mode, Search
from percpu_proofs.explore.start import Start

MODES: dict[Mode, type[Search]] = {
    cls.mode: cls for cls in (All, Commuting, Reduction, Matching)
}


def search(start: Start, mode: Mode = "matching", **bounds: Any) -> Exploration:
    """Search all schedules of a start in a mode; see the mode's class for the bounds."""
    return MODES[mode](start, **bounds).run()


@dataclass(frozen=True, slots=True)
class ModeComparison:
    """What each mode covered and found, brute force first."""

    results: tuple[Exploration, ...]

    @property
    def differences(self) -> list[str]:
        """What modes that were complete disagree about, a line each."""
        return list(self._differ())

    def _differ(self) -> Iterator[str]:
        whole = [r for r in self.results if r.complete]
        for one, other in pairwise(whole):
            for what, a, b in (
                ("clauses broken", one.findings.keys(), other.findings.keys()),
                ("clauses asked", one.witnessed.keys(), other.witnessed.keys()),
                ("gaps met", one.situations.keys(), other.situations.keys()),
            ):
                if a != b:
                    yield f"{what}: {one.mode} {sorted(a)}, {other.mode} {sorted(b)}"
        by_mode = {r.mode: r for r in whole}
        if "all" in by_mode and "matching" in by_mode:
            every, matched = by_mode["all"], by_mode["matching"]
            if (every.schedules, every.steps) != (matched.schedules, matched.covered):
                yield (
                    f"all ran {every.schedules} schedules of {every.steps} steps, matching counted "
                    f"{matched.schedules} of {matched.covered}"
                )

    def as_json(self) -> dict[str, Any]:
        """Return plain values only."""
        return {
            "modes": {
                r.mode: {
                    "schedules": r.schedules,
                    "steps": r.steps,
                    "states": r.states,
                    "complete": r.complete,
                    "broken": sorted(r.findings),
                    "seconds": round(r.seconds, 3),
                }
                for r in self.results
            },
            "differences": self.differences,
        }


def cross_check(start: Start, max_steps: int) -> ModeComparison:
    """Search a start in every mode, each with at most so many steps."""
    return ModeComparison(tuple(search(start, mode, max_steps=max_steps) for mode in MODES))
