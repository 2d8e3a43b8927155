"""Schedules of compiled code, as they were run again, as counterexamples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from percpu_proofs.counterexample.record import WORK, Counterexample, CpuStep
from percpu_proofs.counterexample.words import Names
from percpu_proofs.kernel.search.compiled import SearchPlan
from percpu_proofs.kernel.search.example import Retrace, TreeExample, TreeStep
from percpu_proofs.kernel.search.tree_token import bound_of
from percpu_proofs.run.operations import Operation, parse_texts, renumbered, text_of
from percpu_proofs.show.text import NO_LIST, StateRows


def of_tree(example: TreeExample, subject: str, bound: str) -> Counterexample:
    """Return what a counterexample of compiled code shows.

    subject: the tree, "Linux 6.12.117". bound: how far was searched where it was found.
    """
    broken = {example.clause: example.message}
    return of_retraced(
        subject, example.clause, broken, example.plan, example.trace, example.token, bound
    )


def of_retraced(
    subject: str,
    clause: str,
    broken: Mapping[str, str],
    plan: SearchPlan,
    retraced: Retrace,
    token: str,
    bound: str = "",
) -> Counterexample:
    """Return what a schedule shows that was run again; broken: clauses and what is wrong."""
    made = [*plan.setup, *parse_texts("counterexample", retraced.operations)]
    named = renumbered(made)
    setup, begun = named[: len(plan.setup)], named[len(plan.setup) :]
    names = Names(named)
    steps = list(_steps(retraced, dict(zip(map(text_of, made), named, strict=True)), names))
    if steps:
        steps[-1] = replace(steps[-1], broken=tuple(broken.items()))
    return Counterexample(
        subject,
        clause,
        broken.get(clause, ""),
        plan.sizes,
        tuple(map(names.operation_words, setup)),
        tuple(map(names.operation_words, begun)),
        retraced.before or StateRows((), ()),
        tuple(steps),
        token,
        bound=bound,
        stopped=retraced.stopped,
        origin=bound_of(plan),
    )


def _steps(retraced: Retrace, named: Mapping[str, Operation], names: Names) -> Iterator[CpuStep]:
    """Yield the steps; named: operations with handles from 1 on, by what they are in the steps."""
    state = retraced.before or StateRows((), ())
    holders = _Holders(state)
    last: dict[int, TreeStep] = {}  # of each actor
    for number, step in enumerate(retraced.steps, 1):
        before = None if step.begins else last.get(step.actor)
        last[step.actor] = step
        if step.state is not None:
            holder = "" if step.mutex is None else _cpu(last[step.mutex])
            state = holders.seen(replace(step.state, mutex=holder), _cpu(step), ended=step.ends)
        operation = named.get(step.operation) or parse_texts("step", (step.operation,))[0]
        yield CpuStep(
            number,
            step.actor,
            _cpu(step),
            *names.operation_words(operation),
            before is None,
            step.refused,
            before.function if before else "",
            before.line if before else "",
            step.function,
            step.line,
            "returns" if step.ends else step.stands,
            "",
            "",
            step.ends,
            None,
            before.stands if before else "begins",
            "done" if step.ends else step.stands,
            state,
            (),
        )


class _Holders:
    """Who holds the chunks that are on no list: whose step took them off, until it ends.

    A chunk that is left on no list then nobody holds.
    """

    def __init__(self, before: StateRows) -> None:
        self._held = dict.fromkeys(_away(before), "")

    def seen(self, state: StateRows, cpu: str, *, ended: bool) -> StateRows:
        """Return the state behind a step of a CPU, with the holders; ended: of its operation."""
        self._held = {name: self._held.get(name, cpu) for name in _away(state)}
        if ended:
            self._held = {name: "" if by == cpu else by for name, by in self._held.items()}
        rows = [
            row.held_by(self._held[row.name]) if row.name in self._held else row
            for row in state.chunks
        ]
        return replace(state, chunks=tuple(rows))


def _away(state: StateRows) -> list[str]:
    return [row.name for row in state.chunks if row.place == NO_LIST]


def _cpu(step: TreeStep) -> str:
    return WORK if step.operation[0] in "bB" else f"CPU {step.actor}"
