"""Counterexamples that reviews have found, one of each clause that a variant breaks, or more.

They are kept without the hash that a token has, so that they outlive a change of the code; whether
each still breaks its clause a test says. `python -m percpu_proofs.review.ship` writes them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from percpu_proofs.data import folder
from percpu_proofs.explore.token import Token


@cache
def examples() -> tuple[Token, ...]:
    """Return all that is known, the newest kernel's first."""
    return tuple(_token(json.loads(line)) for line in _file().read_text("utf-8").splitlines())


def examples_of(clause: str) -> list[Token]:
    """Return the counterexamples of a clause, the newest kernel's first."""
    return [token for token in examples() if token.clause == clause]


def keep(tokens: Iterable[Token]) -> None:
    """Write what is known, in the place of what was."""
    lines = [json.dumps(_said(token)) for token in tokens]
    _file().write_text("\n".join(lines) + "\n", "utf-8")


def _file() -> Path:
    return folder("counterexamples") / "known.jsonl"


def _said(token: Token) -> dict[str, object]:
    """Return what a line says; what is empty it leaves out."""
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
    return {name: value for name, value in said.items() if value}


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
