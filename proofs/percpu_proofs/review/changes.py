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
        if was is None or was.verdict == "unchecked":
            broken_before = clause in declared
        else:
            broken_before = was.verdict == "violated"
        if now.verdict == "violated" and broken_before:
            _where(found, was, now).append(clause)
        elif now.verdict == "violated":
            (found.new if _came_to(now, was) else found.open).append(clause)
        elif now.verdict == "holds" and broken_before:
            compared = was is None or _came_to(was, now)
            (found.mended if compared else found.open).append(clause)
    return found


def _where(found: Changes, was: Cell | None, now: Cell) -> list[str]:
    """Return the list for what is broken before and after; only the shortest are compared."""
    old, new = was.example if was is not None else None, now.example
    if old is None or new is None or not (old.shortest and new.shortest):
        return found.unchanged
    difference = new.length - old.length
    return found.unchanged if not difference else found.shorter if difference < 0 else found.longer


def _came_to(broken: Cell, other: Cell | None) -> bool:
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
