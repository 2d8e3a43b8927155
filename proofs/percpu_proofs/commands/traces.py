"""Kernel traces on the command line: replaying one and printing what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from percpu_contracts.contract import Level
from percpu_proofs.commands import output
from percpu_proofs.commands.source import sizes
from percpu_proofs.commands.verdicts import show_verdicts
from percpu_proofs.conformance.report import TraceReport
from percpu_proofs.conformance.trace import conform_trace
from percpu_proofs.runs import bound


def replay(
    path: Path, variant: str | None, contracts: Level, geometry: str | None
) -> TraceReport:
    """Replay a recorded run with a progress bar; on its kernel's variant if none is given.

    geometry: sizes for what its boot messages leave open. Raises TraceError, InputError.
    """
    with output.progress_bar(path.name) as bar:
        return conform_trace(
            path, variant=variant, contracts=contracts, told=sizes(geometry), progress=bar
        )


def show(out: Console, report: TraceReport) -> None:
    """Print what a replay found: the comparison, then the verdicts if contracts were checked."""
    verdicts = {"contracts, " + report.contracts, *(v.clause for v in report.violations)}
    rows = [
        (name, Text.from_markup(value)) for name, value in report.rows() if name not in verdicts
    ]
    pages = [sample.pages_all_units for sample in report.memory]
    if pages:
        rows.append(("pages, all units", Text(f"{min(pages)} to {max(pages)}")))
        rows.append(("over time", Text(output.sparkline(pages))))
    out.print(output.pairs(rows))
    if report.contracts != "off":
        bounds = bound(report.contracts, report.checked, "event")
        show_verdicts(out, report.clauses, report.variant, bounds, "event")


def as_json(report: TraceReport) -> dict[str, Any]:
    """Return a replay with plain values, in the terms that all runs share."""
    return report.to_dict() | {
        "file": report.run,
        "kind": "trace",
        "operations": report.allocations + report.failures + report.frees,
        "bound": bound(report.contracts, report.checked, "event"),
    }
