"""Counterexamples of compiled code on the command line: a row a step, with the tree's own lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from percpu_proofs.kernel.search.example import TreeExample
from percpu_proofs.kernel.search.judge import CRASH
from percpu_proofs.kernel.search.retrace import Retraced
from percpu_spec.catalogue import title

_LEGEND = (
    "pages: - unpopulated  e empty  # in use  ! in use, not populated  x counted, not mapped; "
    "L pcpu_lock, M pcpu_alloc_mutex"
)


def name_of(clause: str) -> str:
    """Return a clause's title, also of what stands in the place of one."""
    return "The kernel stops, or warns of itself" if clause == CRASH else title(clause)


def show_example(
    out: Console,
    clause: str,
    example: TreeExample,
    patches: Sequence[Path] = (),
    *,
    brief: bool = False,
) -> None:
    """Print a counterexample: what is wrong, the operations, the steps, and how to replay it.

    patches: those of the tree that it was found on.
    """
    out.print(f"\n{clause}: {name_of(clause)}", style="bold red")
    out.print(f"  {example.message}", markup=False)
    operations = "; ".join((*example.plan.setup_texts, *example.retraced.operations))
    out.print(
        f"  {example.length} operations, the fewest of search {example.search}: {operations}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    if not brief:
        show_rungs(out, example.retraced)
    if example.token:
        tree = "".join([" --source TREE", *(f" --patch {patch}" for patch in patches)])
        out.print(f"  percpu-spec replay {example.token}{tree}", markup=False, soft_wrap=True)
    if example.on_model.token:
        out.print(f"  on the model: percpu-spec replay {example.on_model.token}", soft_wrap=True)
    else:
        out.print(f"  on the model: {example.on_model.reason}", markup=False)


def show_rungs(out: Console, retraced: Retraced) -> None:
    """Print the steps of a schedule. What has not changed since the step before is left out."""
    memory: tuple[str, ...] = ()
    out.print(f"  {_LEGEND}", style="dim", markup=False)
    for number, rung in enumerate(retraced.rungs, 1):
        where = f" in {rung.function} ({rung.line})" if rung.function else ""
        mutex = "free" if rung.mutex is None else f"CPU {rung.mutex}"
        refused = f", refused: {rung.refused}" if rung.refused else ""
        doing = rung.operation if rung.begins else f"({rung.operation})"
        out.print(
            f"  {number:3} CPU {rung.actor} {doing:22} {rung.stands}{where}{refused}"
            + (f"; M {mutex}, pcpu_nr_empty_pop_pages {rung.float}" if rung.memory else ""),
            markup=False, soft_wrap=True,
        )  # fmt: skip
        for line in rung.memory if rung.memory != memory else ():
            out.print(f"      | {line}", markup=False)
        memory = rung.memory
    if retraced.stopped:
        out.print(f"      the kernel stops: {retraced.stopped}", style="red", markup=False)
