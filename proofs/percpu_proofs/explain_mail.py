"""What a word names, as a block for a mail."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from percpu_proofs.counterexample.words import Names
from percpu_proofs.explore.alphabet import WORK
from percpu_proofs.explore.examples import examples_of
from percpu_proofs.explore.token import Token
from percpu_proofs.mailing import LINES, WIDTH, block, command, listing, plain, quoted
from percpu_proofs.runs import counted
from percpu_proofs.words import Explanation

_FIRST = ("statement", "says", "what", "formal", "when", "kernel", "since", "known", "by_release",
          "breaks", "fix", "patches", "upstream")  # fmt: skip
"""What is told first, in this order; the rest follows as far as there is room."""
_LABELS = {"statement": "", "says": "", "what": "", "by_release": "Broken by",
           "known": "Known on 6.12 as", "not_applicable": "Not asked of",
           "expected": "Declared broken by"}  # fmt: skip
_UNTOLD = ("id", "title", "also", "chapter", "code", "expected", "not_applicable", "predicates",
           "state")  # fmt: skip
"""What stands in the head already, or is the project's own business."""
_APART = ("says", "change", "notes")
"""Texts of which each line is a statement or more; the lines of others are a paragraph's."""
_MOST = 9  # lines of one part
_LONGEST = 12  # lines of the command at the end


def explain_mail(word: str, found: Explanation) -> list[str]:
    """Return the lines of a block for what a word names."""
    asked = quoted("percpu-spec explain ", word)
    if len(asked) > _LONGEST:
        asked = ["percpu-spec log FILE, with these lines in FILE"]
    short = len(asked) == 1 and len(asked[0]) < WIDTH - len("More: ")
    where = asked[0] if short else "see the last line"
    names = [*(n for n in _FIRST if n in found), *(n for n in found if n not in _FIRST)]
    parts = []
    for name in names:
        said = "" if name in _UNTOLD else _said(name, found[name])
        label = _LABELS.get(name, name.capitalize().replace("_", " "))
        if said:
            text, indent = (f"{label}: {said}", "  ") if label else (said, "")
            parts.append(block(text, _MOST, where, indent))
    head = [*block(f"{found['id']}: {found['title']}", 3, where, "  "), ""]
    tail = list(_example(str(found["id"])))
    if short:
        tail += ["", f"More: {where}" if tail else where]
    else:
        tail += ["", *(["More:"] if tail else []), *asked]
    more = "... {} more parts: see the last line"
    return plain([*head, *listing(parts, LINES - len(head) - len(tail), more), *tail])


def _said(name: str, value: Any) -> str:
    """Return a field of an explanation in words."""
    if name == "by_release":
        return "; ".join(
            f"{', '.join(row['releases'] for row in rows)} "
            + ("not" if breaks == "no" else breaks)
            for breaks, rows in groupby(value, lambda row: row["breaks it"])
        )
    if isinstance(value, dict):
        return "; ".join(f"{key}: {why}" for key, why in value.items())
    if isinstance(value, list):
        return "; ".join(map(_record, value))
    lines = [" ".join(line.split()) for line in str(value or "").split("\n") if line]
    if name in _APART:
        lines = [line if line[-1] in ".:;!?" else f"{line}." for line in lines]
    return " ".join(lines)


def _record(record: dict[str, str]) -> str:
    """Return a record in words; of a line of a contract, whose it is and what it says."""
    if "says" in record and "condition" in record:
        return f"{record.get('function', '')} {record['says']}".strip().rstrip(".")
    return " ".join(str(value) for value in record.values() if value)


def _example(clause: str) -> Iterator[str]:
    """Yield the shortest counterexample that is known of the newest kernel that breaks a clause."""
    known = examples_of(clause)
    if not known:
        return
    newest = [token for token in known if token.variant == known[0].variant]
    token = min(newest, key=lambda one: len(one.setup) + len(one.actors))
    yield ""
    yield from block(_operations(token), 6, "see the reproducer", "  ")
    yield from command(f"percpu-spec replay {token}")


def _operations(token: Token) -> str:
    setup, actors = token.scenario.prepared, token.scenario.concurrent
    names = Names([*setup, *actors])
    work = sum(operation == WORK for operation in (*setup, *actors))
    count = counted(len(setup) + len(actors) - work, "operation")
    if work:
        count += f" and {counted(work, 'run')} of the work"
    said = f"{token.variant} breaks it in {count}: "
    said += "; ".join(map(names.words, setup))
    together = "; ".join(map(names.words, actors))
    at_once = "then at once with the work" if token.schedule else "then"
    return f"{said}; {at_once}: {together}" if setup else f"{said}{together}"
