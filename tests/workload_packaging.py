"""Writes the workloads that ship with the package, from the recorded runs that it is given."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

from percpu_proofs import data
from percpu_proofs.recorded.traces.reader import read_run
from percpu_proofs.run.operations import text_of
from percpu_proofs.workload.recorded import FACTS, Workload, derive


def text(workload: Workload) -> str:
    """Return a workload's operations in the operation language, its phases as comments."""
    marks: dict[int, list[str]] = {}
    for phase in workload.phases:
        marks.setdefault(phase.operation, []).append(f"# {phase.name}: {phase.percpu_kb} kB")
    lines = [f"# what {workload.name} asked of {workload.kernel}, in the order of its events"]
    for number, operation in enumerate(workload.operations):
        lines += marks.pop(number, [])
        lines.append(text_of(operation))
    for rest in marks.values():
        lines += rest
    return "\n".join(lines) + "\n"


def main(runs: list[str]) -> None:
    """Write the list of each run, and what the runs' kernels held, into the package's data."""
    folder = data.folder("workload")
    facts = {}
    for run in runs:
        workload = derive(read_run(Path(run)))
        packed = gzip.compress(text(workload).encode(), mtime=0)
        (folder / f"{workload.name}.ops.gz").write_bytes(packed)
        facts[workload.name] = workload.facts()
    (folder / FACTS).write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
