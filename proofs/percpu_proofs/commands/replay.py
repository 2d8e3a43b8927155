"""`percpu-spec replay`: counterexamples of the model and of compiled code, step by step."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from percpu_proofs.commands import options, output
from percpu_proofs.counterexample import text
from percpu_proofs.counterexample.mail import mail
from percpu_proofs.counterexample.of_model import of_token
from percpu_proofs.counterexample.of_tree import of_retraced, of_tree
from percpu_proofs.counterexample.record import Counterexample, relevance
from percpu_proofs.explore.packing import MODEL, TREE, cut, no_token
from percpu_proofs.explore.token import file_of, name_in, token_of
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.search.compiled import CompiledSearch
from percpu_proofs.kernel.search.example import broken_by, retrace
from percpu_proofs.kernel.search.judge import CRASH
from percpu_proofs.kernel.search.plans import TreeSearch
from percpu_proofs.kernel.search.tree_token import TreeToken, read_tree_token
from percpu_proofs.review.trees import TreeCell
from percpu_proofs.run.inputs import InputError
from percpu_proofs.show.mail import WIDTH
from percpu_spec.counts import counted

_WIDEST: Final = 110
_NARROWEST: Final = 40
_STYLES: Final = {"head": "bold", "broken": "red", "change": "dim", "dim": "dim"}


def width_of(out: Console) -> int:
    """Return how many columns counterexamples take: those of a mail where there is no terminal."""
    return min(max(out.width, _NARROWEST), _WIDEST) if out.is_terminal else WIDTH


def show(out: Console, c: Counterexample) -> None:
    """Print a counterexample."""
    show_lines(out, text.text(c, width_of(out)))


def show_lines(out: Console, lines: Iterable[text.Line]) -> None:
    """Print lines as they are, in the styles of what they are."""
    for kind, line in lines:
        output.say(out, line, _STYLES.get(kind, ""))


def show_mail(c: Counterexample, names: Path, tree: options.TreeOptions | None = None) -> None:
    """Print a counterexample as a block for a mail; names, tree: as of `reproducer`."""
    output.echo("\n".join(mail(c, reproducer(c, names, tree))))


def reproducer(c: Counterexample, names: Path, tree: options.TreeOptions | None = None) -> str:
    """Return the line that shows a counterexample again, as short as it takes to fit a mail.

    A token that is too long is entered in a file of names. TREE and PATCH stand for the tree and
    its patches where their names have no room. Raises InputError if that file cannot be written.
    """
    file = file_of(c.subject)
    own = f" --variant {shlex.quote(Path(file).name)}" if file else ""
    shorter_and_shorter = [own] if tree is None else [
        tree.options(), tree.options("TREE"), tree.options("TREE", "PATCH")
    ]  # fmt: skip

    def fitting(begin: str) -> Iterator[str]:
        lines = (begin + chosen for chosen in shorter_and_shorter)
        return (line for line in lines if len(line) <= WIDTH)

    if not c.token:  # the kernel ended its process: there is no schedule
        begin = "percpu-spec review"
    elif line := next(fitting(f"percpu-spec replay {c.token}"), ""):
        return line
    else:
        begin = f"percpu-spec replay {shlex.quote(name_in(names, c.clause, c.token))}"
    return next(fitting(begin), begin + shorter_and_shorter[-1])


def and_others(clauses: Iterable[str], first: str) -> str:
    """Return the words for what is broken beside the clause that a block is about."""
    others = ", ".join(dict.fromkeys(clause for clause in clauses if clause != first))
    return f"{others} broken too (--clause ID); " if others else ""


def subject_of(release: str, patches: Sequence[Path] = ()) -> str:
    """Return what a tree is called."""
    return f"Linux {release}" + "".join(f" with {patch.name}" for patch in patches)


def show_example(
    out: Console,
    release: str,
    cell: TreeCell,
    patches: Sequence[Path] = (),
    *,
    brief: bool = False,
) -> None:
    """Print what breaks a clause of a tree, and how to replay it; brief: what is wrong only.

    release, patches: of the tree that it was found on.
    """
    example = cell.example
    assert example is not None
    c = of_tree(example, subject_of(release, patches), cell.origin)
    out.print()
    show_lines(out, text.head(c, width_of(out)) if brief else text.text(c, width_of(out)))
    out.print(f"{counted(example.length, 'operation')}, {example.rank}", markup=False)
    if example.token:
        tree = options.TreeOptions(Path("TREE"), tuple(patches), (), None)
        output.say(out, f"percpu-spec replay {example.token}{tree.options(whole=True)}")
    if example.on_model.token:
        output.say(out, f"on the model: percpu-spec replay {example.on_model.token}")
    else:
        out.print(f"on the model: {example.on_model.reason}", markup=False)


_KEYS: Final = "n or space: next, p or b: back, f: first, l: last, q: quit"
_BY: Final = {
    "n": 1, " ": 1, "\r": 1, "\n": 1, "\x1b[C": 1, "\x1b[B": 1,
    "p": -1, "b": -1, "\x1b[D": -1, "\x1b[A": -1,
}  # fmt: skip
"""By how many steps a key goes; arrows too."""
_BEFORE: Final = 3  # steps that are shown before the present one


@click.command()
@click.argument("token")
@options.tree
@click.option("--step", "stepwise", is_flag=True, help="Walk through it, a screen a step.")
@options.variant_file
@options.mail
@output.json_option
def replay(
    token: str,
    tree: options.TreeOptions | None,
    stepwise: bool,
    file: str | None,
    mail: Path | None,
) -> None:
    """Run the schedule of TOKEN again and show each step with what it changes.

    TOKEN may be NAME@FILE, where --mail has entered it. It is refused when the code of its variant
    has changed since; one of a variant's file is told with --variant where that is. One of
    compiled code (t2....) runs on a tree, with --source.

    --step takes the keys n or space for the next step, p or b for the one before, f and l for the
    first and the last, q to quit; lines of these where standard input is no terminal.
    """
    found, values = _replayed(token_of(token), tree, file)
    if output.as_json():
        output.print_json(values)
    elif mail is not None:
        show_mail(found, mail, tree)
    elif stepwise:
        walk(output.console(), found)
    else:
        show(output.console(), found)
    if found.clause not in found.broken:
        click.echo(f"{found.clause} is not broken by this schedule", err=True)
        raise SystemExit(output.DIFFERS)


def _replayed(
    token: str, tree: options.TreeOptions | None, file: str | None
) -> tuple[Counterexample, dict[str, Any]]:
    """Return what the schedule of a token shows, and the same with plain values."""
    if file is not None and (tree is not None or token.startswith(TREE)):
        raise InputError("--variant", None, f"a token of the model, {MODEL}...", cut(token))
    if not token.startswith(TREE) and tree is None:
        found = of_token(token, file=file)
        return found, found.as_json()
    if tree is None:
        raise InputError("token", None, "--source TREE to run compiled code", cut(token))
    if not token.startswith(TREE):
        if not token.startswith(MODEL):
            raise no_token(token)
        raise InputError(
            "token", None, f"a token of compiled code, {TREE}...: "
            "conform kernel --token replays those of the model on a tree", cut(token),
        )  # fmt: skip
    return _replayed_on_tree(read_tree_token(token), tree)


def _replayed_on_tree(
    token: TreeToken, chosen: options.TreeOptions
) -> tuple[Counterexample, dict[str, Any]]:
    """Return what the schedule of a token shows on a tree, and the same with plain values.

    Raises InputError for a tree on which the schedule is not possible.
    """
    accesses = bool(token.plan.stops_at) or token.clause.startswith("LOCK")
    search = TreeSearch("token", token.clause, token.plan, notes_accesses=accesses)
    with chosen.compiled() as trees:
        tree = trees[-1]
        library = tree.search_library(search)
        try:
            with CompiledSearch(library, token.plan) as compiled:
                broken = broken_by(compiled, library, token.labels, accesses=accesses)
                work_alone = token.clause in ("BAL-3", CRASH)
                shown = retrace(compiled, library, token.labels, work_alone=work_alone)
        except KernelStopped as stopped:
            expected = "a setup that the tree survives"
            raise InputError("token", None, expected, str(stopped)) from None
        release = tree.tree.name
    subject = subject_of(release, tree.tree.patches)
    c = of_retraced(subject, token.clause, broken, token.plan, shown, str(token))
    return c, {
        "source": release,
        "clause": token.clause,
        "broken": broken,
        "operations": list(shown.operations),
        "steps": [step.as_json() for step in shown.steps],
        "stopped": shown.stopped,
    }


def walk(out: Console, c: Counterexample) -> None:
    """Walk through a counterexample by keys, or by lines where standard input is no terminal."""
    at, last = 0, len(c.steps)
    while True:
        if out.is_terminal:
            out.clear()
        show_lines(out, screen(c, at, width_of(out)))
        key = _key()
        if key in ("q", "\x1b", "\x03", ""):
            return
        if key in ("f", "l"):
            at = 0 if key == "f" else last
        at = min(max(at + _BY.get(key, 0), 0), last)


def _key() -> str:
    """Return the next key; of a line its first letter, empty at the end of the input."""
    if sys.stdin.isatty():
        return click.getchar()
    line = sys.stdin.readline()
    return line[:1] if line.strip() else line[-1:]


def screen(c: Counterexample, at: int, width: int) -> Iterator[text.Line]:
    """Yield the lines of the screen behind so many steps."""
    shown = relevance(c)
    title = f"{c.clause} on {c.subject}, step {at} of {len(c.steps)}"
    yield from text.wrap_lines("head", title, width)
    if at == 0:
        yield from text.head(c, width)
    yield "", ""
    if at:
        since = max(at - 1 - _BEFORE, 0)
        present = text.rows(c, 0, shown)[since:at]
        yield from text.table(present, c.cpus_since(), width)
        yield "", ""
    yield from text.state("State:", c.state_at(at), c, shown, width)
    yield from text.wrap_lines("dim", text.legend(c, shown), width)
    yield from text.wrap_lines("dim", _KEYS, width)
