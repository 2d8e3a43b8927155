"""The ways to search all schedules of a start.

The ways to search must agree; see crosscheck.
"""

from __future__ import annotations

from typing import Any

from percpu_proofs.explore.schedulers.depth_first import All, Commuting
from percpu_proofs.explore.schedulers.dpor import Reduction
from percpu_proofs.explore.schedulers.matching import Matching
from percpu_proofs.explore.search import Explored, Mode, Search
from percpu_proofs.explore.start import Start

MODES: dict[Mode, type[Search]] = {
    cls.mode: cls for cls in (All, Commuting, Reduction, Matching)
}


def search(start: Start, mode: Mode = "matching", **bounds: Any) -> Explored:
    """Search all schedules of a start in a mode; see the mode's class for the bounds."""
    return MODES[mode](start, **bounds).run()
