"""Which seeded bugs each claim is to catch: found by trying, kept in bugs.json.

    python tests/assignment.py

tries every bug of a function on every claim about that function, and writes the file anew. Every
bug that some obligation catches is given to at least one of them, every obligation gets at least
one that it catches, and every claim by symbols the first that it catches. Bugs that none catches
are printed.
"""

from __future__ import annotations

import json
from pathlib import Path

from percpu_proofs import prove
from percpu_proofs.bugs import BUGS, Bug
from percpu_proofs.prove.catalogue import claims
from percpu_proofs.prove.claim import Claim
from percpu_proofs.prove.small.claims import SymbolicClaim
from percpu_proofs.prove.small.obligation import Obligation
from percpu_proofs.run.processes import default_jobs, spread

_PATIENCE = 6  # seconds for one bug on one claim; with some the program never ends
_ENOUGH = 3  # bugs of a claim by symbols; those are the enumerated claims' too

Caught = dict[str, list[str]]


def candidates(claim: Claim) -> list[Bug]:
    """Return the bugs of the functions under proof."""
    functions = {name.rsplit(".", 1)[-1] for name in claim.functions}
    km = any("KmBacking" in name for name in claim.functions)
    return [
        bug
        for bug in BUGS.values()
        if not bug.same
        and bug.function.removeprefix("km.") in functions
        and bug.function.startswith("km.") == km
    ]


def caught_by(name: str) -> tuple[str, list[str]]:
    """Return a claim's name and the bugs that it catches."""
    claim = next(claim for claim in claims() if claim.id == name)
    return name, [
        bug.name
        for bug in candidates(claim)
        if claim.check_bug(bug.name, _PATIENCE).state == "refuted"
    ]


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
    every = [claim for claim in claims() if isinstance(claim, Obligation | SymbolicClaim)]
    tried = [claim.id for claim in every if claim.expected != "refuted"]
    found, interrupted = spread(tried, caught_by, jobs=default_jobs())
    if interrupted:
        raise SystemExit(130)
    caught = dict(found)
    by_symbols = {claim.id for claim in every if claim.engine == "crosshair"}
    assigned = assign({name: bugs for name, bugs in caught.items() if name not in by_symbols})
    assigned |= {name: bugs[:_ENOUGH] for name, bugs in caught.items() if name in by_symbols}
    path = Path(prove.__path__[0], "bugs.json")
    path.write_text(json.dumps(assigned, indent=1) + "\n", "utf-8")
    given = {bug for bugs in assigned.values() for bug in bugs}
    left = [bug for bug in BUGS.values() if bug.name not in given and not (bug.aside or bug.same)]
    print(f"{len(given)} bugs caught, {len(left)} not:", *(bug.name for bug in left))
    print("claims that catch none:", *(name for name, bugs in assigned.items() if not bugs))


if __name__ == "__main__":
    main()
