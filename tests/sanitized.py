"""Runs libraries built with sanitizers, in a process that has their runtime loaded first.

Arguments: libraries. A library of a search is searched, any other runs beside the model.
"""

from __future__ import annotations

import sys
from pathlib import Path

from percpu_proofs.kernel.differential import CaseTask, draw_task
from percpu_proofs.kernel.instance import BuildForm, Library
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.search.job import TreeJob, run_here
from percpu_proofs.kernel.search.plans import TreeSearch, search_named, shallower
from percpu_reference.variants import variant_class

SEARCHES = {
    "vm": ("quarters", "pages", "pairs", "refused", "charged", "reserved", "reclaim-frees"),
    "km": ("km",),
}


def compared(library: Library) -> bool:
    """Return whether a library does what the model does."""
    model = ModelVariant(prints_atomic="source-6.1." not in str(library.path))
    tally = draw_task(CaseTask(library, model, 1, True, cases=4, operations=300))
    if library.form.backing == "vm":
        tally.add(draw_task(CaseTask(library, model, 1, True, schedules=30)))
    return not tally.differs


def as_known(library: Library) -> bool:
    """Return whether searches find nothing in a library but what 6.12 is known for."""
    searches = [shallower(search_named(name)) for name in SEARCHES[library.form.backing]]
    broken: set[str] = set()
    for search in searches:
        broken |= run_here(TreeJob("base", library, _short(search))).examples.keys()
    return broken <= set(variant_class("linux_6_12").EXPECTED)


def _short(search: TreeSearch) -> TreeSearch:
    return shallower(search) if search.plan.longest > 4 else search


FORMS = (BuildForm("km", smp=False), BuildForm("km"), BuildForm("vm", 65536), BuildForm("vm"))
"""What is sanitized; a name that another begins with comes last."""


def main() -> None:
    for name in sys.argv[1:]:
        form = next(form for form in FORMS if str(form) in Path(name).stem)
        library = Library(Path(name), "6.12", form)
        clean = as_known if Path(name).name.startswith("search") else compared
        print("clean" if clean(library) else "differs", flush=True)


if __name__ == "__main__":
    main()
