"""The scenarios, with what each is to show and how many worlds it has.

Geometry is a kernel's smallest: units of 8 pages. The first chunk has 7, handles 1 to 7 fill it.
"""

from __future__ import annotations

from percpu_proofs.explore.scenario import Scenario, fill, free

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="reclaim-frees",
            what="Two frees and two atomic allocations while a chunk's empty pages are released.",
            setup=(*fill(1, 22, 4096), *free(*range(8, 20))),
            actors=("f 20", "f 22", "a 100 4096 4 A", "a 101 4096 4 A"),
            expected={"linux_6_12": frozenset({"RCL-3"})},
            states={"linux_6_12": 3534},
        ),
    )
}
