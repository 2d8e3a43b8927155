"""A tree and what a patch makes of it, side by side: the verdict of every clause on both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from percpu_contracts.registry import COMPILED
from percpu_proofs import data
from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.build import CompileError, Library, compile_search
from percpu_proofs.kernel.search.accesses import Access, Noted
from percpu_proofs.kernel.search.job import TreeExample, TreeJob, TreeOutcome, with_model
from percpu_proofs.kernel.search.judge import CRASH
from percpu_proofs.kernel.search.plans import STOPS, TreeSearch
from percpu_proofs.kernel.tree import Tree, apply_patch, copy_tree, read_tree, unpack
from percpu_reference.variants import DEFAULT, variant_class
from percpu_spec.catalogue import clauses
from percpu_spec.geometry import Backing

BASE: Final = "base"
PATCHED: Final = "patched"


@dataclass(slots=True)
class CompiledTree:
    """A tree with its searches compiled, each backing when it is asked for first."""

    name: str  # base or patched
    tree: Tree
    folder: Path
    stub: Path | None
    patches: Sequence[Path] = ()
    libraries: dict[tuple[Backing, bool], Library] = field(default_factory=dict)

    def library(self, search: TreeSearch) -> Library:
        """Return the library for a search. Raises InputError for a tree that does not compile."""
        wanted = search.backing, search.noted
        if wanted not in self.libraries:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                library = compile_search(
                    self.tree, self.folder, search.backing,
                    stub=self.stub, noted=search.noted, shared=self.folder.parent,
                )  # fmt: skip
            except CompileError as error:
                raise error.in_patch(self.tree, self.patches) from None
            self.libraries[wanted] = library
        return self.libraries[wanted]


@contextmanager
def compiled_trees(
    source: Path, patches: Sequence[Path] = (), stub: Path | None = None
) -> Iterator[list[CompiledTree]]:
    """Give the tree of a folder or archive, and, with patches, a patched copy behind it.

    Raises InputError for what cannot be used.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="percpu-spec-")))
        top = unpack(source, folder / "unpacked") if source.is_file() else source
        base = read_tree(top)
        trees = [CompiledTree(BASE, base, folder / BASE, stub)]
        if patches:
            patched = copy_tree(base, folder / "patched-source")
            for patch in patches:
                apply_patch(patched, patch)
            trees.append(CompiledTree(PATCHED, patched, folder / PATCHED, stub, patches))
        yield trees


def jobs_for(trees: Sequence[CompiledTree], searches: Sequence[TreeSearch]) -> list[TreeJob]:
    """Return all jobs; the two trees' turns alternate. Raises InputError."""
    one_of_each = {(search.backing, search.noted): search for search in searches}.values()
    for search in one_of_each:  # what is the same for all is compiled with the first
        trees[0].library(search)
    with ThreadPoolExecutor() as pool:  # the compiler's processes side by side
        list(pool.map(lambda pair: pair[0].library(pair[1]), product(trees, one_of_each)))
    return [
        TreeJob(tree.name, tree.library(search), search)
        for search in searches
        for tree in trees
    ]


def accesses(outcomes: Sequence[TreeOutcome], tree: str) -> list[Noted]:
    """Return the accesses without pcpu_lock that the searches of a tree have noted."""
    found: dict[Access, Noted] = {}
    for outcome in outcomes:
        if outcome.job.tree == tree:
            for entry in outcome.accesses:
                found.setdefault(entry.access, entry)
    return [found[access] for access in sorted(found)]


@dataclass(slots=True)
class TreeCell:
    """What is known of one clause on one tree."""

    clause: str
    verdict: str  # holds, violated or unchecked
    reason: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list)
    example: TreeExample | None = None
    whole: frozenset[str] = frozenset()  # searches that came to their end

    def as_json(self) -> dict[str, Any]:
        """Return the cell with plain values only."""
        e = self.example
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "evidence": self.evidence,
            "counterexample": None
            if e is None
            else {
                "message": e.message,
                "operations": [*e.setup, *e.retraced.operations],
                "schedule": list(e.labels),
                "length": e.length,
                "search": e.search,
                "token": e.token,
                "steps": [rung.as_json() for rung in e.retraced.rungs],
                "stopped": e.retraced.stopped,
                "model_token": e.on_model.token,
                "model_reason": e.on_model.reason,
            },
        }


def verdicts(outcomes: Sequence[TreeOutcome], tree: str) -> dict[str, TreeCell]:
    """Return the cell of every clause on a tree; that the kernel stops is one too, if it does."""
    mine = [outcome for outcome in outcomes if outcome.job.tree == tree]
    whole = frozenset(outcome.job.search.name for outcome in mine if outcome.complete)
    cells = {clause: _cell(clause, mine) for clause in (*clauses(), CRASH)}
    for cell in cells.values():
        cell.whole = whole
    if cells[CRASH].verdict != "violated":
        del cells[CRASH]
    return cells


def _cell(clause: str, outcomes: Sequence[TreeOutcome]) -> TreeCell:
    evidence, examples = [], []
    for outcome in outcomes:
        asked, example = outcome.asked.get(clause, 0), outcome.examples.get(clause)
        if not asked and example is None:
            continue
        evidence.append(
            {
                "engine": f"search {outcome.job.search.name}",
                "rung": "explored exhaustively within a bound",
                "bound": outcome.bound,
                "count": asked,
                "seconds": round(outcome.seconds, 2),
                "violated": example is not None,
                "complete": outcome.complete,
            }
        )
        if example is not None:
            examples.append((example, outcome.job.search.plan))
    if examples:
        best, plan = min(examples, key=lambda e: (e[0].length, len(e[0].labels)))
        best = with_model(best, plan)
        return TreeCell(clause, "violated", "", evidence, best)
    if evidence:
        return TreeCell(clause, "holds", "", evidence)
    reason = COMPILED.not_asked().get(clause, "its situation occurred in no search of this review")
    return TreeCell(clause, "unchecked", reason)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a patch changes of the verdicts: lists of clauses."""

    new: list[str]
    mended: list[str]
    shorter: list[str]
    longer: list[str]
    unchanged: list[str]

    def as_json(self) -> dict[str, list[str]]:
        """Return the lists by name."""
        return {
            "new": self.new, "mended": self.mended, "shorter": self.shorter,
            "longer": self.longer, "unchanged": self.unchanged,
        }  # fmt: skip


def changes(base: dict[str, TreeCell], patched: dict[str, TreeCell]) -> Changes:
    """Compare the verdicts on two trees.

    What one of them breaks counts as mended by the patch, or as new, only where the search that
    shows it came to its end on the other too; a search that only the patched tree has is its own.
    """
    found = Changes([], [], [], [], [])
    unseen, other = (
        TreeCell("", "unchecked", whole=next(iter(cells.values())).whole)
        for cells in (base, patched)
    )
    for clause in dict.fromkeys([*base, *patched]):
        was, now = base.get(clause, unseen), patched.get(clause, other)
        if now.example is not None and was.example is None:
            search = now.example.search
            if search in was.whole or search.startswith(STOPS):
                found.new.append(clause)
        elif was.example is not None and now.example is None:
            if was.example.search in now.whole:
                found.mended.append(clause)
        elif was.example is not None and now.example is not None:
            difference = now.example.length - was.example.length
            where = found.shorter if difference < 0 else found.longer
            (where if difference else found.unchanged).append(clause)
    return found


def undeclared(cells: dict[str, TreeCell], variant: str = DEFAULT) -> list[str]:
    """Return what a tree breaks that the model of the kernel does not declare."""
    declared = variant_class(variant).EXPECTED
    return [c for c, cell in cells.items() if cell.example is not None and c not in declared]


def not_asked(cells: dict[str, TreeCell]) -> dict[str, str]:
    """Return the clauses that were not judged, each with the reason."""
    return {c: cell.reason for c, cell in cells.items() if cell.verdict == "unchecked"}


def fix_patch(name: str) -> list[Path]:
    """Return the patches of a fix of `reference`. Raises InputError for one that is not there."""
    folder = data.folder("patches")
    found = sorted(folder.glob(f"{name}-*.patch")) or sorted(folder.glob(f"{name}.patch"))
    if not found:
        known = sorted({path.stem.partition("-")[0] for path in folder.glob("*.patch")})
        raise InputError("--fix", None, f"one of {', '.join(known)}", name)
    return found
