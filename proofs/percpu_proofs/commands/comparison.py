"""What `percpu-spec conform kernel` has to say, for people and programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from percpu_contracts.registry import COMPILED
from percpu_proofs.commands import output
from percpu_proofs.kernel import difference_report as differences
from percpu_proofs.kernel.build import Workshop
from percpu_proofs.kernel.cases import Divergence
from percpu_proofs.kernel.differential import DifferingCase, Tally
from percpu_proofs.kernel.instance import BuildForm
from percpu_proofs.kernel.postconditions import OPERATION_CLAUSES
from percpu_proofs.kernel.record import meaning, sentence
from percpu_proofs.kernel.schedule import LockstepOutcome
from percpu_proofs.kernel.tree import BACKINGS
from percpu_proofs.run.operations import WRONG
from percpu_reference.gaps import Kind

NOT_COVERED: Final = (
    "boot-time layout (pcpu_embed_first_chunk), percpu_stats, allocation profiling, real locks and "
    "interrupts: the stubs have none"
)


@dataclass(slots=True)
class ConformanceRun:
    """A run of `conform kernel`: what was to be drawn, and what came of it."""

    shop: Workshop
    tally: Tally = field(default_factory=Tally)
    confirmed: list[LockstepOutcome] = field(default_factory=list)
    saved: Path | None = None
    planned: int | None = None  # operations to draw
    forms: tuple[BuildForm, ...] = ()  # of kernels to draw cases for; none are

    @property
    def differs(self) -> bool:
        """Whether a difference was found, or a token not confirmed."""
        return self.tally.differs or any(not one.agrees for one in self.confirmed)

    def not_run(self) -> Iterator[str]:
        """Yield what was not run, and why; clauses that nobody asks here are not among it."""
        tally, model = self.tally, self.shop.model
        if tally.stopped:
            yield f"what comes behind the stop of the kernel ({tally.stopped})"
        if self.planned is not None and tally.done < self.planned:
            why = "interrupted" if tally.interrupted else "the kernel stopped"
            left = self.planned - tally.done
            yield f"{left:,} of {self.planned:,} operations to draw: {why}"
        left = sum(divergence.left for divergence in tally.divergences if not divergence.stopped)
        if left:
            yield f"{left:,} operations on handles that model and kernel do not both hold"
        if tally.differing_schedules:
            yield f"what follows a difference in {tally.differing_schedules:,} schedules"
        if not self.forms:
            yield "drawn cases and schedules: operations or tokens were given"
            return
        run = {geometry.backing for geometry in tally.geometries}
        backings = [form.backing for form in self.forms]
        for name, file in BACKINGS.items():
            why = "the run ended before one was drawn"
            if not self.shop.tree.has(name):
                why = "the tree does not have it"
            elif name not in backings:
                why = f"--backing {backings[0]}"
            if name not in run:
                yield f"cases with {file}: {why}"
        if "vm" not in backings:
            yield "schedules: the model of mm/percpu-km.c has none here"
        elif not tally.schedules:
            yield "schedules: the run ended before"
        else:
            missed = [k.name.lower() for k in Kind if k.name.lower() not in tally.gaps]
            if missed:
                yield f"schedules in which others run in gaps of kind {', '.join(missed)}"
        if not tally.judged:
            yield "the clauses of states behind operations: --no-clauses"
        if model.skip:
            yield "a comparison of what is printed: that differs as declared"

    def not_asked(self) -> dict[str, str]:
        """Return the clauses that were not asked, each with the reason."""
        judged = OPERATION_CLAUSES if self.tally.judged else ()
        return {c: why for c, why in COMPILED.not_asked().items() if c not in judged}

    def _divergences(self) -> list[Divergence]:
        """Return what became of the case that is shown, and of one in which both agree again."""
        case = self.tally.differing_case
        first = case.divergence if case is not None else None
        if first is None:
            return []
        agreeing = (one for one in self.tally.divergences if one.again is not None)
        return [first] if first.again is not None else [first, *islice(agreeing, 1)]

    def newly_broken(self) -> dict[str, str]:
        """Return the clauses that the kernel breaks and the variant does not, with what is so."""
        return dict(sorted(self.tally.new.items()))

    def as_json(self) -> dict[str, Any]:
        """Return the run with plain values only."""
        tally, model = self.tally, self.shop.model
        first = None
        if tally.differing_case is not None:
            first = differences.as_json(tally.differing_case, model) | {"saved": str(self.saved)}
        schedule = tally.differing_schedule
        return {
            "kernel": self.shop.tree.name,
            "source": str(self.shop.tree.source),
            "variant": model.name,
            "fixes": list(model.fixes),
            "because": model.because,
            "root_group": self.shop.tree.root_group,
            "declared_differences": self.shop.declared,
            "declared_differences_seen": tally.declared,
            "compiler_warnings": list(map(str, self.shop.warnings())),
            **output.record(tally, "operations", "cases", "schedules", "seconds", "interrupted"),
            "operations_behind_differences": tally.behind,
            "mismatches": int(tally.differs),
            "cases_that_differ": len(tally.divergences),
            "schedules_that_differ": tally.differing_schedules,
            "first_mismatch": first,
            "partings": [_divergence(divergence) for divergence in self._divergences()],
            "agree_again": sum(divergence.again is not None for divergence in tally.divergences),
            "schedule_mismatch": schedule and differences.schedule_as_json(schedule),
            "schedule_steps": tally.steps,
            "gaps_entered": dict(sorted(tally.gaps.items())),
            "geometries": len(tally.geometries),
            "most_chunks": tally.chunks,
            "operations_by_kind": dict(sorted(tally.kinds.items())),
            "callers_errors": _wrong_frees(tally),
            "states_judged": tally.judged,
            "clauses_broken": dict(sorted(tally.broken.items())),
            "clauses_newly_broken": self.newly_broken(),
            "not_run": [*self.not_run(), NOT_COVERED],
            "not_asked": self.not_asked(),
            "tokens": [one.as_json() for one in self.confirmed],
        }

    def show(self, out: Console) -> None:
        """Print the run: what was done, what differs, and at the end what was not run."""
        output.show_pairs(out, list(self._rows()))
        for warning in self.shop.warnings():
            output.say(out, f"compiler warning: {warning}", "yellow")
        for one in self.confirmed:
            output.say(out, str(one), "bold" if one.agrees else "bold red")
        self._show_result(out)
        for clause, wrong in self.newly_broken().items():
            count = self.tally.broken[clause]
            text = f"newly broken, not by {self.shop.model.name}: {clause}, {count} times: {wrong}"
            output.say(out, text, "bold red")
        if self.tally.differs:
            output.say(
                out,
                "a difference may be right or wrong: percpu-spec review --source TREE --patch FILE "
                "judges the kernel's code by the clauses",
            )
        for what in (*self.not_run(), NOT_COVERED):
            output.say(out, f"not run: {what}")
        if self.tally.judged:
            output.show_not_asked(out, self.not_asked())

    def _rows(self) -> Iterator[tuple[str, object]]:
        tally, model = self.tally, self.shop.model
        yield "kernel", f"Linux {self.shop.tree.name}, its own mm/percpu.c"
        yield "model", model.name + "".join(f" + {fix}" for fix in model.fixes)
        if model.because:
            yield "because", model.because
        yield "root group", self.shop.tree.root_group
        yield "declared", "; ".join(self.shop.declared) or "no difference"
        if tally.declared:
            seen = f"in {tally.declared} operations; model and kernel agree again after each"
            yield "declared, seen", seen
        if tally.cases:
            yield "operations", tally.operations
            yield "cases", tally.cases
            yield "geometries", len(tally.geometries)
            yield "chunks at most", tally.chunks
        if tally.schedules:
            yield "schedules", f"{tally.schedules} of {tally.steps} steps"
            yield "gaps entered", output.counts(tally.gaps) or "none"
        if tally.divergences:
            yield "cases that differ", f"{len(tally.divergences)} of {tally.cases}"
            again = sum(divergence.again is not None for divergence in tally.divergences)
            yield "of them", f"{again} agree again later"
            yield "behind", f"{tally.behind} operations, which both did by themselves"
        if tally.differing_schedules:
            yield "schedules that differ", tally.differing_schedules
        if tally.judged:
            known = {c: n for c, n in tally.broken.items() if c not in tally.new}
            yield "states judged", tally.judged
            yield "known to break", output.counts(known) or "none"
        yield "seconds", tally.seconds

    def _show_result(self, out: Console) -> None:
        tally = self.tally
        if tally.differing_case is not None:
            self._show_difference(out, tally.differing_case)
        elif tally.differing_schedule is not None:
            output.say(out, differences.schedule_text(tally.differing_schedule), "bold red")
        if tally.differs:
            return
        if tally.interrupted:
            if tally.operations or tally.steps:
                out.print("interrupted: the states compared so far are equal")
            else:
                out.print("interrupted before a case was compared")
        elif tally.cases:
            done = (
                f"{tally.operations:,} operations, {len(tally.geometries)} geometries, "
                f"{tally.schedules:,} schedules, {tally.gaps.total():,} gaps entered of "
                f"{len(tally.gaps)} kinds"
            )
            wrong = _wrong_frees(tally)
            if wrong:
                refused = self.shop.model.variant().CHECKS_FREES
                by = "refused by both" if refused else "carried out by neither"
                out.print(output.callers_error(f"{wrong:,} of the operations, {by}"))
            output.say(out, f"every field of every state is equal: {done}", "bold")

    def _show_difference(self, out: Console, differing: DifferingCase) -> None:
        model = self.shop.model
        where = differences.where(differing)
        output.say(out, f"differs {where}: {sentence(differing.difference)}", "bold red")
        for other in differing.others:
            output.say(out, f"  and {sentence(other)}")
        meanings = [meaning(one) for one in (differing.difference, *differing.others)]
        for title, listed in (
            ("set by", [one.functions for one in meanings]),
            ("clauses that speak of it", [one.clauses for one in meanings]),
        ):
            names = ", ".join(dict.fromkeys(" ".join(listed).split()))
            if names:
                output.say(out, f"{title}: {names}")
        for change in differences.moved_by(differing.difference, model):
            output.say(out, f"{self.shop.tree.source}: {change}")
        for name in differences.mending(differing, model):
            out.print(f"the model with --fix {name!r} does here what the kernel does")
        output.say(out, f"geometry {differing.case.geometry.text}")
        for number, line in enumerate(differing.case.texts, 1):
            out.print(f"{number:5}  {line}")
        if differing.stopped:
            out.print(f"more of it may be left out: {differing.stopped}")
        theirs, ours = differences.maps(differing, model)
        out.print(Text(f"\nkernel\n{theirs}\n\nmodel\n{ours}"))
        output.say(out, f"saved as {self.saved}")
        for divergence in self._divergences():
            output.say(out, _divergence_text(divergence))


def _divergence_text(divergence: Divergence) -> str:
    """Return what became of a case behind its difference, in words."""
    head = f"a case as drawn differs after operation {divergence.at}"
    behind = f"of {divergence.operations:,} operations behind it"
    if divergence.stopped:
        behind += f" (then the kernel stopped: {divergence.stopped})"
    if divergence.again is None:
        return f"{head}; model and kernel do not agree again in any {behind}"
    return (
        f"{head}; model and kernel agree again after operation {divergence.again}, "
        f"{divergence.by}, and after {divergence.alike:,} {behind}"
    )


def _divergence(divergence: Divergence) -> dict[str, Any]:
    return {
        "differs_after": divergence.at,
        "operations_behind": divergence.operations,
        "agree_again_after": divergence.again,
        "agree_again_by": divergence.by or None,
        "states_that_agree": divergence.alike,
        "kernel_stopped": divergence.stopped or None,
        "operations_left": divergence.left,
    }


def _wrong_frees(tally: Tally) -> int:
    """Return how many operations were frees that API-2 forbids."""
    return sum(tally.kinds[kind] for kind in WRONG)
