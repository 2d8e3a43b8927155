"""Which seeded bugs each obligation is to catch: found by trying, kept in bugs.json.

    python -m percpu_proofs.prove.assignment

tries every bug of a function on every obligation about that function, case by case, and writes the
file anew. Every bug that some obligation catches is given to at least one of them, every obligation
gets at least one that it catches. Bugs that none catches are printed.
"""

from __future__ import annotations

import json
from pathlib import Path

from percpu_proofs.prove.catalogue import all_obligations
from percpu_proofs.prove.enumeration import enumerate_cases
from percpu_proofs.prove.obligation import Obligation
from percpu_proofs.seeded import BUGS, Bug
from percpu_proofs.spread import default_jobs, spread

_PATIENCE = 6  # seconds for one bug on one obligation; with some the program never ends

Caught = dict[str, list[str]]


def candidates(obligation: Obligation) -> list[Bug]:
    """Return the bugs of the functions under proof."""
    functions = {name.rsplit(".", 1)[-1] for name in obligation.functions}
    km = any("KmBacking" in name for name in obligation.functions)
    return [
        bug
        for bug in BUGS.values()
        if not bug.same
        and bug.function.removeprefix("km.") in functions
        and bug.function.startswith("km.") == km
    ]


def caught_by(name: str) -> tuple[str, list[str]]:
    """Return an obligation's name and the bugs that it catches."""
    obligation = next(o for o in all_obligations() if o.id == name)
    size = obligation.large if obligation.symbols[1] else obligation.small

    def catches(bug: Bug) -> bool:
        cls = bug.planted(obligation.variant)
        return enumerate_cases(obligation, size, _PATIENCE, cls=cls).state == "refuted"

    return name, [bug.name for bug in candidates(obligation) if catches(bug)]


def assign(caught: Caught) -> Caught:
    """Give every bug to the obligation that has fewest so far, and every obligation one bug."""
    assigned: Caught = {name: [] for name in caught}
    for bug in BUGS:
        able = [name for name, bugs in caught.items() if bug in bugs]
        if able:
            assigned[min(able, key=lambda name: len(assigned[name]))].append(bug)
    for name, bugs in caught.items():
        if bugs and not assigned[name]:
            assigned[name].append(bugs[0])
    return assigned


def main() -> None:
    """Try every bug and write bugs.json."""
    names = [o.id for o in all_obligations() if not o.refuted]
    found, interrupted = spread(names, caught_by, jobs=default_jobs())
    if interrupted:
        raise SystemExit(130)
    assigned = assign(dict(found))
    path = Path(__file__).with_name("bugs.json")
    path.write_text(json.dumps(assigned, indent=1) + "\n", "utf-8")
    given = {bug for bugs in assigned.values() for bug in bugs}
    left = [bug for bug in BUGS.values() if bug.name not in given and not (bug.legal or bug.same)]
    print(f"{len(given)} bugs caught, {len(left)} not:", *(bug.name for bug in left))
    print("obligations that catch none:", *(name for name, bugs in assigned.items() if not bugs))


if __name__ == "__main__":
    main()
