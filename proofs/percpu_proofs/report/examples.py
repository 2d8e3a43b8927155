"""The counterexamples of a variant's verdict, each mechanism of a clause with its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from percpu_proofs.counterexample import of_token
from percpu_proofs.report.bars import ChunkBars
from percpu_proofs.report.walks import Walkthrough, walk
from percpu_proofs.review.jobs import ReviewExample
from percpu_proofs.review.matrix import Cell
from percpu_spec.counts import counted


def place_of(cell: Cell) -> str:
    """Return the id of the first counterexample of a verdict."""
    return f"walk-{cell.clause}-{Path(cell.variant).stem}"


def walks(cell: Cell, bars: ChunkBars) -> Iterator[Walkthrough]:
    """Yield the counterexamples of a verdict: the shortest, then those of further mechanisms."""
    shown: set[str] = set()
    known = {example.token: name for name, example in cell.mechanisms.items() if example}
    if cell.example is not None and cell.example.token:
        shown.add(cell.example.token)
        why = known.get(cell.example.token, "")
        yield _walk(cell, cell.example, bars, place_of(cell), cell.found_by, why)
    for name, example in cell.mechanisms.items():
        if example is not None and example.token and example.token not in shown:
            shown.add(example.token)
            place = f"{place_of(cell)}-{name}"
            yield _walk(cell, example, bars, place, cell.sought.get(name, ""), name)


def _walk(
    cell: Cell, example: ReviewExample, bars: ChunkBars, place: str, how: str, why: str
) -> Walkthrough:
    """Return one counterexample; why: the finding that it shows, if one is known."""
    of = of_token(example.token or "", how)
    if why:
        of = replace(of, mechanism=why)
    shortest = "the fewest within its bound" if example.shortest else "maybe not the fewest"
    note = f"{counted(example.length, 'operation')}, {shortest}: {how}"
    return walk(of, bars, place, note, f"percpu-spec replay {example.token}")
