"""What a word names, as a block for a mail."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from percpu_proofs.counterexample.of_model import mechanism
from percpu_proofs.counterexample.words import Names
from percpu_proofs.explain import Explanation
from percpu_proofs.explore.rerun import parts_of
from percpu_proofs.explore.token import Token, compact, examples_of
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.show.mail import LINES, WIDTH, block, command, listing, plain, quoted
from percpu_spec.counts import counted
from percpu_spec.releases import RELEASES, of_variant

_FIRST = ("statement", "says", "what", "formal", "when", "kernel", "since", "known", "expected",
          "breaks", "fix", "patches", "upstream")  # fmt: skip
"""What is told first, in this order; the rest follows as far as there is room."""
_LABELS = {"statement": "", "says": "", "what": "", "expected": "Broken by",
           "known": "Known on 6.12 as", "not_applicable": "Not asked of"}  # fmt: skip
_LEFT_OUT = ("id", "title", "also", "chapter", "code", "by_release", "not_applicable", "predicates",
           "state")  # fmt: skip
"""What stands in the head already, or is the project's own business."""
_APART = ("says", "change", "notes")
"""Texts of which each line is a statement or more; the lines of others are a paragraph's."""
_MOST = 9  # lines of one part
_LONGEST = 12  # lines of the command at the end


def explain_mail(word: str, entry: Explanation) -> list[str]:
    """Return the lines of a block for what a word names."""
    again = quoted("percpu-spec explain ", word)
    if len(again) > _LONGEST:
        again = ["percpu-spec log FILE, with these lines in FILE"]
    short = len(again) == 1 and len(again[0]) < WIDTH - len("More: ")
    where = again[0] if short else "see the last line"
    names = [*(n for n in _FIRST if n in entry), *(n for n in entry if n not in _FIRST)]
    parts = []
    for name in names:
        words = "" if name in _LEFT_OUT else _in_words(name, entry[name], str(entry["id"]))
        label = _LABELS.get(name, name.capitalize().replace("_", " "))
        if words:
            text, indent = (f"{label}: {words}", "  ") if label else (words, "")
            parts.append(block(text, _MOST, where, indent))
    head = [*block(f"{entry['id']}: {entry['title']}", 3, where, "  "), ""]
    tail = list(_example(str(entry["id"])))
    if short:
        tail += ["", f"More: {where}" if tail else where]
    else:
        tail += ["", *(["More:"] if tail else []), *again]
    more = "... {} more parts: see the last line"
    return plain([*head, *listing(parts, LINES - len(head) - len(tail), more), *tail])


def _in_words(name: str, value: Any, clause: str) -> str:
    """Return a field of an explanation in words."""
    if name == "expected":
        return _broken(clause, value)
    if isinstance(value, dict):
        return "; ".join(f"{key}: {why}" for key, why in value.items())
    if isinstance(value, list):
        return "; ".join(map(_record, value))
    lines = [" ".join(line.split()) for line in str(value or "").split("\n") if line]
    if name in _APART:
        lines = [line if line[-1] in ".:;!?" else f"{line}." for line in lines]
    return " ".join(lines)


def _broken(clause: str, declared: Mapping[str, str]) -> str:
    """Return by what variants break a clause, those alike together, and releases that do not.

    declared: findings or another reason, by variant.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for variant, reason in declared.items():
        row = of_variant(variant)
        count = row.breaks.get(clause) if row is not None else None
        after = f", {counted(count, 'operation')} of compiled code" if count is not None else ""
        alike.setdefault((reason, after), []).append(_named(variant))
    parts = [f"{', '.join(names)}: {reason}{after}" for (reason, after), names in alike.items()]
    mended = [row for row in RELEASES if declared and row.variant not in declared]
    known = any(row.variant in declared for row in RELEASES)
    if known and mended:
        parts.append(f"not by {', '.join(_named(row.variant) for row in mended)}")
    return "; ".join(parts)


def _named(variant: str) -> str:
    """Return a variant, with the releases that do as it does."""
    row = of_variant(variant)
    return variant if row is None else f"{variant} ({row.releases})"


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
    token = min(newest, key=_count)
    yield ""
    yield from block(_operations(token), 6, "see the reproducer", "  ")
    yield from command(f"percpu-spec replay {token}")


def _count(token: Token) -> int:
    """Return how many operations a counterexample has, runs of the work left out."""
    return sum(text != "b" for text in (*token.setup, *token.actors))


def _operations(token: Token) -> str:
    token = compact(token)
    names = Names([*token.scenario.prepared, *token.scenario.concurrent])
    found = []
    for how, texts in parts_of(token):
        words = "; ".join(map(names.words, parse_operations(Path("token"), texts).operations))
        found.append(f"{how}: {words}" if how else words)
    known = re.findall(r"\b[LR]\d+\b", mechanism(token))
    by = f" ({', '.join(known)})" if known else ""
    count = counted(_count(token), "operation")
    return f"The model {token.variant} breaks it in {count}: {'; '.join(found)}{by}"
