"""Every claim there is, and which functions none speaks of."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from percpu_contracts.contract import marked_names
from percpu_proofs.bugs import BUGS, Bug
from percpu_proofs.prove import any_size
from percpu_proofs.prove import claims as obligations
from percpu_proofs.prove.any_size.lemma import LEMMAS, Lemma
from percpu_proofs.prove.claim import Claim
from percpu_proofs.prove.from_boot import CLAIMS_FROM_BOOT
from percpu_proofs.prove.protocol.claims import action_claims, whole_claims
from percpu_proofs.prove.small.claims import VARIANTS, symbolic_claim
from percpu_proofs.prove.small.obligation import OBLIGATIONS, Obligation
from percpu_proofs.prove.small.subjects import ENTRIES, why_not
from percpu_proofs.run.inputs import InputError, the_nearest
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.catalogue import entry_id


def _import_modules(package: ModuleType) -> None:
    """Import the modules of a package, each of which enters its claims."""
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def all_obligations() -> list[Obligation]:
    """Return every obligation, by module."""
    _import_modules(obligations)
    return OBLIGATIONS


def all_lemmas() -> list[Lemma]:
    """Return every lemma, by module."""
    _import_modules(any_size)
    return LEMMAS


def stored(name: str) -> Any:
    """Return what a JSON file beside this module holds."""
    return json.loads(Path(__file__).with_name(name).read_text("utf-8"))


def assigned_bugs() -> dict[str, list[str]]:
    """Return which seeded bugs each obligation is to catch, by obligation."""
    bugs: dict[str, list[str]] = stored("bugs.json")
    return bugs


def bugs_without_claim() -> list[Bug]:
    """Return the seeded bugs that no obligation is to catch; `reason` of each says why."""
    given = {bug for bugs in assigned_bugs().values() for bug in bugs}
    return [bug for name, bug in BUGS.items() if name not in given]


def claims() -> tuple[Claim, ...]:
    """Return every claim: by cases, by symbols, from boot, of any size, by induction."""
    bugs = assigned_bugs()
    by_symbols = [symbolic_claim(name, variant) for variant in VARIANTS for name in ENTRIES]
    seeded: list[Claim] = [
        replace(claim, bugs=tuple(bugs.get(claim.id, ())))
        for claim in (*all_obligations(), *by_symbols)
    ]
    of_machines = *action_claims(), *whole_claims()
    return (*seeded, *CLAIMS_FROM_BOOT, *all_lemmas(), *of_machines)


def select(names: Sequence[str]) -> tuple[Claim, ...]:
    """Return the claims with these ids, or about these clauses; all if none is named.

    Raises InputError for a name that is neither, with near matches.
    """
    every = claims()
    if not names:
        return every
    by_name: dict[str, list[Claim]] = {}
    for claim in every:
        for name in {claim.id, *claim.clause.split(", ")}:
            by_name.setdefault(name.lower(), []).append(claim)
    selected: dict[str, Claim] = {}
    for name in (n if n.lower() in by_name else entry_id(n) for n in names):
        if name.lower() not in by_name:
            near = get_close_matches(name.lower(), by_name, n=5, cutoff=0.5) or list(by_name)[:5]
            expected = f"one of {', '.join(near)}{the_nearest(near, by_name)}, or a clause"
            raise InputError(f"claim {name!r}", None, expected)
        selected |= {claim.id: claim for claim in by_name[name.lower()]}
    return tuple(claim for claim in every if claim.id in selected)


def without_claim(every: Sequence[Claim]) -> list[str]:
    """Return the functions under contract that no claim is about which runs them."""
    run = {
        name.rsplit(".", 1)[-1]
        for claim in every
        if claim.engine in ("crosshair", "enumeration")
        for name in claim.functions
    }
    return [name for name in marked_names(Linux612) if name not in run]


def not_by_symbols() -> dict[str, str]:
    """Return why CrossHair is not asked of a function under contract, for each of those."""
    return {
        name: why_not(Linux612, name) for name in marked_names(Linux612) if name not in ENTRIES
    }
