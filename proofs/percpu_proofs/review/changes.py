"""What is new against the base: of a patch against its tree, of a variant against its class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from percpu_proofs.review.matrix import Cell
from percpu_proofs.review.mechanisms import still_shows
from percpu_reference.variants import RELEASES, VARIANTS, base_of, variant_class
from percpu_reference.variants.composition import FINDINGS, findings_in, mended_by


@dataclass(frozen=True, slots=True)
class Changes:
    """What changes of the verdicts: lists of clauses.

    A clause that is still broken, but by one mechanism more or less, is listed with that: "RCL-3 by
    R1" is new or mended then.
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

    def enter_mechanisms(self, clause: str, new: Sequence[str], gone: Sequence[str]) -> None:
        """Put a clause into lists by the findings that break it newly, and no longer."""
        self.new.extend(entry_of(clause, name) for name in new)
        self.mended.extend(entry_of(clause, name) for name in gone)
        if (new or gone) and clause in self.unchanged:
            self.unchanged.remove(clause)


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
            compared = _came_to(now, was) if broken else was is None or _came_to(was, now)
            longer = 0 if was is None else _longer(was, now)
            found.enter(
                clause, before=broken_before, now=broken, longer=longer, compared=compared
            )
        if broken and broken_before:
            reasons = (declared.get(clause, ""), variant_class(name).EXPECTED.get(clause, ""))
            found.enter_mechanisms(clause, *_mechanisms(now, was, *map(findings_in, reasons)))
    return found


def _longer(was: Cell, now: Cell) -> int:
    """Return by how many operations a counterexample is longer; only the shortest are compared."""
    old, new = was.example, now.example
    if old is None or new is None or not (old.shortest and new.shortest):
        return 0
    return new.length - old.length


def _came_to(broken: Cell, other: Cell | None) -> bool:
    """Whether the search that shows a counterexample would have shown it on the other too."""
    if other is None or broken.example is None:
        return True
    return other.reach.get(broken.engine, 0) >= broken.example.length


def entry_of(clause: str, finding: str) -> str:
    """Return a clause as `Changes` lists it where only one mechanism of several changes."""
    return f"{clause} by {finding}"


def parts_of(entry: str) -> tuple[str, str]:
    """Return the clause of an entry of `Changes`, and the mechanism, if it is about one alone.

    >>> parts_of("RCL-3 by R1"), parts_of("RCL-3")
    (('RCL-3', 'R1'), ('RCL-3', ''))
    """
    clause, _, finding = entry.partition(" by ")
    return clause, finding


def _mechanisms(
    now: Cell, was: Cell | None, before: Sequence[str], after: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the findings by which a clause, broken before and now, is broken newly, and no longer.

    before, after: those that the base and the variant declare it broken by.
    """
    if not (before and after):
        return [], []
    new = [name for name in after if name not in before and now.example_of(name) is not None]
    gone = []
    for name in before:
        old = None if was is None else was.example_of(name)
        if was is not None and old is None:
            continue  # nothing is known to be gone
        if name in after:
            if name in now.mechanisms and now.mechanisms[name] is None:
                gone.append(name)
        elif old is not None and old.token and set(after) <= set(FINDINGS):
            others = tuple(one for one in after if name not in mended_by(one))
            if not still_shows(old.token, now.clause, now.variant, others):
                gone.append(name)
    return new, gone
