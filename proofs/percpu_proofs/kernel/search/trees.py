"""A tree and what a patch makes of it, compiled to be searched side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Final

from percpu_proofs import data
from percpu_proofs.kernel.build import TreeBuild, compile_search, patched_tree
from percpu_proofs.kernel.changes import BetweenError, refuses_again
from percpu_proofs.kernel.instance import BuildForm, KernelStopped, Library
from percpu_proofs.kernel.model import ModelVariant, probe
from percpu_proofs.kernel.search.accesses import Access, AccessSite
from percpu_proofs.kernel.search.example import TreeExample
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome
from percpu_proofs.kernel.search.plans import TreeSearch
from percpu_proofs.kernel.tree import BACKINGS
from percpu_proofs.run.inputs import InputError
from percpu_reference.variants import of_release

BASE: Final = "base"
PATCHED: Final = "patched"


@dataclass
class CompiledTree(TreeBuild):
    """A tree with its searches compiled too, each form when it is asked for first."""

    name: str = BASE  # or PATCHED
    searchable: dict[tuple[BuildForm, bool], Library] = field(default_factory=dict)
    between: str = ""  # why its version tells the variant, where its probes do not

    def search_library(self, search: TreeSearch) -> Library:
        """Return the library for a search. Raises InputError for a tree that does not compile."""
        wanted = search.form, search.notes_accesses
        if wanted not in self.searchable:
            self.searchable[wanted] = compile_search(
                self.tree, self.folder, search.form,
                stub=self.stub, notes_accesses=search.notes_accesses, shared=self.folder.parent,
            )  # fmt: skip
        return self.searchable[wanted]

    @cached_property
    def model(self) -> ModelVariant:
        """The variant that the tree is. Raises InputError.

        One between two known behaviours is taken for that of its version: clauses are asked of any.
        """
        library = self.library()
        with suppress(KernelStopped):  # a search shows it
            try:
                return probe(library)
            except BetweenError as error:
                self.between = f"by its version alone; {error}"
                return probe(library, of_release(self.tree.name))
        return ModelVariant()

    def km_counts(self) -> bool:
        """Return whether km counts a chunk's pages once for each unit. Raises InputError."""
        return self.library(BuildForm("km")).one_unit

    @cached_property
    def refuses(self) -> bool:
        """Whether it refuses a second free of an area (API-2). Raises InputError."""
        return refuses_again(self.library())


@contextmanager
def compiled_trees(
    source: Path, patches: Sequence[Path] = (), stub: Path | None = None
) -> Iterator[list[CompiledTree]]:
    """Give the tree of a folder or archive, and, with patches, a patched copy behind it.

    Raises InputError for what cannot be used.
    """
    with patched_tree(source, patches) as (folder, base, patched):
        trees = [CompiledTree(base, folder / BASE, stub)]
        if patches:
            trees.append(CompiledTree(patched, folder / PATCHED, stub, name=PATCHED))
        yield trees


def jobs_for(trees: Sequence[CompiledTree], searches: Sequence[TreeSearch]) -> list[TreeJob]:
    """Return all jobs; the two trees' turns alternate. Raises InputError.

    Searches of every list with wrong frees are left out where the first tree, the base, does not
    refuse them (API-2).
    """
    asking = [one for one in searches if one.plan.refuses and not one.plan.programs]
    if asking and not trees[0].refuses:
        searches = [one for one in searches if one not in asking]
    one_of_each = {(search.form, search.notes_accesses): search for search in searches}.values()
    for search in one_of_each:  # what is the same for all is compiled with the first
        trees[0].search_library(search)
    with ThreadPoolExecutor() as pool:  # the compiler's processes side by side
        list(pool.map(lambda pair: pair[0].search_library(pair[1]), product(trees, one_of_each)))
    return [
        TreeJob(tree.name, tree.search_library(search), search)
        for search in searches
        for tree in trees
    ]


def unsupported(trees: Sequence[CompiledTree], searches: Sequence[TreeSearch]) -> dict[str, str]:
    """Return the searches that cannot be made on all of the trees, each with why not."""
    return {
        search.name: f"the tree has no {BACKINGS[search.form.backing]}"
        for search in searches
        if not all(tree.tree.has(search.form.backing) for tree in trees)
    }


def broken_on(outcomes: Sequence[TreeOutcome], tree: str) -> frozenset[str]:
    """Return the clauses of which the searches of a tree have a counterexample."""
    return frozenset(c for o in outcomes if o.job.tree == tree for c in o.examples)


def crosses(trees: Sequence[CompiledTree], outcomes: Sequence[TreeOutcome]) -> list[TreeJob]:
    """Return jobs that follow what was drawn on one tree alone on the other.

    What chance has found on one may be there on both.
    """
    jobs = []
    for outcome in outcomes:
        for tree in trees:
            for clause in sorted(outcome.examples.keys() - broken_on(outcomes, tree.name)):
                example = outcome.examples[clause]
                if outcome.job.search.plan.programs and example.labels:
                    search = replace(outcome.job.search, plan=example.plan)
                    jobs.append(_following(tree, search, example))
    return jobs


def schedules(tree: CompiledTree, examples: Mapping[str, TreeExample | None]) -> dict[str, TreeJob]:
    """Return for each clause the job that follows its counterexample on a tree."""
    jobs = {}
    for clause, example in examples.items():
        if example is not None and example.labels and not example.plan.stops_at:
            search = TreeSearch(example.search, clause, example.plan)
            jobs[clause] = _following(tree, search, example)
    return jobs


def _following(tree: CompiledTree, search: TreeSearch, example: TreeExample) -> TreeJob:
    return TreeJob(tree.name, tree.search_library(search), search, schedule=example.labels)


def accesses(outcomes: Sequence[TreeOutcome], tree: str) -> list[AccessSite]:
    """Return the accesses without pcpu_lock that the searches of a tree have noted."""
    found: dict[Access, AccessSite] = {}
    for outcome in outcomes:
        if outcome.job.tree == tree:
            for entry in outcome.accesses:
                found.setdefault(entry.access, entry)
    return [found[access] for access in sorted(found)]


def fix_patch(name: str) -> list[Path]:
    """Return the patches of a fix of `reference`. Raises InputError for one that is not there."""
    folder = data.folder("patches")
    found = sorted(folder.glob(f"{name}-*.patch")) or sorted(folder.glob(f"{name}.patch"))
    if not found:
        known = sorted({path.stem.partition("-")[0] for path in folder.glob("*.patch")})
        raise InputError("--fix", None, f"one of {', '.join(known)}", name)
    return found
