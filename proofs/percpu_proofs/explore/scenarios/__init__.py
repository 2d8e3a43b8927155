"""The scenarios that come with the package, a text file each, as scenario.py reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from percpu_proofs.explore.scenario import Scenario, read_scenario

FOLDER: Final = Path(__file__).parent
SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario for scenario in map(read_scenario, sorted(FOLDER.glob("*.txt")))
}
