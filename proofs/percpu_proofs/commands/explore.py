"""`percpu-spec explore`: every schedule of a scenario, on a variant or on a tree's own code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from percpu_contracts.registry import SEARCH
from percpu_proofs.commands import options, output
from percpu_proofs.commands.replay import show, show_example
from percpu_proofs.counterexample.of_model import of_schedule
from percpu_proofs.explore.modes import Spread, cross_check, search
from percpu_proofs.explore.scenario import Scenario, ScenarioVerdict, read_scenario
from percpu_proofs.explore.scenarios import FOLDER, SCENARIOS
from percpu_proofs.explore.search import Exploration, Mode, ScheduleFinding
from percpu_proofs.explore.shrink import Minimum, minimise
from percpu_proofs.explore.system import Start
from percpu_proofs.explore.token import Token
from percpu_proofs.kernel.search.job import TreeJob, run
from percpu_proofs.kernel.search.plans import of_scenario
from percpu_proofs.refine.allocator import DEPARTURE, may_depart
from percpu_proofs.review.trees import undeclared, verdicts
from percpu_proofs.run.inputs import InputError, one_of
from percpu_proofs.run.operations import WRONG, text_of
from percpu_proofs.run.processes import default_jobs
from percpu_reference import DEFAULT
from percpu_reference.variants import MERGED, variant_class
from percpu_spec.catalogue import REFINE, title
from percpu_spec.counts import counted

_MODES = ("matching", "commuting", "dpor", "all")
_BRUTE = 1_000_000  # steps of each mode, for a cross-check
_DRAWN = 10_000  # schedules, where only --pct is given
_DEEPEST = 1000  # more constraints than schedules have steps hit nothing more


@click.command()
@click.argument("scenario", required=False)
@options.variant(f"{DEFAULT}, or the newest that SCENARIO speaks of")
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
    "--cross-check", "every_mode", is_flag=True,
    help="Search in every mode and compare what is found.",
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
    every_mode: bool,
    max_steps: int | None,
    schedules: int | None,
    depth: int | None,
    seed: int,
    jobs: int | None,
    dask: str | None,
    listing: bool,
    tree: options.TreeOptions | None,
) -> None:
    """Search all schedules of SCENARIO; without one, list the scenarios.

    SCENARIO is the name of one, or a FILE with one of your own; `explore --list` prints where those
    of the package are, to be copied. With --source the code of a kernel tree runs in the place of a
    variant. Every state is judged. A clause that is broken is shown with a small counterexample and
    a token for replay. Exit 1 where what is found is not what the scenario expects of the variant,
    or else what the variant declares.
    """
    drawing = bool(schedules or depth)
    matching = mode == "matching" and not (every_mode or max_steps or drawing)
    if listing or scenario is None:
        if not matching or jobs or dask:
            raise InputError("SCENARIO", None, f"one of {', '.join(SCENARIOS)}, or a file")
        output.result(lambda: {s.name: {"what": s.what} for s in SCENARIOS.values()}, _list)
        return
    chosen = _scenario_of(scenario)
    if tree is not None:
        if not matching or dask or (jobs or 1) > 1:
            raise InputError("--source", None, "SCENARIO alone beside it: states are matched")
        _explore_tree(chosen, tree)
        return
    if drawing and (every_mode or max_steps or mode != "matching"):
        raise InputError(
            "--random, --pct", None, "none of --mode, --cross-check, --max-steps beside them"
        )
    variant = variant or chosen.usual_variant
    start = chosen.start(variant)
    if every_mode:
        _compare_modes(start, max_steps)
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
    output.result(found.as_json, found.show)
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
        refinement = "not compared with an abstract machine"
        if result.refined:
            refinement = f"{result.refined:,} steps compared with the abstract machine"
        rows = [
            ("scenario", f"{self.scenario.name}: {self.scenario.what}"),
            ("variant", self.variant),
            ("bound", _bound(result)),
            ("schedules", f"{result.schedules:,}"),
            ("states", f"{result.states:,}" if result.states else "not counted"),
            ("steps judged", f"{result.steps:,} of {result.covered:,} in all schedules"),
            ("refinement", refinement),
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
        _show_end(out, sorted(result.callers_errors), holds=not self.small)
        if not self.as_expected:
            states, broken = self.expected
            count = "" if states is None else f"{states:,} states, and broken "
            expected = f"{count}{', '.join(sorted(broken)) or 'none'}"
            out.print(f"expected of {self.variant}: {expected}", style="bold red")
        if self.departure is not None:
            token = Token.of(self.variant, REFINE, self.scenario, self.departure.schedule)
            note = f"note: it {DEPARTURE} (percpu-spec explain {REFINE}); {self.departure.message}"
            output.say(out, f"{note}\nreplay: percpu-spec replay {token}")

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


def _scenario_of(scenario: str) -> Scenario:
    """Return the scenario of a name, or of a file."""
    if scenario in SCENARIOS:
        return SCENARIOS[scenario]
    path = Path(scenario)
    if path.suffix or path.exists() or len(path.parts) > 1:
        return read_scenario(path)
    raise InputError("SCENARIO", None, f"{one_of(scenario, SCENARIOS)}, or a file", scenario)


def _list(out: Console) -> None:
    """Print the scenarios that ship."""
    rows = [(s.name, s.what, len(s.setup) + len(s.actors)) for s in SCENARIOS.values()]
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


def _show_end(out: Console, callers_errors: Iterable[str], *, holds: bool) -> None:
    """Print what callers did wrong, and whether all clauses hold."""
    for error in callers_errors:
        output.say(out, output.callers_error(error))
    if holds:
        out.print("no clause that was asked is broken within this bound", style="bold")


def _compare_modes(start: Start, max_steps: int | None) -> None:
    """Search in every mode and show whether the same is found; exit 1 if not."""
    compared = cross_check(start, max_steps or _BRUTE)
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
    columns = ("mode", "schedules", "steps judged", "seconds", "clauses broken", "complete")

    def show_modes(out: Console) -> None:
        out.print(output.table("the same start, every mode", columns, rows))
        for line in compared.differences:
            out.print(line, style="bold red")

    output.result(compared.as_json, show_modes)
    output.end(ok=not compared.differences)


def _explore_tree(scenario: Scenario, chosen: options.TreeOptions) -> None:
    """Search every schedule of a scenario on a tree's code; exit 1 for what is not declared."""
    search = of_scenario(scenario)
    operations = (*scenario.prepared, *scenario.concurrent)
    wrong_frees = [text_of(operation) for operation in operations if operation[0] in WRONG]
    errors: list[str] = []
    with chosen.compiled() as trees:
        tree = trees[-1]
        if wrong_frees:
            refused = trees[0].refuses
            search = search.with_plan(refuses=refused)
            become = "the tree is asked to refuse it" if refused else "not carried out"
            errors = [f"{text}: {become}" for text in wrong_frees]
        outcome = run(TreeJob(tree.name, tree.search_library(search), search))
        variant = trees[0].model.name if outcome.examples else MERGED
        cells = verdicts([outcome], tree.name, variant)
        wrong = undeclared(cells, variant, trees[0].km_counts)
        release = tree.tree.name
    broken = {c: cell for c, cell in cells.items() if cell.example is not None}
    schedules = int(outcome.schedules) if outcome.schedules >= 0 else None

    def values() -> dict[str, Any]:
        return {
            "scenario": scenario.name,
            "source": release,
            **output.record(outcome, "bound", "complete", "states", "edges", "depth"),
            "schedules": schedules,
            "seconds": round(outcome.seconds, 3),
            "witnessed": outcome.asked,
            "violations": {c: cell.as_json()["counterexample"] for c, cell in broken.items()},
            "undeclared": wrong,
            "callers_errors": errors,
        }

    def show_tree(out: Console) -> None:
        rows = [
            ("scenario", f"{scenario.name}: {scenario.what}"),
            ("tree", f"Linux {release}, its own mm/percpu.c"),
            ("bound", outcome.bound),
            ("schedules", "not counted" if schedules is None else f"{schedules:,}"),
            ("states", f"{outcome.states:,}, {outcome.edges:,} steps between them"),
            ("depth", outcome.depth),
            ("seconds", outcome.seconds),
            ("asked", output.counts(outcome.asked)),
        ]
        output.show_pairs(out, rows)
        for cell in broken.values():
            show_example(out, release, cell, tree.tree.patches)
        _show_end(out, errors, holds=not broken)

    output.result(values, show_tree)
    output.end(interrupted=outcome.interrupted, ok=not wrong)
