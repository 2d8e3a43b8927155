"""Linux trees of Debian's packages, changed as a patch would, and searched."""

from __future__ import annotations

from collections.abc import Callable
from difflib import unified_diff
from functools import cache
from pathlib import Path

from kernel_bugs import seeded
from kernel_trees import FOUND, tree_of
from search_bugs import Edit

from percpu_proofs.kernel.build import compile_search
from percpu_proofs.kernel.instance import Library
from percpu_proofs.kernel.search.job import TreeJob, TreeOutcome, run_here
from percpu_proofs.kernel.search.plans import DRAWN, QUICK, TreeSearch, access_searches
from percpu_proofs.kernel.search.trees import CompiledTree
from percpu_proofs.kernel.tree import Tree, copy_tree

SEARCHES = {search.name: search for search in (*QUICK, *DRAWN, *access_searches())}
SOURCE = "mm/percpu.c"
FREES = "size = pcpu_free_area(chunk, off);"
"""The statement of free_percpu under pcpu_lock that frees."""
WORK = "static void pcpu_balance_workfn(struct work_struct *work)\n{"
FEWEST = {
    "HINT-3": ("quarters", 3), "HINT-4": ("quarters", 4), "HINT-5": ("crumbs", 3),
    "LIST-2": ("crumbs", 4), "BAL-1": ("pages", 5), "BAL-2": ("pages", 3), "RCL-3": ("pages", 6),
}  # fmt: skip
"""What 6.12.117 and 6.1 break: which search shows it, with how many operations."""


@cache
def search_library(archive: Path, into: Path) -> Library:
    into.mkdir(exist_ok=True)
    return compile_search(tree_of(archive), into)


def outcome_of(
    tree: Tree, into: Path, search: TreeSearch, until: frozenset[str] = frozenset()
) -> TreeOutcome:
    """Search a tree; what is the same for all trees is compiled once into the folder above.

    until: what ends the search once one of them is broken, and alone is wanted then.
    """
    library = CompiledTree(tree, into).search_library(search)
    known = frozenset(FEWEST) if until else frozenset[str]()
    return run_here(TreeJob("base", library, search, known=known, until=until))


def edited(into: Path, edit: Edit) -> Tree:
    return changed(into, lambda text: seeded(text, edit.bug), edit.bug.file)


def changed(into: Path, change: Callable[[str], str], file: str = SOURCE) -> Tree:
    """Return a copy of the newest tree, with one file changed."""
    tree = copy_tree(tree_of(FOUND[-1]), into)
    path = tree.top / file
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))
    return tree


def freeing(added: str) -> Callable[[str], str]:
    """Return the change that adds a statement to free_percpu, behind the free itself."""
    return lambda text: text.replace(FREES, f"{FREES}\n\t{added}")


def write_patch(path: Path, change: Callable[[str], str]) -> Path:
    """Write a change of the newest tree's allocator as a patch."""
    text = (tree_of(FOUND[-1]).top / SOURCE).read_text()
    lines, new = text.splitlines(True), change(text).splitlines(True)
    path.write_text("".join(unified_diff(lines, new, f"a/{SOURCE}", f"b/{SOURCE}")))
    return path


def first_in_work(added: str) -> Callable[[str], str]:
    """Return the change that lets the balance work begin with a statement."""
    return lambda text: text.replace(WORK, f"{WORK}\n\t{added}")
