"""Writes the counterexamples that ship with the package, as a review of all variants has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from percpu_proofs.explore.examples import keep
from percpu_proofs.explore.token import Token, read_token
from percpu_proofs.review import results
from percpu_proofs.review.matrix import Cell
from percpu_reference.variants import DEFAULT, VARIANTS


def tokens(cells: Iterable[Cell]) -> Iterator[Token]:
    """Yield the counterexample of each cell, and those of further mechanisms behind it."""
    for cell in cells:
        found = [cell.example, *cell.mechanisms.values()]
        shown = dict.fromkeys(example.token for example in found if example and example.token)
        yield from map(read_token, shown)


if __name__ == "__main__":
    keep(tokens(results.cells((DEFAULT, *VARIANTS))))
