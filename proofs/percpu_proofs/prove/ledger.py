"""The ledger: what became of every claim, its twin and its seeded bugs; kept by source hash."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import platformdirs

from percpu_proofs.prove.catalogue import claims, stored
from percpu_proofs.prove.claim import Claim
from percpu_proofs.prove.dependencies import source_hash
from percpu_proofs.run.inputs import InputError, writing


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of the ledger. seconds is CPU time of the claim alone, cost of all of it."""

    id: str
    clause: str
    variant: str
    functions: tuple[str, ...]
    engine: str
    bound: str
    expected: str
    state: str
    paths: int
    seconds: float
    message: str
    twin: str  # state of the twin
    bugs: dict[str, str]  # state of each seeded bug
    cost: float
    source: str  # hash
    cached: bool = False

    @property
    def survivors(self) -> list[str]:
        """Seeded bugs that were not refuted."""
        return [name for name, state in self.bugs.items() if state != "refuted"]

    @property
    def as_expected(self) -> bool:
        """Whether the claim came out as declared, and twin and bugs were refuted."""
        return self.state == self.expected and self.twin == "refuted" and not self.survivors


@dataclass(frozen=True, slots=True)
class ClaimTask:
    """A claim to be proved, by name, so that it travels to any worker."""

    id: str
    timeout: float


def prove(task: ClaimTask) -> LedgerEntry:
    """Check a claim, its twin and its seeded bugs."""
    claim = next(claim for claim in claims() if claim.id == task.id)
    found = claim.check(task.timeout)
    twin = claim.check_twin(task.timeout)
    bugs = {bug: claim.check_bug(bug, task.timeout) for bug in claim.bugs}
    cost = sum(result.seconds for result in (found, twin, *bugs.values()))
    return LedgerEntry(
        claim.id, claim.clause, claim.variant, claim.functions, claim.engine, claim.bound,
        claim.expected, found.state, found.paths, round(found.seconds, 3), found.message,
        twin.state, {name: result.state for name, result in bugs.items()}, round(cost, 3),
        source_hash(claim.sources),
    )  # fmt: skip


class EntryCache:
    """Entries of earlier runs, in the user's cache directory unless told.

    `unusable`: why entries cannot be kept, once that was tried; the work goes on without.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.unusable: InputError | None = None
        self._folder = folder or platformdirs.user_cache_path("percpu-spec") / "prove"

    def find(self, claim: Claim) -> LedgerEntry | None:
        """Return the entry of a claim whose sources, bound and bugs are still the same."""
        try:
            stored = json.loads(self._path(claim.id).read_text("utf-8"))
            entry = LedgerEntry(**(stored | {"functions": tuple(stored["functions"])}))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        same = (
            entry.source == source_hash(claim.sources)
            and entry.bound == claim.bound
            and entry.expected == claim.expected
            and tuple(entry.bugs) == claim.bugs
        )
        return replace(entry, cached=True) if same else None

    def keep(self, entry: LedgerEntry) -> None:
        """Keep an entry, where one can; one that is not as expected is worth another try."""
        if not entry.as_expected or self.unusable is not None:
            return
        path = self._path(entry.id)
        part = path.with_suffix(".part")
        try:
            with writing(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
                part.write_text(json.dumps(asdict(entry)), "utf-8")
                part.replace(path)
        except InputError as error:
            self.unusable = error
            with suppress(OSError):
                part.unlink()  # of a full disk

    def _path(self, claim_id: str) -> Path:
        return self._folder / f"{claim_id}.json"


def summary(entries: Iterable[LedgerEntry]) -> dict[str, dict[str, Any]]:
    """Return what of a ledger must not shrink, by id: no times, and paths where they are cases."""
    return {
        entry.id: {
            "clause": entry.clause,
            "variant": entry.variant,
            "functions": list(entry.functions),
            "engine": entry.engine,
            "bound": entry.bound,
            "state": entry.state,
            "twin": entry.twin,
            **({"cases": entry.paths} if entry.engine == "enumeration" else {}),
            "bugs": sorted(name for name in entry.bugs if name not in entry.survivors),
        }
        for entry in sorted(entries, key=lambda entry: entry.id)
    }


def committed() -> dict[str, dict[str, Any]]:
    """Return the summary that is part of this version."""
    lines: dict[str, dict[str, Any]] = stored("ledger.json")
    return lines


def ledger_changes(entries: Sequence[LedgerEntry], *, complete: bool) -> list[str]:
    """Return where a ledger differs from the committed one; complete: nothing may be missing."""
    now, then = summary(entries), committed()
    lines = []
    for name, line in now.items():
        if name not in then:
            lines.append(f"{name}: not in the committed ledger")
            continue
        for key, value in line.items():
            before = then[name].get(key)
            if value != before:
                lines.append(f"{name}: {key} is {value!r}, {before!r} in the ledger")
    if complete:
        lines += [f"{name}: gone" for name in then if name not in now]
    return lines
