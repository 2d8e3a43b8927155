"""`percpu-spec explore` and `replay`: schedules, searched and run again."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from percpu_proofs.commands import output
from percpu_proofs.explore.ladder import Rung, climb
from percpu_proofs.explore.minimise import Counterexample, minimise
from percpu_proofs.explore.sampling import Strategy, sample
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import SCENARIOS
from percpu_proofs.explore.search import Explored, Search
from percpu_proofs.explore.token import Token, read_token
from percpu_proofs.explore.world import World
from percpu_proofs.inputs import InputError
from percpu_reference import DEFAULT
from percpu_spec.catalogue import clause

_MODES = ("matching", "commuting", "all")
_DRAWN = 10_000  # schedules, where only --pct is given


@click.command()
@click.argument("scenario", required=False)
@click.option("--variant", default=DEFAULT, show_default=True, help="The algorithm to run.")
@click.option(
    "--mode",
    type=click.Choice(_MODES),
    default="matching",
    show_default=True,
    help="Match worlds met before; leave out swaps of steps that commute; or run all schedules.",
)
@click.option("--max-steps", type=click.IntRange(min=1), help="Stop after so many steps.")
@click.option("--random", "schedules", type=click.IntRange(min=1), help="Draw so many schedules.")
@click.option("--pct", "depth", type=click.IntRange(min=1), help="Draw them by PCT of this depth.")
@click.option("--seed", type=int, default=0, show_default=True, help="For drawing schedules.")
@output.json_option
def explore(
    scenario: str | None,
    variant: str,
    mode: str,
    max_steps: int | None,
    schedules: int | None,
    depth: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Search all schedules of SCENARIO; without one, list the scenarios.

    Every state is judged. A clause that is broken is shown with a small counterexample and a token
    for replay.
    """
    if scenario is None:
        _list(as_json)
        return
    chosen = SCENARIOS.get(scenario)
    if chosen is None:
        raise InputError("SCENARIO", None, f"one of {', '.join(SCENARIOS)}", scenario)
    start = chosen.start(variant)
    if schedules or depth:
        strategy: Strategy = "pct" if depth else "uniform"
        count = schedules or _DRAWN
        result = sample(start, count, seed=seed, strategy=strategy, depth=depth or 1)
    else:
        result = Search(start, mode, max_steps=max_steps).run()  # type: ignore[arg-type]
    found = {name: minimise(chosen, variant, name) for name in sorted(result.findings)}
    tokens = {name: _token(variant, name, c) for name, c in found.items() if c is not None}
    expected = chosen.expected.get(variant)
    as_expected = expected is None or not result.complete or expected == result.findings.keys()
    if as_json:
        output.print_json(_as_json(chosen, variant, result, found, tokens, as_expected))
    else:
        _show(output.console(), chosen, variant, result, found, tokens, as_expected)
    if not as_expected:
        raise SystemExit(output.DIFFERS)


@click.command()
@click.argument("token")
@output.json_option
def replay(token: str, as_json: bool) -> None:
    """Run the schedule of TOKEN again and show each step with its memory map.

    A token is refused when the code of its variant has changed since.
    """
    read = read_token(token)
    rungs = list(climb(World(read.scenario.start(read.variant)), read.schedule))
    broken = sorted({name for rung in rungs for name, _ in rung.broken})
    if as_json:
        output.print_json(
            {
                "variant": read.variant,
                "clause": read.clause,
                "broken": broken,
                "setup": list(read.setup),
                "actors": list(read.actors),
                "steps": [_plain(rung) for rung in rungs],
            }
        )
    else:
        out = output.console()
        out.print(f"{read.variant}: {read.clause}, {clause(read.clause).title}", style="bold")
        _show_ladder(out, read.setup, rungs)
    if read.clause not in broken:
        raise SystemExit(output.DIFFERS)


def _token(variant: str, name: str, c: Counterexample) -> Token:
    s = c.scenario
    return Token(variant, name, s.geometry, s.setup, s.actors, s.works, c.finding.schedule)


def _list(as_json: bool) -> None:
    if as_json:
        output.print_json({s.name: {"what": s.what} for s in SCENARIOS.values()})
        return
    rows = [(s.name, s.what, len(s.setup) + len(s.actors)) for s in SCENARIOS.values()]
    output.console().print(output.table("scenarios", ("name", "what", "operations"), rows))


def _bound(result: Explored) -> str:
    """Return how far a search went, in words."""
    if not result.complete and result.mode == "drawn":
        return f"{result.schedules:,} schedules drawn at random; not all were searched"
    if not result.complete:
        return f"stopped after {result.steps} steps; not all schedules were searched"
    ways = {
        "matching": "explored exhaustively, states matched",
        "commuting": "explored exhaustively up to the order of steps that commute",
        "all": "explored exhaustively, every schedule run",
    }
    return ways[result.mode]


def _show(
    out: Console,
    scenario: Scenario,
    variant: str,
    result: Explored,
    found: dict[str, Counterexample | None],
    tokens: dict[str, Token],
    as_expected: bool,
) -> None:
    out.print(
        output.pairs(
            [
                ("scenario", f"{scenario.name}: {scenario.what}"),
                ("variant", variant),
                ("bound", _bound(result)),
                ("schedules", f"{result.schedules:,}"),
                ("states", f"{result.states:,}" if result.states else "not counted"),
                ("depth", result.depth),
                ("seconds", result.seconds),
                ("situations", ", ".join(f"{k} {n}" for k, n in sorted(result.situations.items()))),
            ]
        )
    )
    for name, counterexample in found.items():
        out.print(f"\n{name} is broken: {clause(name).title}", style="bold red")
        if counterexample is None:
            continue
        out.print(
            f"{counterexample.operations} operations, none of which can be left out; "
            f"{counterexample.preemptions} preemptions, the fewest that do it"
        )
        token = tokens[name]
        rungs = list(climb(World(token.scenario.start(variant)), token.schedule))
        _show_ladder(out, token.setup, rungs)
        out.print(f"replay: percpu-spec replay {token}", soft_wrap=True)
    if not found:
        out.print("no clause is broken within this bound", style="bold")
    if not as_expected:
        expected = ", ".join(sorted(scenario.expected[variant])) or "none"
        out.print(f"expected of {variant}: {expected}", style="bold red")


def _show_ladder(out: Console, setup: tuple[str, ...], rungs: list[Rung]) -> None:
    out.print(f"setup: {'; '.join(setup)}")
    for rung in rungs:
        lock = "M held" if rung.mutex else "      "
        out.print(
            f"{rung.number:3} actor {rung.actor} [{rung.operation}] {rung.from_gap} -> "
            f"{rung.to_gap}   {lock} float {rung.floating}",
            style="bold",
            markup=False,
        )
        for line in rung.memory:
            out.print(f"      {line}", markup=False)
        for name, wrong in rung.broken:
            out.print(f"      {name} broken: {wrong}", style="red", markup=False)


def _plain(rung: Rung) -> dict[str, Any]:
    return {
        "step": rung.number,
        "actor": rung.actor,
        "operation": rung.operation,
        "from": rung.from_gap,
        "to": rung.to_gap,
        "mutex": rung.mutex,
        "float": rung.floating,
        "memory": list(rung.memory),
        "broken": dict(rung.broken),
    }


def _as_json(
    scenario: Scenario,
    variant: str,
    result: Explored,
    found: dict[str, Counterexample | None],
    tokens: dict[str, Token],
    as_expected: bool,
) -> dict[str, Any]:
    return {
        "scenario": scenario.name,
        "variant": variant,
        "mode": result.mode,
        "bound": _bound(result),
        "complete": result.complete,
        "states": result.states,
        "schedules": result.schedules,
        "steps": result.steps,
        "depth": result.depth,
        "seconds": round(result.seconds, 3),
        "situations": result.situations,
        "as_expected": as_expected,
        "violations": {
            name: {
                "message": result.findings[name].message,
                "operations": c.operations if c else None,
                "preemptions": c.preemptions if c else None,
                "schedule": list(c.finding.schedule) if c else None,
                "token": str(tokens[name]) if c else None,
            }
            for name, c in found.items()
        },
    }
