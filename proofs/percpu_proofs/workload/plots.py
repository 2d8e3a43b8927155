"""Figures of workloads as charts: memory given back, the cost of a search, requests served."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from percpu_proofs.show.chart import Bar, Bars, Marks, Panel, Series, Style, chart_svg
from percpu_proofs.workload.burst import Served
from percpu_proofs.workload.recorded import Curve, Workload
from percpu_proofs.workload.search_cost import Burst

_MIB = 1024  # kB
_AT_REST = 1.04  # of a panel: where its lines end, at what is held in the end
_STYLES = defaultdict(lambda: Style("#7d5ba6"), {
    "linux_5_12": Style("#6b7683"),
    "rfc_1": Style("#e69f00"),
    "rfc_series": Style("#b5452c"),
    "rfc_1_reviewed": Style("#cc79a7", "7 4"),
    "linux_6_12": Style("#0072b2"),
    "reference": Style("#009e73", "3 3"),
})  # fmt: skip
"""Told apart with impaired colour vision too; dashes where lines lie on one another."""


def removal_svg(results: Sequence[tuple[Workload, Sequence[Curve]]]) -> str:
    """Return memory over time, a panel a workload, beside what its recorded kernel held.

    Empty pages of isolated chunks are a band below the line of the variant that holds them.
    """
    schedules = dict.fromkeys(str(curve.schedule) for _, curves in results for curve in curves)
    return chart_svg(
        "Percpu memory while cgroups are created and 10 of every 11 removed",
        [_removal(workload, curves) for workload, curves in results],
        [
            "stranded: empty pages that stay populated in sidelined chunks (RCL-3), a part of what "
            "the line above them holds",
            *(f"moments of the balance work, in operations: {one}" for one in schedules),
        ],
    )


def _removal(workload: Workload, curves: Sequence[Curve]) -> Panel:
    phases = workload.phases
    end = max((done for curve in curves for done, _ in curve.memory), default=0) * _AT_REST
    return Panel(
        f"what {workload.name} asked for ({workload.kernel})",
        "allocations and frees, thousands",
        "populated memory of all units, MiB",
        [_held(curve, end) for curve in curves],
        [
            Marks(
                f"recorded kernel {phases[-1].percpu_kb} kB" if phases else "",
                [(phase.operation / 1000, phase.percpu_kb / _MIB) for phase in phases],
                [f"{workload.kernel}, {phase.name}: {phase.percpu_kb} kB" for phase in phases],
            )
        ],
        [(p.operation / 1000, stage) for c in curves[:1] for stage, p in c.stages.items()],
    )


def _held(curve: Curve, end: float) -> Series:
    """Return a variant's memory; what it holds in the end goes on to the end of the panel."""
    points = [*curve.memory, *((end, kb) for _, kb in curve.memory[-1:])]
    stranded = [*curve.stranded, *curve.stranded[-1:]]
    last = points[-1][1] if points else 0
    return Series(
        curve.variant,
        [(done / 1000, kb / _MIB) for done, kb in points],
        _STYLES[curve.variant],
        label=f"{curve.variant} {last} kB",
        band=[kb / _MIB for kb in stranded],
        band_label=f"{curve.variant} stranded {stranded[-1]} kB" if any(stranded[-1:]) else "",
    )


def cost_svg(bursts: Iterable[Burst], later: Sequence[Burst] = ()) -> str:
    """Return chunks examined by one atomic allocation over depopulated chunks, COST-1.

    later: the same after a workload, as bars.
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for burst in bursts:
        lines = found.setdefault(burst.state, {})
        lines.setdefault(burst.variant, []).append((burst.depopulated, burst.most))
    panels: list[Panel | Bars] = [
        Panel(
            f"depopulated chunks, {state}",
            "depopulated chunks",
            "chunks examined",
            [
                Series(
                    name, line, _STYLES[name], dotted=True,
                    label=f"{name}: {line[-1][1]:g}",
                )
                for name, line in lines.items()
            ],
        )
        for state, lines in found.items()
    ]  # fmt: skip
    for state in dict.fromkeys(burst.state for burst in later):
        bars = [
            Bar(one.variant, one.most, examined(one), _STYLES[one.variant])
            for one in later if one.state == state
        ]  # fmt: skip
        panels.insert(0, Bars(f"in the state that {state} leaves", bars))
    title = "COST-1: chunks examined by one atomic allocation, at most, where it is served"
    return chart_svg(title, panels)


def examined(burst: Burst) -> str:
    """Return in words how many chunks the requests of a burst examined."""
    if not burst.served:
        return f"none served; {burst.depopulated} of {burst.chunks} chunks depopulated"
    return (
        f"{burst.most}, on average {burst.mean:.2f}, for {burst.served} served; "
        f"{burst.depopulated} of {burst.chunks} chunks depopulated"
    )


def served_svg(found: Sequence[Served]) -> str:
    """Return requests that fail over the period of the balance work, and those served a round."""
    panels = []
    for state in dict.fromkeys(one.state for one in found):
        lines = [one for one in found if one.state == state]
        first = lines[0]
        what = f"{first.size} bytes aligned to {first.align}, {state}"
        panels += [
            Panel(
                f"of {first.requests} atomic requests, {what}",
                "requests from one run of the balance work to the next",
                "requests that fail",
                [_line(one, sorted(one.failed.items())) for one in lines],
            ),
            Panel(
                f"until one fails, {what}",
                "runs of the balance work before",
                "requests served",
                [_line(one, list(enumerate(one.rounds))) for one in lines],
            ),
        ]
    title = "Atomic requests served between two runs of the balance work"
    return chart_svg(title, panels, ["nothing is freed meanwhile; the work runs if asked for"])


def _line(one: Served, points: Sequence[tuple[float, float]]) -> Series:
    return Series(one.variant, points, _STYLES[one.variant], dotted=True)
