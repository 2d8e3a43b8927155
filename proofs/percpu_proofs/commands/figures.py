"""How `percpu-spec workload` prints its figures."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from rich.console import Console
from rich.text import Text

from percpu_proofs.commands import output
from percpu_proofs.workload.burst import Served
from percpu_proofs.workload.plots import examined
from percpu_proofs.workload.recorded import BANDS, STAGES, USUAL, Curve, Workload, published
from percpu_proofs.workload.search_cost import Burst


def show_removal(out: Console, one: Workload, curves: Sequence[Curve]) -> None:
    """Print one workload's memory at its stages, a row a variant, the kernel's last."""
    if not curves:
        return
    rows: list[tuple[object, ...]] = []
    for curve in curves:
        last = curve.phases[-1]
        held = [curve.stages[s].percpu_kb if s in curve.stages else None for s in STAGES]
        back = f"{curve.given_back:.0%}"
        over_time = output.sparkline([kb for _, kb in curve.memory], 24)
        rows.append((curve.variant, *held, back, last.stranded_kb, curve.works, over_time))
    stages, last = curves[0].stages, curves[0].phases[-1]
    held = [stages[s].recorded_kb if s in stages else None for s in STAGES]
    most = max(phase.recorded_kb for phase in curves[0].phases)
    back = f"{1 - last.recorded_kb / most:.0%}"
    rows.append(("recorded kernel", *held, back, last.recorded_stranded_kb, None, None))
    title = (
        f"{one.name} ({one.kernel}): {len(one.operations)} operations, memory in kB; "
        f"{curves[0].schedule}"
    )
    columns = ("", *STAGES, "given back", "stranded", "work runs", "over time")
    out.print(output.table(title, columns, rows))
    for curve in curves:
        if curve.variant == one.variant:
            _show_distance(out, curve)


def _show_distance(out: Console, curve: Curve) -> None:
    """Print how far the kernel's own variant is from it, and what of that is explained."""
    far = ", ".join(f"{s} {p.ratio - 1:+.1%}" for s, p in curve.stages.items()) or "no such stages"
    allowed = ", ".join(f"{band:.0%}" for band in BANDS.values())
    output.say(out, f"{curve.variant} against the recorded kernel: {far} ({allowed} allowed)")
    last = curve.phases[-1]
    if last.stranded_kb or last.recorded_stranded_kb:
        recorded = last.recorded_kb - last.recorded_stranded_kb
        output.say(
            out,
            "stranded: empty pages of isolated chunks, freed behind the cursor of reclaim or "
            "during its flush (RCL-3, R1); how many depends on moments that no trace shows. "
            f"Without them: {last.unstranded_kb} kB here, {recorded} kB recorded",
        )


def show_timings(out: Console, one: Workload, curves: Sequence[Curve]) -> None:
    """Print what hangs on the moments of the balance work."""
    rows = [
        (
            str(curve.schedule),
            *(phase.percpu_kb for phase in curve.stages.values()),
            f"{curve.phases[-1].ratio - 1:+.1%}",
            curve.phases[-1].stranded_kb,
            curve.phases[-1].unstranded_kb,
        )
        for curve in curves
    ]
    if rows:
        columns = ("moments", *curves[0].stages, "of recorded", "stranded", "without")
        title = f"{one.name}: {one.variant} with the balance work at other moments, kB"
        out.print(output.table(title, columns, rows))


def show_published(out: Console) -> None:
    """Print what the workload did on other machines."""
    rows = [
        (
            one["source"],
            one["kernel"],
            *(one[stage] for stage in STAGES),
            f"{1 - one['removed'] / one['created']:.0%}",
        )
        for one in published()
    ]
    columns = ("source", "kernel", *STAGES, "given back")
    out.print(output.table("the same workload elsewhere, Percpu in kB", columns, rows))


def show_cost(
    out: Console,
    bursts: Sequence[Burst],
    later: Sequence[Burst],
    workload_name: str | None,
    unexpected: Sequence[str],
) -> None:
    """Print the bursts: a table for each shape of pile, and one of states after a workload."""
    for state in dict.fromkeys(burst.state for burst in bursts):
        title = f"COST-1: chunks examined by one atomic request of a page; drained chunks, {state}"
        rows = [_cells(burst) for burst in bursts if burst.state == state]
        out.print(output.table(title, _COLUMNS, rows))
    if later:
        title = f"the same after {workload_name}, {USUAL}"
        out.print(output.table(title, _COLUMNS, list(map(_cells, later))))
        for burst in later:
            if burst.most > 1:
                output.say(out, f"{burst.variant}: chunks examined, at most {examined(burst)}")
    for burst in {b.variant: b for b in (*later, *bursts) if b.broken}.values():
        how, colour = "as it declares", "yellow"
        if burst.variant in unexpected:
            how, colour = "not expected", "bold red"
        out.print(Text(f"{burst.variant} breaks COST-1, {how}: {burst.message}", colour))
    output.say(
        out,
        "COST-1 puts depopulated chunks last; it does not keep them from being searched. The last "
        "request, for which nothing is populated, examines all that have room, in any variant. "
        "Pages that stay populated in depopulated chunks (RCL-3, RCL-4) are found by walking too.",
    )


_COLUMNS = (
    "variant", "chunks", "depopulated", "served", "at most", "mean", "the failing one", "breaking"
)  # fmt: skip
_cells = attrgetter(
    "variant", "chunks", "depopulated", "served", "most", "mean", "failing", "broken"
)


def show_served(out: Console, served: Sequence[Served]) -> None:
    """Print atomic requests served between two runs of the work: a table for each state."""
    for state in dict.fromkeys(one.state for one in served):
        rows = [one for one in served if one.state == state]
        first = rows[0]
        title = (
            f"atomic requests of {first.size} bytes aligned to {first.align}, {state}: served "
            f"until one fails; failed of {first.requests} with the balance work after every N"
        )
        columns = (
            "variant", "float", "room", "at once", "a run", "safe N",
            *map(str, first.failed),
        )  # fmt: skip
        out.print(output.table(title, columns, [_served_cells(one) for one in rows]))
        for ends, names in output.grouped((one.ends, one.variant) for one in rows).items():
            output.say(out, f"{', '.join(names)}: {'; '.join(ends)}")
    output.say(
        out,
        "float: empty populated pages at the start; room: requests that would fit into what is "
        "populated then; at once: served before the work runs; a run: served between two runs; "
        "safe N: none fails with the work after so many. Nothing is freed meanwhile, and the work "
        "runs where it was asked for.",
    )


def _served_cells(one: Served) -> tuple[object, ...]:
    least, most = one.between
    cut = " or more" if one.cut else ""
    at_once: tuple[object, object] = f"{one.rounds[0]}{cut}", ""
    if len(one.rounds) > 1:
        at_once = one.rounds[0], f"{least if least == most else f'{least}..{most}'}{cut}"
    return one.variant, one.float_pages, one.room, *at_once, one.safe, *one.failed.values()
