"""Verdicts per clause on the command line, never without what they rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from percpu_proofs.commands import output
from percpu_proofs.run.runner import ClauseVerdict, counted
from percpu_spec.catalogue import title as title_of

_COLUMNS = ("clause", "what", "verdict", "evidence")


def show_verdicts(
    out: Console,
    verdicts: Sequence[ClauseVerdict],
    variant: str,
    bound: str,
    noun: str = "operation",
) -> None:
    """Print a row for each clause that was asked, name the others, and sum up.

    noun says what the run was made of.
    """
    asked = [v for v in verdicts if v.verdict in ("holds", "violated")]
    if asked:
        out.print(output.table("clauses", _COLUMNS, [_row(v, noun) for v in asked]))
        for word, why in (
            ("unchecked", "at this level or in this run"),
            ("not applicable", f"to {variant}"),
        ):
            names = [v.clause for v in verdicts if v.verdict == word]
            if names:
                out.print(f"{word} {why}: {', '.join(names)}")
    output.say(out, _summary(verdicts, bound) if asked else bound)


def _row(verdict: ClauseVerdict, noun: str) -> tuple[object, ...]:
    """Return the table row of a clause that was asked."""
    title = title_of(verdict.clause)
    if verdict.verdict == "holds":
        evidence = f"asked {'once' if verdict.evaluations == 1 else f'{verdict.evaluations} times'}"
        if verdict.expected:
            evidence += "; this variant is expected to break it, which did not show here"
        return verdict.clause, title, Text("holds", "green"), evidence
    style = "yellow" if verdict.expected else "bold red"
    word = "violated, expected" if verdict.expected else "violated"
    evidence = (
        f"at {counted(verdict.count, noun)}, first {verdict.first} (line {verdict.line}): "
        f"{verdict.message}"
    )
    return verdict.clause, title, Text(word, style), evidence


def _summary(verdicts: Sequence[ClauseVerdict], bound: str) -> Text:
    """Return all verdicts in one line, with rung and bound."""
    counts = Counter(v.verdict for v in verdicts)
    violated = [v for v in verdicts if v.verdict == "violated"]
    unexpected = [v.clause for v in violated if not v.expected]
    found = "violated as expected of this variant"
    if unexpected:
        found = f"violated, {', '.join(unexpected)} unexpectedly"
    return Text(
        f"{bound}: {counts['holds']} clauses held, {len(violated)} {found}, "
        f"{counts['unchecked']} unchecked",
        "bold red" if unexpected else "bold",
    )
