"""A schedule on the command line: a ladder with a lane for each actor, and memory at each step."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from percpu_proofs.explore.ladder import Rung


def show_ladder(out: Console, setup: tuple[str, ...], rungs: list[Rung]) -> None:
    """Print a ladder from its first step down."""
    out.print(f"setup: {'; '.join(setup)}")
    width = max((len(rung.lanes) for rung in rungs), default=0)
    numbers = " ".join(str(n % 10) for n in range(width))
    out.print(
        f"     {numbers}  lanes: * moves, | stands in a gap, M and holds pcpu_alloc_mutex",
        markup=False,
    )
    margin = " " * 5
    for rung in rungs:
        lanes = " ".join(rung.lanes.ljust(width))
        idle = " ".join(rung.lanes.replace("*", _standing(rung)).ljust(width))
        failed = ", memory refused" if rung.failed else ""
        out.print(
            f"{rung.number:4} {lanes}  actor {rung.actor} [{rung.operation}] {rung.from_gap} -> "
            f"{rung.to_gap}{failed}",
            style="bold",
            markup=False,
        )
        owners = f"L {'taken and released' if rung.locked else 'not taken'}, M "
        owners += "free" if rung.holder is None else f"held by actor {rung.holder}"
        floats = " and ".join(map(str, rung.floats))
        out.print(f"{margin}{idle}    {owners}, float {floats}", markup=False)
        for line in rung.memory:
            out.print(f"{margin}{idle}    {line}", markup=False)
        for name, wrong in rung.broken:
            out.print(f"{margin}{idle}    {name} broken: {wrong}", style="red", markup=False)


def _standing(rung: Rung) -> str:
    """Return the lane of the actor that moved, below its step."""
    if rung.to_gap.startswith("done"):
        return " "
    return "M" if rung.holder == rung.actor else "|"


def plain(rung: Rung) -> dict[str, Any]:
    """Return a rung with plain values only."""
    return {
        "step": rung.number,
        "actor": rung.actor,
        "operation": rung.operation,
        "memory_refused": rung.failed,
        "from": rung.from_gap,
        "to": rung.to_gap,
        "lock_taken": rung.locked,
        "mutex_holder": rung.holder,
        "mutex": rung.holder is not None,
        "floats": list(rung.floats),
        "memory": list(rung.memory),
        "broken": dict(rung.broken),
    }
