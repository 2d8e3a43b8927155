"""The review of variants: every clause, searched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from percpu_proofs.api.shown import Shown
from percpu_proofs.inputs import InputError
from percpu_proofs.review import results
from percpu_proofs.review.changes import bases, changes
from percpu_proofs.review.matrix import Cell
from percpu_proofs.review.plan import jobs_for
from percpu_proofs.spread import default_jobs
from percpu_reference.variants import variant_class, variant_name
from percpu_spec.catalogue import title


class Review(Shown):
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
            for word in ("holds", "unchecked", "not applicable"):
                named = [cell.clause for cell in mine if cell.verdict == word]
                if named:
                    text = f"{Path(variant).stem} {word}: {' '.join(named)}"
                    out.print(text, markup=False, soft_wrap=True)
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
    lines = [
        f"{Path(cell.variant).stem} breaks {cell.clause}, {how}: {title(cell.clause)}",
        f"  {example.message}",
        f"  {example.length} operations: {'; '.join((*example.setup, *example.actors))}",
        *([f"  percpu-spec replay {example.token}"] if example.token else []),
    ]
    out.print("\n".join(lines), markup=False, soft_wrap=True)


def review(
    *variants: str, searches: Sequence[str] = (), jobs: int | None = None, deep: bool = False
) -> Review:
    """Search variants for what breaks each clause: names, releases ("6.14"), files with a variant.

    It is what `percpu-spec review --variant` does: about a minute for one variant on two cores,
    processes of their own (in a script under `if __name__ == "__main__":`). searches: only those,
    by name (crumbs, race, reclaim-frees: `explain` tells what each is). jobs: processes, one a
    core unless given. Raises UnknownVariantError, VariantFileError, InputError for a search.
    """
    if not variants:
        raise InputError("review", None, "at least one variant")
    named = tuple(dict.fromkeys(map(variant_name, variants)))
    for name in named:
        variant_class(name)
    jobs_for(named, searches=tuple(searches))  # raises for one that is not there
    found = results.Review(named, deep, searches=tuple(searches))
    found.run(results.Workers(jobs or default_jobs()))
    return Review(named, found.cells(), found.partial)
