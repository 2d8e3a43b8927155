"""Counterexamples that reviews have found, one of each clause that a variant breaks, or more.

They are kept without the hash that a token has, so that they outlive a change of the code; whether
each still breaks its clause a test says. `python tests/known_records.py` writes them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

from percpu_proofs.data import folder
from percpu_proofs.explore.token import Token, compact


@cache
def examples() -> tuple[Token, ...]:
    """Return all that is known, the newest kernel's first."""
    text = (folder("counterexamples") / "known.jsonl").read_text("utf-8")
    return tuple(_token(json.loads(line)) for line in text.splitlines())


def examples_of(clause: str) -> list[Token]:
    """Return the counterexamples of a clause, the newest kernel's first."""
    return [token for token in examples() if token.clause == clause]


def from_record(token: Token) -> Token:
    """Return a token with what found it, if it says that itself or is the one of a record."""
    same = (known for known in examples() if not token.search and known.search)
    found = next((known for known in same if compact(known) == compact(token)), None)
    return token if found is None else replace(token, search=found.search)


def _token(said: dict[str, str]) -> Token:
    return Token(
        said["variant"],
        said["clause"],
        said["geometry"],
        _operations(said.get("setup", "")),
        _operations(said.get("actors", "")),
        int(said.get("works", 0)),
        tuple(map(int, said.get("schedule", "").split())),
        int(said.get("failures", 0)),
        bool(said.get("waiting", False)),
        said.get("search", ""),
    )


def _operations(said: str) -> tuple[str, ...]:
    return tuple(said.split("; ")) if said else ()
