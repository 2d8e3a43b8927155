"""Kernel traces on the command line: replaying one and printing what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from percpu_contracts.contract import Level
from percpu_proofs.commands import output
from percpu_proofs.conformance.report import TraceReport
from percpu_proofs.conformance.trace import conform_trace


def replay(path: Path, variant: str, contracts: Level) -> TraceReport:
    """Replay a recorded run with a progress bar. Raises TraceError."""
    with output.progress_bar(path.name) as bar:
        return conform_trace(path, variant=variant, contracts=contracts, progress=bar)


def show(out: Console, report: TraceReport) -> None:
    """Print what a replay found."""
    rows = [(name, Text.from_markup(value)) for name, value in report.rows()]
    out.print(output.pairs(rows))


def as_json(report: TraceReport) -> dict[str, Any]:
    """Return a replay with plain values, in the terms that all runs share."""
    return report.to_dict() | {
        "file": report.run,
        "kind": "trace",
        "operations": report.allocations + report.failures + report.frees,
    }
