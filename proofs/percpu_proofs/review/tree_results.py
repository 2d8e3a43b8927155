"""What a review of a tree comes to: its searches run, or their outcomes taken from earlier runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from percpu_proofs.kernel.search.accesses import AccessSite, added
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome, run
from percpu_proofs.kernel.search.plans import (
    DRAWN,
    QUICK,
    UNNAMED,
    TreeSearch,
    at_page,
    deeper,
    noting,
    shallower,
    stopping_at,
)
from percpu_proofs.kernel.search.remote import parcel, run_parcel
from percpu_proofs.kernel.search.trees import (
    BASE,
    PATCHED,
    CompiledTree,
    accesses,
    broken_on,
    crosses,
    jobs_for,
    left_out,
    schedules,
)
from percpu_proofs.review.cache import TreeCache
from percpu_proofs.review.changes import Changes
from percpu_proofs.review.results import Workers
from percpu_proofs.review.trees import TreeCell, broken_on_both, changes, undeclared, verdicts
from percpu_proofs.run.inputs import InputError, one_of
from percpu_proofs.run.processes import spread

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
        for search in (*QUICK, UNNAMED, *noting(), *DRAWN)
        if search.plan.longest or page == search.plan.geometry.page
    }
    for name in names:
        if name not in known:
            raise InputError("--search", None, one_of(name, known), name)
    chosen = [known[name] for name in names or known]
    if quick:  # of those that note accesses one of lists and one of schedules are enough
        return [shallower(one) for one in chosen if not one.noted or one.name in _QUICK_NOTED]
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
    model = trees[0].model()
    not_searched = left_out(trees, searches)
    searches = [one for one in searches if one.name not in not_searched]
    kept = TreeCache(workers.cache if workers.dask is None else None, trees)

    def keep(outcome: TreeOutcome) -> None:
        kept.keep(outcome)
        tell(outcome)

    def search(more: list[TreeJob]) -> bool:
        """Run more jobs; return whether there may be more still."""
        planned.extend(more)
        known = [found for job in more if (found := kept.find(job)) is not None]
        for outcome in known:
            tell(outcome)
        ready = [outcome.job for outcome in known]
        left = [job for job in more if job not in ready]
        options: dict[str, Any] = {
            "jobs": workers.jobs, "dask": workers.dask, "on_done": workers.on_done, "keep": keep,
            "partial": True,
        }  # fmt: skip
        if workers.dask is None:
            done, stopped = spread(left, run, **options)
        else:
            done, stopped = spread([*map(parcel, left)], run_parcel, **options)
        outcomes.extend([*known, *done])
        return not stopped and not any(outcome.interrupted for outcome in done)

    interrupted = not (
        search(jobs_for(trees, [one for one in searches if not one.plan.programs]))
        and search(_second_round(trees, searches, outcomes))
        and search(crosses(trees, outcomes))
    )
    new = added_accesses(outcomes)
    cells = {tree.name: verdicts(outcomes, tree.name, model.name) for tree in trees}
    unknown = undeclared(cells[trees[-1].name], model.name, trees[0].km_counts)
    changed = changes(cells[BASE], cells[PATCHED]) if len(trees) > 1 else None
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
        len(planned), kept.kept, interrupted,
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
        drawing = [replace(one, plan=replace(one.plan, refuses=True)) for one in drawing]
    places = tuple(sorted({entry.pc for entry in added_accesses(outcomes)})[:MOST_STOPS])
    stopping = jobs_for(trees[-1:], stopping_at(places, searches)) if places else []
    return [
        replace(job, known=broken_on(outcomes, job.tree)) for job in jobs_for(trees, drawing)
    ] + stopping


def added_accesses(outcomes: Sequence[TreeOutcome]) -> list[AccessSite]:
    """Return the accesses without pcpu_lock that only the patched tree makes."""
    base = [entry.access for entry in accesses(outcomes, BASE)]
    patched = {entry.access: entry for entry in accesses(outcomes, PATCHED)}
    return [patched[access] for access in added(base, patched)]
