"""Tokens of schedules of compiled code: one string that replays one on a tree."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from dataclasses import asdict, dataclass
from typing import Any

from percpu_proofs.inputs import InputError
from percpu_proofs.kernel.search.compiled import SearchPlan

PREFIX = "percputree1."


@dataclass(frozen=True, slots=True)
class TreeToken:
    """A schedule of a plan, the clause that it breaks, and the release that it was found on."""

    clause: str
    release: str
    plan: SearchPlan
    labels: tuple[int, ...]

    def __str__(self) -> str:
        plan = asdict(self.plan)
        default = asdict(SearchPlan("", ()))
        changed = {k: v for k, v in plan.items() if k in ("sizes", "operations") or v != default[k]}
        body = json.dumps([self.clause, self.release, changed, self.labels], separators=(",", ":"))
        packed = zlib.compress(body.encode(), 9)
        return PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_tree_token(text: str) -> TreeToken:
    """Return the token that a string stands for. Raises InputError if it is damaged."""
    body = text.strip().removeprefix(PREFIX)
    try:
        packed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        clause, release, plan, labels = json.loads(zlib.decompress(packed))
        return TreeToken(str(clause), str(release), _plan(plan), tuple(map(int, labels)))
    except (ValueError, TypeError, KeyError, zlib.error, binascii.Error):
        raise InputError("token", None, "a whole token; this one is damaged", text[:40]) from None


def _plan(fields: dict[str, Any]) -> SearchPlan:
    for name in ("operations", "setup"):
        if name in fields:
            fields[name] = tuple(
                (str(kind), int(arg), int(size), int(align), bool(reserved), int(gfp))
                for kind, arg, size, align, reserved, gfp in fields[name]
            )
    for name in ("faults", "points", "stops_at"):
        if name in fields:
            fields[name] = tuple(fields[name])
    plan = SearchPlan(**fields)
    plan.geometry  # noqa: B018 - raises for sizes that no kernel boots with
    return plan
