"""`percpu-spec explore` and `replay`: schedules, searched and run again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from percpu_contracts.registry import SEARCH
from percpu_proofs.commands import options, output
from percpu_proofs.commands.explore_tree import explore_tree
from percpu_proofs.commands.replay import show
from percpu_proofs.counterexample.of_model import of_schedule
from percpu_proofs.explore.modes import Spread, cross_check, search
from percpu_proofs.explore.scenario import Scenario, ScenarioVerdict, read_scenario
from percpu_proofs.explore.scenarios import FOLDER, SCENARIOS
from percpu_proofs.explore.search import Exploration, Mode, ScheduleFinding
from percpu_proofs.explore.shrink import Minimum, minimise
from percpu_proofs.explore.system import Start
from percpu_proofs.explore.token import Token
from percpu_proofs.refine.allocator import DEPARTURE, may_depart
from percpu_proofs.run.inputs import InputError, one_of
from percpu_proofs.run.processes import default_jobs
from percpu_reference import DEFAULT
from percpu_reference.variants import variant_class
from percpu_spec.catalogue import REFINE, title
from percpu_spec.counts import counted

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
    "--mode", type=click.Choice(_MODES), default="matching", show_default=True,
    help="Match worlds met before; leave out swaps of steps that commute, by sleep sets or by "
    "dynamic partial-order reduction; or run all schedules.",
)
@click.option(
    "--refine/--no-refine", default=True, show_default=True,
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
    "--jobs", type=click.IntRange(min=1),
    help="Processes that share all schedules (--mode all), or those drawn. [default: one a core]",
)
@click.option("--dask", metavar="ADDRESS", help="Share them on this dask scheduler's cluster.")
@click.option("--list", "listing", is_flag=True, help="List the scenarios of the package.")
@options.tree
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
    tree: options.ChosenTree | None,
    as_json: bool,
) -> None:
    """Search all schedules of SCENARIO; without one, list the scenarios.

    SCENARIO is the name of one, or a FILE with one of your own; `explore --list` prints where those
    of the package are, to be copied. With --source the code of a kernel tree runs in the place of a
    variant. Every state is judged. A clause that is broken is shown with a small counterexample and
    a token for replay. Exit 1 where what is found is not what the scenario expects of the variant,
    or else what the variant declares.
    """
    drawing = bool(schedules or depth)
    matching = mode == "matching" and not (crossed or max_steps or drawing)
    if listing or scenario is None:
        if not matching or jobs or dask:
            raise InputError("SCENARIO", None, f"one of {', '.join(SCENARIOS)}, or a file")
        _list(as_json)
        return
    chosen = _chosen(scenario)
    if tree is not None:
        if not matching or dask or (jobs or 1) > 1:
            raise InputError("--source", None, "SCENARIO alone beside it: states are matched")
        explore_tree(chosen, tree, as_json)
        return
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
            result = parts.drawn(
                chosen, variant, schedules or _DRAWN, seed=seed,
                strategy="pct" if depth else "uniform", depth=depth or 1,
            )  # fmt: skip
        elif mode == "all":
            result = parts.every_schedule(chosen, variant, max_steps=max_steps, refine=refine)
        else:
            result = search(start, mode, max_steps=max_steps, refine=refine)
    found = VariantSearch.of(chosen, variant, result)
    if as_json:
        output.print_json(found.as_json())
    else:
        found.show(output.console())
    output.end(interrupted=found.interrupted, ok=found.as_expected)


@dataclass(frozen=True, slots=True)
class VariantSearch:
    """What a search of a scenario's schedules found of a variant.

    small: of each clause that is broken a small counterexample, None for one that is left as it was
    found, not made small. departure: a step that is no action of the machine where that is but a
    note.
    """

    scenario: Scenario
    variant: str
    result: Exploration
    small: Mapping[str, Minimum | None]
    departure: ScheduleFinding | None
    interrupted: bool

    @classmethod
    def of(cls, scenario: Scenario, variant: str, result: Exploration) -> VariantSearch:
        """Make small what was found; Ctrl-C leaves it as it is."""
        departs = may_depart(variant_class(variant))
        departure = result.findings.pop(REFINE, None) if departs else None
        small: dict[str, Minimum | None] = dict.fromkeys(sorted(result.findings))
        with output.interruption() as stop:
            for name in () if result.interrupted else small:
                small[name] = minimise(scenario, variant, name)
        return cls(scenario, variant, result, small, departure, result.interrupted or stop.came)

    @property
    def expected(self) -> ScenarioVerdict:
        """What is expected of the variant: what the scenario says, else what it declares."""
        return self.scenario.expected(self.variant) or ScenarioVerdict(
            None, frozenset(variant_class(self.variant).EXPECTED)
        )

    @property
    def as_expected(self) -> bool:
        """Whether what was found is what is expected; of what is declared any part will do."""
        broken, (states, expected) = self.result.findings.keys(), self.expected
        if not self.result.complete:
            return True
        if self.scenario.expected(self.variant) is None:
            return broken <= expected
        return broken == expected and states in (None, self.result.states or states)

    def token(self, name: str) -> Token:
        """Return what replays the counterexample of a clause."""
        small = self.small[name]
        if small is None:
            schedule = self.result.findings[name].schedule
            return Token.of(self.variant, name, self.scenario, schedule)
        return Token.of(self.variant, name, small.scenario, small.finding.schedule)

    def as_json(self) -> dict[str, Any]:
        """Return the search with plain values only."""
        result, departure = self.result, self.departure
        return {
            "scenario": self.scenario.name,
            "variant": self.variant,
            "bound": _bound(result),
            **output.record(
                result, "mode", "complete", "states", "schedules", "steps", "depth", "situations",
                "witnessed",
            ),
            "steps_covered": result.covered,
            "steps_refined": result.refined,
            "seconds": round(result.seconds, 3),
            "not_asked": SEARCH.not_asked(),
            "as_expected": self.as_expected,
            "callers_errors": sorted(result.callers_errors),
            "violations": {
                name: {
                    "message": result.findings[name].message,
                    "operations": small.operations if small else None,
                    "preemptions": small.preemptions if small else None,
                    "schedule": list(small.finding.schedule) if small else None,
                    "token": str(self.token(name)),
                }
                for name, small in self.small.items()
            },
            "departure": departure and departure.message,
        }  # fmt: skip

    def show(self, out: Console) -> None:
        """Print the search: its bound, what was asked, and each counterexample."""
        result = self.result
        rows = [
            ("scenario", f"{self.scenario.name}: {self.scenario.what}"),
            ("variant", self.variant),
            ("bound", _bound(result)),
            ("schedules", f"{result.schedules:,}"),
            ("states", f"{result.states:,}" if result.states else "not counted"),
            ("steps judged", f"{result.steps:,} of {result.covered:,} in all schedules"),
            ("refinement", _refinement(result)),
            ("depth", result.depth),
            ("seconds", result.seconds),
            ("gaps met", output.counts(result.situations)),
            ("asked", output.counts(result.witnessed)),
        ]
        output.show_pairs(out, rows)
        silent = [name for name in SEARCH.asks() if name not in result.witnessed]
        if silent:
            out.print(f"unchecked, as no situation raised the question: {', '.join(silent)}")
        output.show_not_asked(out, SEARCH.not_asked())
        for name in self.small:
            self._show_broken(out, name)
        for said in sorted(result.callers_errors):
            output.say(out, output.callers_error(said))
        if not self.small:
            out.print("no clause that was asked is broken within this bound", style="bold")
        if not self.as_expected:
            states, broken = self.expected
            count = "" if states is None else f"{states:,} states, and broken "
            expected = f"{count}{', '.join(sorted(broken)) or 'none'}"
            out.print(f"expected of {self.variant}: {expected}", style="bold red")
        if self.departure is not None:
            token = Token.of(self.variant, REFINE, self.scenario, self.departure.schedule)
            said = f"note: it {DEPARTURE} (percpu-spec explain {REFINE}); {self.departure.message}"
            output.say(out, f"{said}\nreplay: percpu-spec replay {token}")

    def _show_broken(self, out: Console, name: str) -> None:
        """Print a clause that is broken, with its counterexample."""
        small, token = self.small[name], self.token(name)
        out.print(f"\n{name} is broken: {title(name)}", style="bold red")
        if small is None:
            out.print(f"{self.result.findings[name].message}; as it was found, not made small")
        else:
            least = small.stopped or "none of which can be left out"
            out.print(
                f"{counted(small.operations, 'operation')}, {least}; "
                f"{counted(small.preemptions, 'preemption')}, the fewest that do it"
            )
            show(out, of_schedule(token, f"scenario {self.scenario.name}: {_bound(self.result)}"))
        output.say(out, f"replay: percpu-spec replay {token}")


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


def _list(as_json: bool) -> None:
    if as_json:
        output.print_json({s.name: {"what": s.what} for s in SCENARIOS.values()})
        return
    rows = [(s.name, s.what, len(s.setup) + len(s.actors)) for s in SCENARIOS.values()]
    out = output.console()
    out.print(output.table("scenarios", ("name", "what", "operations"), rows))
    output.say(out, f"each a file of {FOLDER}")


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


def _refinement(result: Exploration) -> str:
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
    output.end(ok=not compared.differences)
