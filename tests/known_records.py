"""The record of known counterexamples, from the review itself, so that both count the same.

`python tests/known_records.py` writes it anew; a deep test says whether it is to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from percpu_proofs.data import folder
from percpu_proofs.explore.token import Token, read_token
from percpu_proofs.review.cache import OutcomeCache
from percpu_proofs.review.jobs import ReviewRun, Workers
from percpu_proofs.review.matrix import Cell
from percpu_proofs.run.processes import default_jobs
from percpu_reference.variants import DEFAULT, MERGED, VARIANTS

RECORDED = tuple(dict.fromkeys((DEFAULT, MERGED, *VARIANTS)))
"""Variants of which counterexamples are kept, in the order of the record."""


def reviewed() -> list[Cell]:
    """Return the cells of these variants; what is not known from earlier runs is run."""
    review = ReviewRun(RECORDED)
    review.run(Workers(default_jobs(), cache=OutcomeCache()))
    if review.interrupted:
        raise KeyboardInterrupt
    return review.cells()


def records(found: Iterable[Cell]) -> Iterator[str]:
    """Yield a line for each counterexample that cells have, those of single findings behind."""
    for cell in found:
        shown = [cell.example, *cell.mechanisms.values()]
        tokens = [example.token for example in shown if example is not None and example.token]
        yield from (_line(read_token(token)) for token in dict.fromkeys(tokens))


def _line(token: Token) -> str:
    said: dict[str, object] = {
        "variant": token.variant,
        "clause": token.clause,
        "geometry": token.geometry,
        "setup": "; ".join(token.setup),
        "actors": "; ".join(token.actors),
        "works": token.works,
        "schedule": " ".join(map(str, token.schedule)),
        "failures": token.failures,
        "waiting": token.waiting,
        "search": token.search,
    }
    return json.dumps({name: value for name, value in said.items() if value})


if __name__ == "__main__":
    whole = "".join(f"{line}\n" for line in records(reviewed()))
    (folder("counterexamples") / "known.jsonl").write_text(whole, "utf-8")
