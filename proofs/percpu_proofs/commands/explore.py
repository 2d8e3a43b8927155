"""`percpu-spec explore` and `replay`: schedules, searched and run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from percpu_contracts.registry import SEARCH
from percpu_proofs.commands import output
from percpu_proofs.commands.counterexamples import show
from percpu_proofs.commands.tree_options import ChosenTree, tree_options
from percpu_proofs.commands.trees import explore_tree
from percpu_proofs.counterexample import of_schedule
from percpu_proofs.explore.modes import cross_check, search
from percpu_proofs.explore.parallel import Spread
from percpu_proofs.explore.sampling import Strategy
from percpu_proofs.explore.scenario import Scenario, ScenarioVerdict
from percpu_proofs.explore.scenario_file import read_scenario
from percpu_proofs.explore.scenarios import FOLDER, SCENARIOS
from percpu_proofs.explore.search import Exploration, Mode, ScheduleFinding
from percpu_proofs.explore.shrink_schedule import Minimum, minimise
from percpu_proofs.explore.start import Start
from percpu_proofs.explore.token import Token
from percpu_proofs.refine.allocator import DEPARTURE, may_depart
from percpu_proofs.run.inputs import InputError, one_of
from percpu_proofs.run.processes import default_jobs
from percpu_reference import DEFAULT
from percpu_reference.variants import variant_class
from percpu_spec.catalogue import REFINE, title

_MODES = ("matching", "commuting", "dpor", "all")
_BRUTE = 1_000_000  # steps of each mode, for a cross-check
_DRAWN = 10_000  # schedules, where only --pct is given
_DEEPEST = 1000  # more constraints than schedules have steps hit nothing more


@click.command()
@click.argument("scenario", required=False)
@click.option(
    "--variant", callback=output.named_variant,
    help=f"The algorithm to run.  [default: {DEFAULT}, or the newest that SCENARIO speaks of]",
)
@click.option(
    "--mode",
    type=click.Choice(_MODES),
    default="matching",
    show_default=True,
    help="Match worlds met before; leave out swaps of steps that commute, by sleep sets or by "
    "dynamic partial-order reduction; or run all schedules.",
)
@click.option(
    "--refine/--no-refine",
    default=True,
    show_default=True,
    help="Compare every step with the abstract machine of the variant.",
)
@click.option(
    "--cross-check", "crossed", is_flag=True, help="Search in every mode and compare what is found."
)
@click.option("--max-steps", type=click.IntRange(min=1), help="Stop after so many steps.")
@click.option("--random", "schedules", type=click.IntRange(min=1), help="Draw so many schedules.")
@click.option(
    "--pct", "depth", type=click.IntRange(1, _DEEPEST),
    help=f"Draw them by PCT of this depth; {_DRAWN:,} unless --random says how many.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="For drawing schedules.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Processes that share all schedules (--mode all), or those drawn. [default: one a core]",
)
@click.option("--dask", metavar="ADDRESS", help="Share them on this dask scheduler's cluster.")
@click.option("--list", "listing", is_flag=True, help="List the scenarios of the package.")
@tree_options
@output.json_option
def explore(
    scenario: str | None,
    variant: str | None,
    mode: Mode,
    refine: bool,
    crossed: bool,
    max_steps: int | None,
    schedules: int | None,
    depth: int | None,
    seed: int,
    jobs: int | None,
    dask: str | None,
    listing: bool,
    tree: ChosenTree | None,
    as_json: bool,
) -> None:
    """Search all schedules of SCENARIO; without one, list the scenarios.

    SCENARIO is the name of one, or a FILE with one of your own; `explore --list` prints where those
    of the package are, to be copied. With --source the code of a kernel tree runs in the place of a
    variant. Every state is judged. A clause that is broken is shown with a small counterexample and
    a token for replay. Exit 1 where what is found is not what the scenario expects of the variant,
    or else what the variant declares.
    """
    if listing or scenario is None:
        if mode != "matching" or crossed or max_steps or schedules or depth or jobs or dask:
            raise InputError("SCENARIO", None, f"one of {', '.join(SCENARIOS)}, or a file")
        _list(as_json)
        return
    chosen = _chosen(scenario)
    if tree is not None:
        shared = dask or (jobs or 1) > 1
        if mode != "matching" or crossed or max_steps or schedules or depth or shared:
            raise InputError("--source", None, "SCENARIO alone beside it: states are matched")
        explore_tree(chosen, tree, as_json)
        return
    drawing = bool(schedules or depth)
    if drawing and (crossed or max_steps or mode != "matching"):
        raise InputError(
            "--random, --pct", None, "none of --mode, --cross-check, --max-steps beside them"
        )
    variant = variant or chosen.usual_variant
    start = chosen.start(variant)
    if crossed:
        _cross(start, max_steps, as_json)
        return
    if not (mode == "all" or drawing) and (dask or (jobs or 1) > 1):
        raise InputError(
            "--dask" if dask else "--jobs", None,
            "--mode all, --random N or --pct DEPTH beside it: only their schedules can be shared; "
            f"--mode {mode} runs in one process",
            None if dask else str(jobs),
        )  # fmt: skip
    with output.progress_bar("explore") as bar:
        parts = Spread(jobs or default_jobs(), dask, bar)
        if drawing:
            strategy: Strategy = "pct" if depth else "uniform"
            result = parts.drawn(
                chosen,
                variant,
                schedules or _DRAWN,
                seed=seed,
                strategy=strategy,
                depth=depth or 1,
            )
        elif mode == "all":
            result = parts.every_schedule(chosen, variant, max_steps=max_steps, refine=refine)
        else:
            result = search(start, mode, max_steps=max_steps, refine=refine)
    departure = _departure(variant, result)
    found, interrupted = _small(chosen, variant, result)
    tokens = {name: _token(chosen, variant, result, name, c) for name, c in found.items()}
    as_expected = not result.complete or _is_expected(chosen, variant, result)
    if as_json:
        shown = _as_json(chosen, variant, result, found, tokens, as_expected)
        output.print_json(shown | {"departure": departure and departure.message})
    else:
        _show(output.console(), chosen, variant, result, found, tokens, as_expected)
        if departure is not None:
            token = Token.of(variant, REFINE, chosen, departure.schedule)
            said = f"note: it {DEPARTURE} (percpu-spec explain {REFINE}); {departure.message}"
            output.console().print(f"{said}\nreplay: percpu-spec replay {token}", soft_wrap=True)
    if interrupted:
        raise SystemExit(output.INTERRUPTED)
    if not as_expected:
        raise SystemExit(output.DIFFERS)


def _departure(variant: str, result: Exploration) -> ScheduleFinding | None:
    """Take from the findings a step that is no action of the machine where that is but a note."""
    return result.findings.pop(REFINE, None) if may_depart(variant_class(variant)) else None


def _small(
    scenario: Scenario, variant: str, result: Exploration
) -> tuple[dict[str, Minimum | None], bool]:
    """Return small counterexamples, None for one that is left as found, and whether Ctrl-C came."""
    found: dict[str, Minimum | None] = dict.fromkeys(sorted(result.findings))
    try:
        for name in () if result.interrupted else found:
            found[name] = minimise(scenario, variant, name)
    except KeyboardInterrupt:
        return found, True
    return found, result.interrupted


def _token(
    scenario: Scenario, variant: str, result: Exploration, name: str, small: Minimum | None
) -> Token:
    if small is None:
        return Token.of(variant, name, scenario, result.findings[name].schedule)
    return Token.of(variant, name, small.scenario, small.finding.schedule)


def _chosen(scenario: str) -> Scenario:
    """Return the scenario of a name, or of a file."""
    path = Path(scenario)
    if scenario not in SCENARIOS and (path.suffix or path.exists() or len(path.parts) > 1):
        return read_scenario(path)
    try:
        return SCENARIOS[scenario]
    except KeyError:
        expected = f"{one_of(scenario, SCENARIOS)}, or a file"
        raise InputError("SCENARIO", None, expected, scenario) from None


def _expected(scenario: Scenario, variant: str) -> ScenarioVerdict:
    """Return what is expected of a variant: what the scenario says, else what it declares."""
    return scenario.expected(variant) or ScenarioVerdict(
        None, frozenset(variant_class(variant).EXPECTED)
    )


def _is_expected(scenario: Scenario, variant: str, result: Exploration) -> bool:
    """Return whether what was found is what is expected; of what is declared any part will do."""
    states, broken = _expected(scenario, variant)
    if scenario.expected(variant) is None:
        return result.findings.keys() <= broken
    return result.findings.keys() == broken and states in (None, result.states or states)


def _list(as_json: bool) -> None:
    if as_json:
        output.print_json({s.name: {"what": s.what} for s in SCENARIOS.values()})
        return
    rows = [(s.name, s.what, len(s.setup) + len(s.actors)) for s in SCENARIOS.values()]
    out = output.console()
    out.print(output.table("scenarios", ("name", "what", "operations"), rows))
    out.print(f"each a file of {FOLDER}", soft_wrap=True, markup=False)


def _bound(result: Exploration) -> str:
    """Return how far a search went, in words."""
    if result.interrupted:
        return (
            f"interrupted: {result.schedules:,} schedules, {result.steps:,} steps; not all were "
            "searched"
        )
    if not result.complete and result.mode == "drawn":
        return f"{result.schedules:,} schedules drawn at random; not all were searched"
    if not result.complete:
        return f"stopped after {result.steps} steps; not all schedules were searched"
    ways = {
        "matching": "explored exhaustively, states matched",
        "commuting": "explored exhaustively up to the order of steps that commute, every state",
        "dpor": "explored exhaustively up to the order of steps that commute",
        "all": "explored exhaustively, every schedule run",
    }
    return ways[result.mode]


def _refined(result: Exploration) -> str:
    if not result.refined:
        return "not compared with an abstract machine"
    return f"{result.refined:,} steps compared with the abstract machine"


def _cross(start: Start, max_steps: int | None, as_json: bool) -> None:
    """Search in every mode and show whether the same is found; exit 1 if not."""
    compared = cross_check(start, max_steps or _BRUTE)
    if as_json:
        output.print_json(compared.as_json())
    else:
        rows = [
            (
                r.mode,
                f"{r.schedules:,}",
                f"{r.steps:,}",
                r.seconds,
                ", ".join(sorted(r.findings)) or "none",
                "yes" if r.complete else f"no, stopped after {r.steps - 1:,} steps",
            )
            for r in compared.results
        ]
        names = ("mode", "schedules", "steps judged", "seconds", "clauses broken", "complete")
        output.console().print(output.table("the same start, every mode", names, rows))
        for line in compared.differences:
            output.console().print(line, style="bold red")
    if compared.differences:
        raise SystemExit(output.DIFFERS)


def _show(
    out: Console,
    scenario: Scenario,
    variant: str,
    result: Exploration,
    found: dict[str, Minimum | None],
    tokens: dict[str, Token],
    as_expected: bool,
) -> None:
    output.show_pairs(
        out,
        [
            ("scenario", f"{scenario.name}: {scenario.what}"),
            ("variant", variant),
            ("bound", _bound(result)),
            ("schedules", f"{result.schedules:,}"),
            ("states", f"{result.states:,}" if result.states else "not counted"),
            ("steps judged", f"{result.steps:,} of {result.covered:,} in all schedules"),
            ("refinement", _refined(result)),
            ("depth", result.depth),
            ("seconds", result.seconds),
            ("gaps met", ", ".join(f"{k} {n}" for k, n in sorted(result.situations.items()))),
            ("asked", ", ".join(f"{k} {n}" for k, n in sorted(result.witnessed.items()))),
        ],
    )
    silent = [name for name in SEARCH.asks() if name not in result.witnessed]
    if silent:
        out.print(f"unchecked, as no situation raised the question: {', '.join(silent)}")
    output.show_not_asked(out, SEARCH.not_asked())
    for name, counterexample in found.items():
        token = tokens[name]
        out.print(f"\n{name} is broken: {title(name)}", style="bold red")
        if counterexample is None:
            out.print(f"{result.findings[name].message}; as it was found, not made small")
            out.print(f"replay: percpu-spec replay {token}", soft_wrap=True)
            continue
        least = counterexample.stopped or "none of which can be left out"
        out.print(
            f"{counterexample.operations} operations, {least}; "
            f"{counterexample.preemptions} preemptions, the fewest that do it"
        )
        show(out, of_schedule(token))
        out.print(f"replay: percpu-spec replay {token}", soft_wrap=True)
    for said in sorted(result.callers_errors):
        out.print(output.callers_error(said), soft_wrap=True)
    if not found:
        out.print("no clause that was asked is broken within this bound", style="bold")
    if not as_expected:
        states, broken = _expected(scenario, variant)
        expected = ", ".join(sorted(broken)) or "none"
        count = "" if states is None else f"{states:,} states, and broken "
        out.print(f"expected of {variant}: {count}{expected}", style="bold red")


def _as_json(
    scenario: Scenario,
    variant: str,
    result: Exploration,
    found: dict[str, Minimum | None],
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
        "steps_covered": result.covered,
        "steps_refined": result.refined,
        "depth": result.depth,
        "seconds": round(result.seconds, 3),
        "situations": result.situations,
        "witnessed": result.witnessed,
        "not_asked": SEARCH.not_asked(),
        "as_expected": as_expected,
        "callers_errors": sorted(result.callers_errors),
        "violations": {
            name: {
                "message": result.findings[name].message,
                "operations": c.operations if c else None,
                "preemptions": c.preemptions if c else None,
                "schedule": list(c.finding.schedule) if c else None,
                "token": str(tokens[name]),
            }
            for name, c in found.items()
        },
    }
