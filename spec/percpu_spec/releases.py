"""What each release of the kernel does and breaks.

`breaks` comes from `percpu-spec review --source` on a public tree: the fewest operations of any
search that break a clause. What else a tree has by backport its probes tell (`conform kernel`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Release:
    """Releases that do the same, and the tree of one that was searched."""

    releases: str
    variant: str
    brought: str  # what is new, with its commit
    searched: str  # release, repository and commit
    breaks: Mapping[str, int]  # fewest operations, by clause


_HINTS: Final = {"HINT-3": 3, "HINT-4": 4, "HINT-5": 3}
_LISTS: Final = {"LIST-2": 4, "BAL-2": 2, "RCL-3": 6}
_UP_TO_6_12: Final = {**_HINTS, **_LISTS, "BAL-1": 5}
_FROM_6_13: Final = {**_HINTS, **_LISTS, "BAL-1": 6}

RELEASES: Final = (
    Release(
        "5.14 to 5.16", "linux_5_14", "partial depopulation (merge 20d5e570aee7)",
        "5.14.2, Kingdo777/linux-5.14.2-faascale-host 56e6f69d075f", _UP_TO_6_12,
    ),
    Release(
        "5.17 to 6.12", "linux_6_12",
        "areas pay for the object vector (8c57c07741bf); 6.1.y and 6.12.y have what 6.15 brought",
        "6.12.117, Debian's linux-source-6.12; 5.17, moralesresearch/kernel e20ebc84c9d5",
        _UP_TO_6_12,
    ),
    Release(
        "6.13, 6.14", "linux_6_13", "the float is tested under the lock (807655a3f611)",
        "6.13.7, ChenRuiwei/linux-6.13.7 4ebf2100a581", _FROM_6_13,
    ),
    Release(
        "6.15 to 6.19", "linux_6_15", "requests without I/O may sleep (9a5b183941b5)",
        "6.19.9, AlfredoFerreira04/scheduler-linux-6.19.9-env 0d965aeb50b4",
        _FROM_6_13,
    ),
    Release(
        "7.0", "linux_7_0", "wrong frees are refused (a4818a8beb15)",
        "7.0, julianw1010/WASP-linux-7.0.0 d0b9a1a6ae15",
        _FROM_6_13,
    ),
    Release(
        "7.1", "linux_7_1", "the root group has an object cgroup, which pays nothing",
        "7.1.5, danayer/linux-7.1.5 9d1745cf8134",
        _FROM_6_13,
    ),
    Release(
        "linux-mm, May 2026", "linux_mm", "the series on hints (damonitor/linux 5cac636df191)",
        "mm/percpu.c of damonitor/linux 5cac636df191, the rest of 7.1.5",
        {**_LISTS, "BAL-1": 6, "HINT-3": 3, "HINT-5": 4},
    ),
)  # fmt: skip
"""Oldest first."""

COMPARED: Final = (
    "5.14.2 Kingdo777/linux-5.14.2-faascale-host 56e6f69d075f",
    "5.15.148 hyunjinis/qCon--orin-v5.15- dcead819fab7",
    "5.16.10 DFAUS-git/ps4-linux-kernel-5.16.10-belize 86ee2d25fa03",
    "5.17 moralesresearch/kernel e20ebc84c9d5",
    "6.1.192 Debian linux-source-6.1",
    "6.6.42 YushanQ/linux-6.6.42-annotation 04297ce41cf4",
    "6.8 vivo50kff/linux-6.8 bc4fae0d3fa3",
    "6.12.117 Debian linux-source-6.12",
    "6.13.7 ChenRuiwei/linux-6.13.7 4ebf2100a581",
    "6.14 perishh/linux-6.14 347b100ec166",
    "6.18 sigmanature/common 0980fb6acb6f",
    "6.19.9 AlfredoFerreira04/scheduler-linux-6.19.9-env 0d965aeb50b4",
    "7.0 julianw1010/WASP-linux-7.0.0 d0b9a1a6ae15",
    "7.1.5 danayer/linux-7.1.5 9d1745cf8134",
    "linux-mm damonitor/linux 5cac636df191",
)
"""Trees that equal their variant in 100,000 operations and 800 schedules of `conform kernel`."""

KM: Final = """\
With more than one CPU the km backing of all of them but 6.1.y and 6.12.y counts a chunk's pages
once for each unit, beyond the end of its map, and breaks FLT-1, POP-1 and POP-3. A fix of July
2026, for stable too, mends it: "mm/percpu-km: fix bitmap overflow and accounting in
pcpu_create_chunk()"."""


def breaking(clause: str) -> list[dict[str, str]]:
    """Return how each release stands to a clause; nothing for one that none breaks.

    >>> [row["breaks it"] for row in breaking("HINT-4")][-2:], breaking("MAP-1")
    (['after 4 operations', 'no'], [])
    """
    if not any(clause in release.breaks for release in RELEASES):
        return []
    return [
        {
            "releases": release.releases,
            "variant": release.variant,
            "breaks it": f"after {release.breaks[clause]} operations"
            if clause in release.breaks
            else "no",
        }
        for release in RELEASES
    ]


def table() -> str:
    """Return the releases as a table in Markdown."""
    lines = ["| releases | variant | brought | breaks, after so many operations |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for release in RELEASES:
        breaks = ", ".join(f"{clause} {n}" for clause, n in sorted(release.breaks.items()))
        cells = release.releases, f"`{release.variant}`", release.brought, breaks
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
