"""What is new against the base: of a patch against its tree, of a variant against its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from percpu_proofs.review.matrix import Cell
from percpu_reference.variants import RELEASES, VARIANTS, base_of


@dataclass(frozen=True, slots=True)
class Changes:
    """What changes of the verdicts: lists of clauses.

    open: broken on one of the two; on the other the search that shows it did not come as far.
    otherwise: of those broken on both, what is broken by a schedule that the base survives.
    """

    new: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    shorter: list[str] = field(default_factory=list)
    longer: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    otherwise: list[str] = field(default_factory=list)

    def enter(
        self, clause: str, *, before: bool, now: bool, longer: int, compared: bool
    ) -> None:
        """Put a clause, broken before or now, into the list for it; others into none.

        longer: operations that break it now more than before. compared: where it is broken on one
        alone, whether the search that shows it came as far on the other.
        """
        if before and now:
            same = self.shorter if longer < 0 else self.longer
            (same if longer else self.unchanged).append(clause)
        elif before or now:
            changed = self.new if now else self.mended
            (changed if compared else self.open).append(clause)


def bases(variants: Sequence[str]) -> dict[str, str]:
    """Return the variants that a shipped one is compared with, each with that."""
    shipped = VARIANTS | RELEASES
    return {name: base_of(name) for name in variants if name not in shipped}


def changes(name: str, cells: Sequence[Cell]) -> Changes:
    """Compare a variant with its base by their cells.

    What a base breaks of which there are no cells is what it declares, which its own review
    confirms; then nothing is shorter or longer.
    """
    base = base_of(name)
    mine = {cell.clause: cell for cell in cells if cell.variant == name}
    theirs = {cell.clause: cell for cell in cells if cell.variant == base}
    declared = (VARIANTS | RELEASES)[base].EXPECTED
    found = Changes()
    for clause, now in mine.items():
        was = theirs.get(clause)
        broken = now.verdict == "violated"
        if was is None or was.verdict == "unchecked":
            broken_before = clause in declared
        else:
            broken_before = was.verdict == "violated"
        if broken or now.verdict == "holds":
            compared = _covers(now, was) if broken else was is None or _covers(was, now)
            longer = 0 if was is None else _longer(was, now)
            found.enter(
                clause, before=broken_before, now=broken, longer=longer, compared=compared
            )
    return found


def _longer(was: Cell, now: Cell) -> int:
    """Return by how many operations a counterexample is longer; only the shortest are compared."""
    old, new = was.example, now.example
    if old is None or new is None or not (old.shortest and new.shortest):
        return 0
    return new.length - old.length


def _covers(broken: Cell, other: Cell | None) -> bool:
    """Whether the search that shows a counterexample would have shown it on the other too."""
    if other is None or broken.example is None:
        return True
    return other.reach.get(broken.engine, 0) >= broken.example.length


def lost(name: str, cells: Mapping[str, Cell], base: Mapping[str, Cell]) -> dict[str, list[str]]:
    """Return the mechanisms that the base shows and a variant does not, by clause."""
    return {
        clause: names
        for clause, cell in cells.items()
        if cell.verdict == "violated" and clause in base
        if (names := [
            finding
            for finding, example in cell.mechanisms.items()
            if example is None and base[clause].mechanisms.get(finding) is not None
        ])
    }  # fmt: skip
