"""The scenarios, with what each is to show and what a search of it finds.

Geometry is a kernel's smallest: units of 8 pages. The first chunk has 7, handles 1 to 7 fill it.
"""

from __future__ import annotations

from percpu_proofs.explore.scenario import KERNEL_32K, Scenario, fill, found, free

_DRAINING = (*fill(1, 22, 4096), *free(*range(8, 20)))
"""Chunk 0 is full, chunk 1 free; chunk 2 has 4 pages of 8 empty, 3 used."""

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="reclaim-frees",
            what="Two frees and two atomic allocations while a chunk's empty pages are released.",
            setup=_DRAINING,
            actors=("f 20", "f 22", "a 100 4096 4 A", "a 101 4096 4 A"),
            verdicts={
                "linux_5_12": found(2540),
                "rfc_series": found(490, "FLT-1"),
                "linux_6_12": found(3534, "RCL-3"),
                "reference": found(3405),
            },
        ),
        Scenario(
            name="reclaim-free",
            what="One free and one atomic allocation while a chunk's empty pages are released.",
            setup=_DRAINING,
            actors=("f 20", "a 100 4096 4 A"),
            verdicts={
                "linux_5_12": found(200),
                "rfc_1": found(654, "FLT-1 ISO-1 LIST-1"),
                "rfc_series": found(40, "FLT-1"),
                "rfc_1_reviewed": found(528, "FLT-1"),
                "linux_6_12": found(87, "RCL-3"),
                "reference": found(84),
            },
        ),
        Scenario(
            name="reuse",
            what="A blocking allocation populates pages given back; one request may fail.",
            setup=_DRAINING,
            actors=("a 100 16384 4 -", "f 20"),
            works=1,
            failures=1,
            verdicts={
                "linux_5_12": found(209),
                "rfc_1": found(338, "FLT-1 TLB-1"),
                "rfc_series": found(40, "FLT-1"),
                "rfc_1_reviewed": found(336, "FLT-1 TLB-1"),
                "linux_6_12": found(104, "RCL-3"),
                "reference": found(102),
            },
        ),
        Scenario(
            name="shrink-race",
            what="Frees make two chunks worth shrinking; an atomic allocation comes in between.",
            setup=(*fill(1, 23, 4096), *free(*range(9, 12)), *free(*range(17, 20))),
            actors=("f 12", "f 20", "a 100 8192 4 A"),
            works=1,
            verdicts={
                "linux_5_12": found(434),
                "rfc_1": found(7932, "FLT-1 ISO-1 LIST-1 POP-1 POP-2 RCL-1 TLB-1"),
                "rfc_series": found(2128, "FLT-1 ISO-1 LIST-1 POP-1 POP-2 RCL-1 TLB-1"),
                "rfc_1_reviewed": found(8711, "FLT-1 RCL-1 RCL-3 TLB-1"),
                "linux_6_12": found(34),
                "reference": found(34),
            },
        ),
        Scenario(
            name="freed-whole",
            what="A chunk becomes fully free while the first of two ranges of it is released.",
            setup=(
                "a 1 28672 4 -",
                "a 2 4096 4 -",
                "a 3 12288 4 -",
                "a 4 12288 4 -",
                "a 5 20480 4 -",
                *free(1, 3),
            ),
            actors=("f 2", "f 4"),
            works=1,
            verdicts={
                "linux_5_12": found(96),
                "rfc_1": found(324, "FLT-1 ISO-1 LIST-1 LIST-3 LIST-4"),
                "rfc_series": found(78, "FLT-1 ISO-1 LIST-1 LIST-3 LIST-4"),
                "rfc_1_reviewed": found(281, "FLT-1"),
                "linux_6_12": found(123),
                "reference": found(151),
            },
        ),
        Scenario(
            name="float-falls",
            what="Reclaim has sidelined chunks when the float falls and pages are wanted.",
            setup=(*fill(1, 23, 4096), *free(*range(8, 12)), *free(*range(16, 20))),
            actors=("f 12", "f 20", "a 100 8192 4 A"),
            works=1,
            verdicts={
                "linux_5_12": found(408),
                "rfc_1": found(8250, "FLT-1 RCL-1 TLB-1"),
                "rfc_series": found(3892, "FLT-1 RCL-1"),
                "rfc_1_reviewed": found(9972, "FLT-1 RCL-1 RCL-3 TLB-1"),
                "linux_6_12": found(168, "BAL-1 RCL-3"),
                "reference": found(168),
            },
        ),
        Scenario(
            name="first-chunk",
            what="The first chunk has empty pages, and an atomic request finds no room.",
            setup=fill(1, 1, 4096),
            actors=("a 100 8192 4 A", "f 1"),
            works=1,
            verdicts={
                "linux_5_12": found(8),
                "rfc_1": found(45, "FLT-1 RCL-2"),
                "rfc_series": found(8, "FLT-1"),
                "rfc_1_reviewed": found(45, "FLT-1 RCL-2 RCL-3 RCL-5"),
                "linux_6_12": found(8),
                "reference": found(8),
            },
        ),
        Scenario(
            name="second-free",
            what="A second chunk becomes fully free while the float is topped up.",
            setup=(*fill(1, 8, 28672), *free(2, 3)),
            actors=("f 4", "a 100 28672 4 A"),
            works=1,
            verdicts={
                "linux_5_12": found(1782, "BAL-2"),
                "rfc_1": found(2292, "BAL-2 FLT-1 RCL-1"),
                "rfc_series": found(800, "BAL-2 FLT-1"),
                "rfc_1_reviewed": found(2043, "BAL-2 FLT-1 RCL-1 RCL-3"),
                "linux_6_12": found(209, "BAL-2"),
                "reference": found(230),
            },
        ),
        Scenario(
            name="no-room",
            what="A blocking allocation creates a chunk; a free, and an atomic one that fails.",
            setup=fill(1, 7, 4096),
            actors=("a 100 8192 4 -", "a 101 4096 4 A", "f 1"),
            works=1,
            verdicts={
                "linux_5_12": found(4680),
                "rfc_series": found(4360, "FLT-1"),
                "linux_6_12": found(311),
                "reference": found(311),
            },
        ),
        Scenario(
            name="no-memory",
            what="As no-room, and one request for memory may be refused.",
            setup=fill(1, 7, 4096),
            actors=("a 100 8192 4 -", "a 101 4096 4 A"),
            works=1,
            failures=1,
            verdicts={
                "linux_5_12": found(2550),
                "rfc_1": found(2318, "FLT-1"),
                "rfc_series": found(2162, "FLT-1"),
                "rfc_1_reviewed": found(2543, "FLT-1 RCL-3"),
                "linux_6_12": found(179),
                "reference": found(179),
            },
        ),
        Scenario(
            name="two-waiters",
            what="Two blocking allocations and the work wait for one another's mutex.",
            setup=fill(1, 7, 4096),
            actors=("a 100 8192 4 -", "a 101 8192 4 -"),
            works=1,
            waiting=True,
            verdicts={
                "linux_5_12": found(1822),
                "rfc_1": found(1304, "FLT-1"),
                "rfc_series": found(1134, "FLT-1"),
                "rfc_1_reviewed": found(1407, "FLT-1 RCL-3"),
                "linux_6_12": found(185),
                "reference": found(185),
            },
        ),
        Scenario(
            name="freed-meanwhile",
            what="A chunk becomes fully free while an allocation that found no room creates one.",
            setup=(*fill(1, 7, 4096), *fill(8, 8, 28672)),
            actors=("a 100 28672 4 -", "f 8"),
            works=1,
            verdicts={
                "linux_5_12": found(1361, "BAL-2"),
                "rfc_1": found(1351, "FLT-1 RCL-1 TLB-1"),
                "rfc_series": found(564, "BAL-2 FLT-1"),
                "rfc_1_reviewed": found(1456, "FLT-1 RCL-1 RCL-3 TLB-1"),
                "linux_6_12": found(106, "BAL-2"),
                "reference": found(134),
            },
        ),
        Scenario(
            name="km-creates",
            what="Chunks born populated: the work creates one because an atomic request failed.",
            setup=fill(1, 1, 28672),
            actors=("a 100 4096 4 A",),
            works=1,
            geometry=f"{KERNEL_32K},backing=km",
            verdicts={
                "linux_5_12": found(178, "BAL-2"),
                "rfc_1": found(107, "BAL-2 FLT-1"),
                "rfc_series": found(9052, "BAL-3 FLT-1"),
                "rfc_1_reviewed": found(115, "BAL-2 FLT-1"),
                "linux_6_12": found(15, "BAL-2"),
                "reference": found(14),
            },
        ),
        Scenario(
            name="two-types",
            what="Accounted and plain areas; chunks of two types where a variant has them.",
            setup=("a 1 4096 4 G", "a 2 4096 4 -", "a 3 4096 4 G"),
            actors=("f 1", "a 100 4096 4 AG"),
            works=1,
            geometry=f"{KERNEL_32K},memcg=1",
            verdicts={
                "linux_5_12": found(204),
                "rfc_1": found(121, "FLT-1"),
                "rfc_series": found(49, "FLT-1"),
                "rfc_1_reviewed": found(127, "FLT-1"),
                "linux_6_12": found(8),
                "reference": found(8),
            },
        ),
    )
}
