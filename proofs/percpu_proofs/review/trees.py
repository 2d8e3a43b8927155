"""The verdict of every clause on a kernel tree, and what a patch changes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from percpu_contracts.registry import COMPILED
from percpu_proofs.kernel.search.accesses import AccessSite, new_accesses
from percpu_proofs.kernel.search.example import TreeExample
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome, run
from percpu_proofs.kernel.search.judge import CRASH
from percpu_proofs.kernel.search.plans import (
    DRAWN,
    QUICK,
    STOPS,
    UNNAMED,
    TreeSearch,
    access_searches,
    at_page,
    deeper,
    shallower,
    stopping_at,
)
from percpu_proofs.kernel.search.remote import parcel, run_parcel
from percpu_proofs.kernel.search.tree_token import found_by
from percpu_proofs.kernel.search.trees import (
    BASE,
    PATCHED,
    CompiledTree,
    accesses,
    broken_on,
    crosses,
    jobs_for,
    schedules,
    unsupported,
)
from percpu_proofs.review.cache import TreeCache
from percpu_proofs.review.job import EXHAUSTIVE, FUZZED
from percpu_proofs.review.jobs import Workers, require_searches
from percpu_proofs.review.matrix import Changes, evidence_of
from percpu_proofs.run.processes import spread
from percpu_reference.variants import MERGED, variant_class
from percpu_spec.catalogue import clauses

NO_SITUATION: Final = "its situation occurred in no search of this review"
NOT_NOTED: Final = "no search of this review notes accesses without locks (`accesses in ...` do)"


@dataclass(slots=True)
class TreeCell:
    """What is known of one clause on one tree."""

    clause: str
    verdict: str  # holds, violated or unchecked
    reason: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list)
    example: TreeExample | None = None
    reach: Mapping[str, float] = field(default_factory=dict)  # of each search, in operations
    backings: frozenset[str] = frozenset()  # of the searches that break it

    @property
    def origin(self) -> str:
        """How far the search of its counterexample came, in words; empty without one."""
        if self.example is None:
            return ""
        engine = f"search {self.example.search}"
        found = (one for one in self.evidence if one["engine"] == engine and one["violated"])
        return found_by(self.example.search, next(found)["bound"])

    def as_json(self) -> dict[str, Any]:
        """Return the cell with plain values only."""
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "evidence": self.evidence,
            "counterexample": _example_record(self.example) if self.example else None,
        }


def _example_record(e: TreeExample) -> dict[str, Any]:
    """Return a counterexample of a tree with plain values only."""
    return {
        "message": e.message,
        "operations": [*e.plan.setup_texts, *e.trace.operations],
        "schedule": list(e.labels),
        "length": e.length,
        "search": e.search,
        "token": e.token,
        "steps": [step.as_json() for step in e.trace.steps],
        "stopped": e.trace.stopped,
        "model_token": e.on_model.token,
        "model_reason": e.on_model.reason,
    }


def verdicts(
    outcomes: Sequence[TreeOutcome], tree: str, variant: str = MERGED
) -> dict[str, TreeCell]:
    """Return the cell of every clause on a tree; that the kernel stops is one too, if it does.

    variant: of the model, which counterexamples are taken to.
    """
    mine = [outcome for outcome in outcomes if outcome.job.tree == tree]
    reach = {outcome.job.search.name: outcome.reach for outcome in mine}
    cells = {clause: _cell(clause, mine, variant) for clause in (*clauses(), CRASH)}
    for cell in cells.values():
        cell.reach = reach
    if cells[CRASH].verdict != "violated":
        del cells[CRASH]
    return cells


def _cell(clause: str, outcomes: Sequence[TreeOutcome], variant: str) -> TreeCell:
    evidence, examples, backings = [], [], set()
    for outcome in outcomes:
        asked, example = outcome.asked.get(clause, 0), outcome.examples.get(clause)
        if not asked and example is None:
            continue
        engine, violated = f"search {outcome.job.search.name}", example is not None
        drawn = outcome.job.search.plan.programs or outcome.job.schedule
        rung = FUZZED if drawn else EXHAUSTIVE
        evidence.append(evidence_of(outcome, engine, rung, asked, violated=violated))
        if example is not None:
            examples.append(example)
            backings.add(outcome.job.search.form.backing)
    if examples:
        best = min(examples, key=lambda e: (e.length, len(e.labels))).with_model(variant)
        return TreeCell(clause, "violated", "", evidence, best, backings=frozenset(backings))
    if evidence:
        return TreeCell(clause, "holds", "", evidence)
    missing = NOT_NOTED if clause.startswith("LOCK") else NO_SITUATION
    return TreeCell(clause, "unchecked", COMPILED.not_asked().get(clause, missing))


def changes_of_trees(base: dict[str, TreeCell], patched: dict[str, TreeCell]) -> Changes:
    """Compare the verdicts on two trees.

    What one of them breaks counts as mended by the patch, or as new, only where the search that
    shows it came as far on the other too.
    """
    found = Changes()
    unseen, other = (
        TreeCell("", "unchecked", reach=next(iter(cells.values())).reach)
        for cells in (base, patched)
    )
    for clause in dict.fromkeys([*base, *patched]):
        was, now = base.get(clause, unseen), patched.get(clause, other)
        old, new = was.example, now.example
        longer = new.length - old.length if old is not None and new is not None else 0
        compared = _covers(new, was) and _covers(old, now)
        found.enter(
            clause, before=old is not None, now=new is not None, longer=longer, compared=compared
        )
    return found


def broken_on_both(cells: Mapping[str, Mapping[str, TreeCell]]) -> list[str]:
    """Return the clauses that every tree breaks, but those of accesses, which are told by line."""
    first, *others = cells.values()
    return [
        clause
        for clause, cell in first.items()
        if cell.example is not None and not clause.startswith("LOCK")
        and all(clause in of and of[clause].example is not None for of in others)
    ]


def _covers(example: TreeExample | None, other: TreeCell) -> bool:
    """Whether the search that shows an example would have shown it on the other tree.

    One that stops where a patch adds accesses is the patched tree's alone.
    """
    if example is None or example.search.startswith(STOPS):
        return True
    return other.reach.get(example.search, 0) >= max(example.length, 1)


KM_COUNTS: Final = frozenset({"FLT-1", "POP-1", "POP-3"})
"""What breaks where km counts a chunk's pages once for each unit."""


def undeclared(
    cells: dict[str, TreeCell], variant: str, km_counts: Callable[[], bool]
) -> list[str]:
    """Return what a tree breaks that the model of the kernel does not declare.

    km_counts: whether its km backing counts a chunk's pages once for each unit, which is known.
    """
    declared = variant_class(variant).EXPECTED
    return [
        c
        for c, cell in cells.items()
        if cell.example is not None
        and c not in declared
        and not (c in KM_COUNTS and cell.backings == {"km"} and km_counts())
    ]


def not_asked_of(cells: dict[str, TreeCell]) -> dict[str, str]:
    """Return the clauses that were not judged, each with the reason."""
    return {c: cell.reason for c, cell in cells.items() if cell.verdict == "unchecked"}


REFUSES_NOTHING: Final = (
    "refuses no free that names no live area: such a free is its caller's error"
)
MOST_STOPS: Final = 64
"""Places at which actors stand still because a patch makes an access there."""
_QUICK_NOTED: Final = ("accesses in pages", "accesses in only-isolated")


@dataclass(frozen=True, slots=True)
class TreeResults:
    """What was found of a tree, and of what patches make of it.

    trees: the base, and the patched one if there are patches. variant: the model of the base, with
    the reason. changed: what the patches change, None without any. undeclared: what is broken that
    the model does not declare. new_accesses: without pcpu_lock, that the patches add.
    not_searched: searches that were left out, and why.
    """

    trees: Sequence[CompiledTree]
    variant: str
    because: str
    cells: dict[str, dict[str, TreeCell]]  # of each tree, by clause
    changed: Changes | None
    undeclared: list[str]
    outcomes: Sequence[TreeOutcome]
    new_accesses: Sequence[AccessSite]
    not_searched: dict[str, str]
    planned: int  # searches
    cached: int  # of the outcomes, from earlier runs
    interrupted: bool

    @property
    def patches(self) -> Sequence[Path]:
        """The patches of the newest tree."""
        return self.trees[-1].tree.patches

    @property
    def base(self) -> str:
        """What the base is called."""
        return f"Linux {self.trees[0].tree.name}"

    @property
    def newest(self) -> str:
        """What the tree with all patches is called."""
        names = ", ".join(path.name for path in self.patches)
        return f"{self.base} with {names}" if names else self.base

    @property
    def newest_cells(self) -> dict[str, TreeCell]:
        """The cells of the patched tree, of the base without patches."""
        return self.cells[self.trees[-1].name]

    @property
    def accesses(self) -> list[AccessSite]:
        """The accesses without pcpu_lock of the newest tree."""
        return accesses(self.outcomes, self.trees[-1].name)

    @property
    def unexpected(self) -> list[str]:
        """What the patches newly break; without any, what the model does not declare."""
        return self.undeclared if self.changed is None else self.changed.new


def searches_for(
    names: Sequence[str], *, quick: bool = False, deep: bool = False, page: int = 4096
) -> list[TreeSearch]:
    """Return the searches of a review. Raises InputError for a name that is none.

    page: its size in bytes; scenarios are of one alone.
    """
    known = {
        search.name: at_page(search, page)
        for search in (*QUICK, UNNAMED, *access_searches(), *DRAWN)
        if search.plan.longest or page == search.plan.geometry.page
    }
    require_searches(names, known)
    chosen = [known[name] for name in names or known]
    if quick:  # of those that note accesses one of lists and one of schedules are enough
        return [s for s in map(shallower, chosen) if not s.notes_accesses or s.name in _QUICK_NOTED]
    return [deeper(search) for search in chosen] if deep else chosen


def results_of(
    trees: Sequence[CompiledTree],
    searches: Sequence[TreeSearch],
    workers: Workers,
    tell: Callable[[TreeOutcome], None] = lambda outcome: None,
) -> TreeResults:
    """Judge a tree, and what patches make of it; Ctrl-C ends it with what is done.

    tell gets each outcome when it is there. Raises InputError for a tree that cannot be used.
    """
    planned: list[TreeJob] = []
    outcomes: list[TreeOutcome] = []
    model = trees[0].model
    not_searched = unsupported(trees, searches)
    searches = [one for one in searches if one.name not in not_searched]
    cache = TreeCache(workers.cache, trees)
    cached = 0

    def search(more: list[TreeJob]) -> bool:
        """Run more jobs; return whether there may be more still."""
        nonlocal cached
        planned.extend(more)
        if workers.dask is None:
            done, known, stopped = workers.run(more, run, cache, tell)
        else:
            done, known, stopped = workers.run([*map(parcel, more)], run_parcel, None, tell)
        outcomes.extend(done)
        cached += known
        return not stopped and not any(outcome.interrupted for outcome in done)

    interrupted = not (
        search(jobs_for(trees, [one for one in searches if not one.plan.programs]))
        and search(_second_round(trees, searches, outcomes))
        and search(crosses(trees, outcomes))
    )
    new = added_accesses(outcomes)
    cells = {tree.name: verdicts(outcomes, tree.name, model.name) for tree in trees}
    unknown = undeclared(cells[trees[-1].name], model.name, trees[0].km_counts)
    changed = changes_of_trees(cells[BASE], cells[PATCHED]) if len(trees) > 1 else None
    if changed is not None and not interrupted:
        examples = {c: cells[PATCHED][c].example for c in broken_on_both(cells)}
        following = schedules(trees[0], examples)
        done, interrupted = spread([*following.values()], run, jobs=workers.jobs)
        if following and not interrupted:
            both = zip(following, done, strict=True)
            changed.otherwise.extend(c for c, o in both if c not in o.examples)
    if not _refused(outcomes):
        refusing = [one.name for one in searches if one.plan.refuses]
        not_searched |= dict.fromkeys(refusing, f"the tree {REFUSES_NOTHING}")
        for of in cells.values():
            of["API-2"].reason = f"{trees[0].tree.name} {REFUSES_NOTHING}"
    because = trees[0].between or model.because
    return TreeResults(
        trees, model.name, because, cells, changed, unknown, outcomes, new, not_searched,
        len(planned), cached, interrupted,
    )  # fmt: skip


def _refused(outcomes: Sequence[TreeOutcome]) -> bool:
    """Return whether the base refuses frees that name no live area, so that some were tried."""
    return any(outcome.job.search.plan.refuses for outcome in outcomes)


def _second_round(
    trees: Sequence[CompiledTree], searches: Sequence[TreeSearch], outcomes: Sequence[TreeOutcome]
) -> list[TreeJob]:
    """Return the jobs that draw programs, and those that stop where a patch adds accesses."""
    drawing = [search for search in searches if search.plan.programs]
    if _refused(outcomes):
        drawing = [one.with_plan(refuses=True) for one in drawing]
    places = tuple(sorted({entry.pc for entry in added_accesses(outcomes)})[:MOST_STOPS])
    stopping = jobs_for(trees[-1:], stopping_at(places, searches)) if places else []
    return [
        replace(job, known=broken_on(outcomes, job.tree)) for job in jobs_for(trees, drawing)
    ] + stopping


def added_accesses(outcomes: Sequence[TreeOutcome]) -> list[AccessSite]:
    """Return the accesses without pcpu_lock that only the patched tree makes."""
    base = [entry.access for entry in accesses(outcomes, BASE)]
    patched = {entry.access: entry for entry in accesses(outcomes, PATCHED)}
    return [patched[access] for access in new_accesses(base, patched)]
