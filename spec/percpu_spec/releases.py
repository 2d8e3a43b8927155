"""What each release of the kernel does, breaks and mends, and what stable trees have of it.

`breaks` comes from `percpu-spec review --source` on a public tree: the fewest operations of any
search that break a clause. What else a tree has by backport its probes tell (`conform kernel`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from percpu_spec.catalogue import clauses


@dataclass(frozen=True, slots=True)
class Release:
    """Releases that do the same, and the tree of one that was searched."""

    releases: str
    variant: str
    brought: str  # what is new
    commit: str  # which brought it, with its title
    stable: str  # releases of stable trees that have it by backport
    searched: str  # release, repository and commit
    breaks: Mapping[str, int]  # fewest operations, by clause
    mends: tuple[str, ...] = field(default=())  # findings that are gone


_HINTS: Final = {"HINT-3": 3, "HINT-4": 4, "HINT-5": 3}
_LISTS: Final = {"LIST-2": 4, "BAL-2": 2, "RCL-3": 6}
_UP_TO_6_12: Final = {**_HINTS, **_LISTS, "BAL-1": 5}
_FROM_6_13: Final = {**_HINTS, **_LISTS, "BAL-1": 6}
SLEEPABLE: Final = '9a5b183941b5, "mm, percpu: do not consider sleepable allocations atomic"'
BACKPORTED: Final = "6.1.159, 6.6.117, 6.12.59"
"""The first stable releases with SLEEPABLE: none of 5.15.y; 6.13.y and 6.14.y had ended."""
NOT_STABLE: Final = "none"
"""By their probes 5.15.148, 6.1.192, 6.6.42 and 6.12.117 have nothing else."""

RELEASES: Final = (
    Release(
        "5.14 to 5.16", "linux_5_14", "partial depopulation",
        "20d5e570aee7, the merge", NOT_STABLE,
        "5.14.2, Kingdo777/linux-5.14.2-faascale-host 56e6f69d075f", _UP_TO_6_12,
    ),
    Release(
        "5.17 to 6.12.58", "linux_5_17", "areas pay for the object vector",
        '8c57c07741bf, "mm: memcg/percpu: account extra objcg space to memory cgroups"', NOT_STABLE,
        "5.17, moralesresearch/kernel e20ebc84c9d5", _UP_TO_6_12,
    ),
    Release(
        f"{BACKPORTED} and later of each", "linux_6_12",
        "what 6.15 brought, by backport", SLEEPABLE, BACKPORTED,
        "6.12.117, Debian's linux-source-6.12", _UP_TO_6_12,
    ),
    Release(
        "6.13, 6.14", "linux_6_13", "the float is tested under the lock",
        '807655a3f611, "percpu: fix data race with pcpu_nr_empty_pop_pages"', NOT_STABLE,
        "6.13.7, ChenRuiwei/linux-6.13.7 4ebf2100a581", _FROM_6_13,
    ),
    Release(
        "6.15 to 6.19", "linux_6_15", "requests without I/O may sleep", SLEEPABLE, BACKPORTED,
        "6.19.9, AlfredoFerreira04/scheduler-linux-6.19.9-env 0d965aeb50b4",
        _FROM_6_13,
    ),
    Release(
        "7.0", "linux_7_0", "wrong frees are refused",
        'a4818a8beb15, "percpu: add double free check to pcpu_free_area()"', NOT_STABLE,
        "7.0, julianw1010/WASP-linux-7.0.0 d0b9a1a6ae15",
        _FROM_6_13,
    ),
    Release(
        "7.1", "linux_7_1", "the root group has an object cgroup, which pays nothing",
        'd5aa8c1d136e, "mm: memcontrol: return root object cgroup for root memory cgroup"',
        NOT_STABLE, "7.1.5, danayer/linux-7.1.5 9d1745cf8134",
        _FROM_6_13,
    ),
    Release(
        "linux-mm, May 2026", "linux_mm", "the series on hints",
        '5ac0e55d0f19, "percpu: fix hint invariant breakage", and the three patches before it',
        NOT_STABLE, "mm/percpu.c of damonitor/linux 5cac636df191, the rest of 7.1.5",
        {**_LISTS, "BAL-1": 6, "HINT-3": 3, "HINT-5": 4}, ("L1", "L3", "L4", "L5"),
    ),
)  # fmt: skip
"""Oldest first. Findings that no row mends are in all of them."""

COMPARED: Final[Mapping[str, str]] = {
    "5.14.2 Kingdo777/linux-5.14.2-faascale-host 56e6f69d075f": "linux_5_14",
    "5.15.148 hyunjinis/qCon--orin-v5.15- dcead819fab7": "linux_5_14",
    "5.16.10 DFAUS-git/ps4-linux-kernel-5.16.10-belize 86ee2d25fa03": "linux_5_14",
    "5.17 moralesresearch/kernel e20ebc84c9d5": "linux_5_17",
    "6.1.192 Debian linux-source-6.1": "linux_6_12",
    "6.6.42 YushanQ/linux-6.6.42-annotation 04297ce41cf4": "linux_5_17",
    "6.8 vivo50kff/linux-6.8 bc4fae0d3fa3": "linux_5_17",
    "6.12.117 Debian linux-source-6.12": "linux_6_12",
    "6.13.7 ChenRuiwei/linux-6.13.7 4ebf2100a581": "linux_6_13",
    "6.14 perishh/linux-6.14 347b100ec166": "linux_6_13",
    "6.18 sigmanature/common 0980fb6acb6f": "linux_6_15",
    "6.19.9 AlfredoFerreira04/scheduler-linux-6.19.9-env 0d965aeb50b4": "linux_6_15",
    "7.0 julianw1010/WASP-linux-7.0.0 d0b9a1a6ae15": "linux_7_0",
    "7.1.5 danayer/linux-7.1.5 9d1745cf8134": "linux_7_1",
    "linux-mm damonitor/linux 5cac636df191": "linux_mm",
}
"""Trees that equal their variant in 100,000 operations and 800 schedules of `conform kernel`."""

KM: Final = """\
With more than one CPU the km backing counts a chunk's pages once for each unit, beyond the end of
its map, and breaks FLT-1, POP-1 and POP-3. "mm/percpu-km: fix bitmap overflow and accounting in
pcpu_create_chunk()" of July 2026 (CVE-2026-80718) mends it, also in 5.15.216, 6.1.183, 6.6.151,
6.12.103, 6.18.44 and 7.1.8."""


def of_variant(variant: str) -> Release | None:
    """Return the row of a variant, None for one that is no release's."""
    return next((release for release in RELEASES if release.variant == variant), None)


def with_commit(commit: str) -> list[str]:
    """Return the variants that a commit brought, or whose trees were searched or compared at it.

    commit: 7 digits of it or more, of which those that are known here count.

    >>> with_commit("20d5e570aee7"), with_commit("9a5b183"), with_commit("20d5")
    (['linux_5_14'], ['linux_6_12', 'linux_6_15'], [])
    """
    asked = commit.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{7,40}", asked):
        return []
    form = re.compile(rf"\b{asked[:12]}")
    return [
        row.variant for row in RELEASES
        if form.search(" ".join((row.commit, row.searched, *compared(row))))
    ]  # fmt: skip


def breaking(clause: str) -> list[dict[str, str]]:
    """Return how each release stands to a clause; nothing for one that none breaks.

    >>> [row["breaks it"] for row in breaking("HINT-4")][-2:], breaking("MAP-1")
    (['after 4 operations', 'no'], [])
    """
    if not any(clause in release.breaks for release in RELEASES):
        return []
    findings = clauses()[clause].findings
    return [
        {
            "releases": release.releases,
            "variant": release.variant,
            "breaks it": f"after {release.breaks[clause]} operations"
            if clause in release.breaks
            else "no",
            "mended": ", ".join(f for f in findings if f in release.mends),
            "searched tree": release.searched,
        }
        for release in RELEASES
    ]


def mending(finding: str) -> str:
    """Return the first release that mends a finding, in words.

    >>> mending("L1"), mending("R1")
    ('linux-mm, May 2026', 'no release up to 7.1')
    """
    named = [release.releases for release in RELEASES if finding in release.mends]
    mainline = [release.releases for release in RELEASES if release.variant != "linux_mm"]
    return named[0] if named else f"no release up to {mainline[-1]}"


def compared(release: Release) -> list[str]:
    """Return the trees of COMPARED that are a variant's."""
    return [tree for tree, variant in COMPARED.items() if variant == release.variant]


def table() -> str:
    """Return the releases as a table in Markdown."""
    heads = (
        "releases", "variant", "brought", "by backport in", "mends",
        "breaks, after so many operations of compiled code",
    )  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for release in RELEASES:
        breaks = ", ".join(f"{clause} {n}" for clause, n in sorted(release.breaks.items()))
        cells = (
            release.releases, f"`{release.variant}`",
            f"{release.brought} ({release.commit.partition(',')[0]})", release.stable,
            ", ".join(release.mends) or "none", breaks,
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
