"""The review of variants, or of a kernel tree and a patch: every clause, searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import overload

from rich.console import Console

from percpu_proofs.api.results import Display, parameters, require
from percpu_proofs.commands import options, output, review_tree
from percpu_proofs.review.jobs import ReviewRun, Workers
from percpu_proofs.review.matrix import Cell, Changes, bases, changes
from percpu_proofs.review.trees import TreeCell, TreeResults, results_of, searches_for
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.processes import default_jobs
from percpu_reference.variants import variant_name
from percpu_spec.catalogue import title
from percpu_spec.counts import counted


class Review(Display):
    """The cells of a review: for each variant and clause the verdict, its evidence, its example.

    Indexed by a clause, or by a variant and a clause where there are several. True if every verdict
    is the declared one; if partial, as not every search was done, if none contradicts it.
    """

    def __init__(self, variants: Sequence[str], cells: Sequence[Cell], partial: bool) -> None:
        self.variants, self.cells, self.partial = tuple(variants), tuple(cells), partial

    def __getitem__(self, name: str | tuple[str, str]) -> Cell:
        """Return a cell. Raises KeyError."""
        variant, clause = (self.variants[0], name) if isinstance(name, str) else name
        for cell in self.cells:
            if (cell.variant, cell.clause) == (variant, clause):
                return cell
        raise KeyError(name)

    def __bool__(self) -> bool:
        return not self.unexpected

    @property
    def broken(self) -> list[Cell]:
        """The cells with a counterexample, the shortest first."""
        found = [cell for cell in self.cells if cell.example is not None]
        return sorted(found, key=lambda cell: cell.example.length if cell.example else 0)

    @property
    def unexpected(self) -> list[Cell]:
        """The cells that are not as declared."""
        return [cell for cell in self.cells if not cell.as_expected]

    @property
    def changes(self) -> dict[str, list[str]]:
        """Of variants in files: clauses newly broken and mended against the class they extend."""
        every = [changes(name, self.cells) for name in bases(self.variants)]
        return {
            kind: list(dict.fromkeys(c for one in every for c in getattr(one, kind)))
            for kind in ("new", "mended")
        }

    def show(self, out: Console) -> None:
        """Print for each variant what holds in a line and what is broken, unexpected first."""
        for variant in self.variants:
            mine = [cell for cell in self.cells if cell.variant == variant]
            named = output.grouped((cell.verdict, cell.clause) for cell in mine)
            for word in ("holds", "unchecked", "not applicable"):
                if word in named:
                    output.say(out, f"{Path(variant).stem} {word}: {' '.join(named[word])}")
            for cell in sorted(self.broken, key=lambda cell: cell.as_expected):
                if cell.variant == variant:
                    _show(out, cell)
        if self.partial:
            out.print("not every search was done: what did not show here may show in others")


def _show(out: Console, cell: Cell) -> None:
    """Print one broken clause and how to run its counterexample again."""
    example = cell.example
    assert example is not None
    how = "as declared" if cell.as_expected else "NOT DECLARED"
    output.say(out, f"{Path(cell.variant).stem} breaks {cell.clause}, {how}: {title(cell.clause)}")
    output.say(out, f"  {example.message}")
    text = "; ".join((*example.setup, *example.actors))
    output.say(out, f"  {counted(example.length, 'operation')}: {text}")
    if example.token:
        output.say(out, f"  percpu-spec replay {example.token}")


class TreeReview(Display):
    """The cells of a review of a kernel tree, and of what patches make of it.

    Indexed by a clause (of the patched tree, without patches of the tree), or by "base" or
    "patched" and a clause. True if the patches newly break nothing; without any, if the tree breaks
    no more than the model of it declares. If partial, not every search was done.
    """

    def __init__(self, results: TreeResults, partial: bool) -> None:
        self._results = results
        self.trees = tuple(results.cells)
        self.partial = partial or results.interrupted

    def __getitem__(self, name: str | tuple[str, str]) -> TreeCell:
        """Return a cell. Raises KeyError."""
        if isinstance(name, str):
            return self._results.newest_cells[name]
        return self._results.cells[name[0]][name[1]]

    def __bool__(self) -> bool:
        return not self.unexpected

    @property
    def broken(self) -> dict[str, TreeCell]:
        """The cells with a counterexample, by clause, the shortest first."""
        cells = self._results.newest_cells
        examples = {c: cell.example for c, cell in cells.items() if cell.example}
        shortest = sorted(examples, key=lambda clause: examples[clause].length)
        return {clause: cells[clause] for clause in shortest}

    @property
    def unexpected(self) -> list[str]:
        """What the patches newly break; without any, what the model does not declare."""
        return self._results.unexpected

    @property
    def changes(self) -> dict[str, list[str]]:
        """Clauses by what patches do to them: new, mended, shorter, longer and more."""
        return asdict(self._results.changed or Changes())

    def show(self, out: Console) -> None:
        """Print what is new, or broken, with how to run its counterexample again."""
        review_tree.show(out, self._results)
        if self.partial:
            out.print("not every search was done: what did not show here may show in others")


@overload
def review(
    *variants: str, searches: Sequence[str] = (), jobs: int | None = None, deep: bool = False
) -> Review: ...
@overload
def review(
    *,
    source: str | Path,
    patches: Sequence[str | Path] = (),
    fixes: Sequence[str] = (),
    searches: Sequence[str] = (),
    jobs: int | None = None,
    deep: bool = False,
) -> TreeReview: ...
@parameters()
def review(
    *variants: str,
    source: str | Path | None = None,
    patches: Sequence[str | Path] = (),
    fixes: Sequence[str] = (),
    searches: Sequence[str] = (),
    jobs: int | None = None,
    deep: bool = False,
) -> Review | TreeReview:
    """Search variants, or a kernel tree and what patches make of it, for what breaks each clause.

    variants: names, releases ("6.14"), files with a variant. source: a Linux source tree; patches:
    files, in their order; fixes: those of `reference` behind them, by name. It is what
    `percpu-spec review` does with --variant, or with --source and --patch: about a minute for one
    variant or patch on two cores, processes of their own (in a script under
    `if __name__ == "__main__":`). searches: only those, by name (crumbs, race, reclaim-frees:
    `explain` tells what each is). jobs: processes, one a core unless given. Raises
    UnknownVariantError, VariantFileError, InputError for a search, a tree or a patch.
    """
    for name in variants:
        require("variants", name, 'names, releases as text ("7.1"), or files', str)
    if source is not None:
        require("source", source, "a Linux source tree", str, Path)
        if variants:
            raise InputError("review", None, "variants, or a tree (source=), not both")
        given = [patches] if isinstance(patches, str | Path) else patches
        tree = options.TreeOptions(Path(source), tuple(map(Path, given)), tuple(fixes), None)
        chosen = searches_for(searches, deep=deep)
        with tree.compiled() as trees:
            found = results_of(trees, chosen, Workers(jobs or default_jobs()))
        return TreeReview(found, bool(searches))
    if patches or fixes:
        raise InputError("review", None, "a tree (source=) beside patches and fixes")
    if not variants:
        raise InputError("review", None, "at least one variant, or a tree (source=)")
    named = tuple(dict.fromkeys(map(variant_name, variants)))
    done = ReviewRun(named, deep, searches=tuple(searches))
    done.run(Workers(jobs or default_jobs()))
    return Review(named, done.cells(), done.partial)
