"""Runs libraries built with sanitizers, in a process that has their runtime loaded first."""

from __future__ import annotations

import sys
from pathlib import Path

from percpu_proofs.kernel.build import Form, Library
from percpu_proofs.kernel.differential import Task, run_task
from percpu_proofs.kernel.model import Model

FORMS = (Form("km", smp=False), Form("km"), Form("vm", 65536), Form("vm"))
"""What is sanitized; a name that another begins with comes last."""


def main() -> None:
    for name in sys.argv[1:]:
        form = next(form for form in FORMS if str(form) in Path(name).stem)
        model = Model(prints_atomic="6.1-" not in name and "6.1.tar" not in name)
        library = Library(Path(name), "", form)
        tally = run_task(Task(library, model, 1, True, cases=4, operations=300))
        if form.backing == "vm":
            tally.add(run_task(Task(library, model, 1, True, schedules=30)))
        print("differs" if tally.differs else "clean", flush=True)


if __name__ == "__main__":
    main()
