"""Tokens of schedules of compiled code: one string that replays one on a tree."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from percpu_proofs.explore.packing import damaged, packed, unpacked
from percpu_proofs.kernel.search.compiled import SearchPlan
from percpu_spec.geometry import Geometry

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
        return packed(PREFIX, [self.clause, self.release, changed, self.labels])


def read_tree_token(text: str) -> TreeToken:
    """Return the token that a string stands for. Raises InputError if it is damaged."""
    value = unpacked(PREFIX, text)
    try:
        clause, release, plan, labels = value
        return TreeToken(str(clause), str(release), _plan(plan), tuple(map(int, labels)))
    except (ValueError, TypeError, KeyError):
        raise damaged(text) from None


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
    Geometry().with_changes(plan.sizes).require_kernel()
    return plan
