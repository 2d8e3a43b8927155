"""`percpu-spec explore --source`: every schedule of a kernel tree's own code."""

from __future__ import annotations

from percpu_proofs.commands import options, output
from percpu_proofs.commands.replay import show_example
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.kernel.search.job import TreeJob, run
from percpu_proofs.kernel.search.plans import of_scenario
from percpu_proofs.review.trees import undeclared, verdicts
from percpu_proofs.run.operations import WRONG, text_of
from percpu_reference.variants import MERGED


def explore_tree(scenario: Scenario, chosen: options.ChosenTree, as_json: bool) -> None:
    """Search every schedule of a scenario on a tree's code; exit 1 for what is not declared."""
    search = of_scenario(scenario)
    wrong_frees = [
        text_of(operation)
        for operation in (*scenario.prepared, *scenario.concurrent)
        if operation[0] in WRONG
    ]
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
    if as_json:
        output.print_json(
            {
                "scenario": scenario.name,
                "source": release,
                **output.record(outcome, "bound", "complete", "states", "edges", "depth"),
                "schedules": int(outcome.schedules) if outcome.schedules >= 0 else None,
                "seconds": round(outcome.seconds, 3),
                "witnessed": outcome.asked,
                "violations": {c: cell.as_json()["counterexample"] for c, cell in broken.items()},
                "undeclared": wrong,
                "callers_errors": errors,
            }
        )
    else:
        out = output.console()
        schedules = f"{outcome.schedules:,.0f}" if outcome.schedules >= 0 else "not counted"
        output.show_pairs(
            out,
            [
                ("scenario", f"{scenario.name}: {scenario.what}"),
                ("tree", f"Linux {release}, its own mm/percpu.c"),
                ("bound", outcome.bound),
                ("schedules", schedules),
                ("states", f"{outcome.states:,}, {outcome.edges:,} steps between them"),
                ("depth", outcome.depth),
                ("seconds", outcome.seconds),
                ("asked", output.counts(outcome.asked)),
            ],
        )
        for cell in broken.values():
            show_example(out, release, cell, tree.tree.patches)
        for said in errors:
            output.say(out, output.callers_error(said))
        if not broken:
            out.print("no clause that was asked is broken within this bound", style="bold")
    output.end(interrupted=outcome.interrupted, ok=not wrong)
