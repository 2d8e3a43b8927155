"""The record of known counterexamples, from the review itself, so that both count the same.

`python tests/known_records.py` writes it anew, and the mails of the README and the guides that show
some of them: after a change of the model these have other tokens. Tests say whether it is to be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from click.testing import CliRunner

from percpu_proofs.cli import main
from percpu_proofs.data import folder
from percpu_proofs.explore.token import Token, examples_of, read_token
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


def with_mails(page: str) -> str:
    """Return a page with its mails as they are printed now: the known one with the same steps."""

    def printed(block: re.Match[str]) -> str:
        tokens = [t for t in examples_of(block["clause"]) if t.variant == block["variant"]]
        mails = [CliRunner().invoke(main, ["replay", str(t), "--mail"]).stdout for t in tokens]
        steps = block["mail"].partition("Before:")[2].partition("Searched:")[0]
        return block["head"] + next(mail for mail in mails if steps in mail)

    head = r"(?P<head><!-- mail: (?P<variant>\w+) (?P<clause>[A-Z]+-\d) -->\n```text\n)"
    return re.sub(head + r"(?P<mail>.*?\n)(?=```)", printed, page, flags=re.DOTALL)


if __name__ == "__main__":
    whole = "".join(f"{line}\n" for line in records(reviewed()))
    (folder("counterexamples") / "known.jsonl").write_text(whole, "utf-8")
    top = Path(__file__).parents[1]
    for page in (top / "README.md", *top.glob("proofs/guide/*.md")):
        page.write_text(with_mails(page.read_text("utf-8")), "utf-8")
