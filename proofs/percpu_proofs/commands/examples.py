"""The examples that end each command's --help; a test runs every one of them.

In them stand for what a reader has: list.ops an operation list, mine.txt a scenario, mine.py a
variant, dmesg.txt a log, TREE a Linux source tree, TOKEN that of a counterexample.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Final, NamedTuple

import click


class Example(NamedTuple):
    """A command line and what it does. takes: what it needs that is not there at once."""

    line: str
    does: str
    takes: str = ""  # seconds: it is run with the deep tests; a tree: it needs one as well


SECONDS, TREE = "seconds", "a tree"
_EXAMPLES: Final = """\
run: 50-straddle-p16-u128-c2 | a recorded vector that ships
run: list.ops --variant 6.14 --contracts full | a list of your own
conform kernel: --source TREE --count 2000 | drawn cases | a tree
conform kernel: --source TREE --operations list.ops | one list, field by field | a tree
conform record: --source TREE list.ops --out mine | a list as a vector in mine/ | a tree
conform record: --source TREE 30-early-u32-c2 --out mine | a shipped vector anew | a tree
conform vectors: 70-mixed-up-u32 | one that ships
conform vectors:  | all that ship | seconds
conform trace: boot61_2 | a boot that ships, placement by placement
conform trace: boot61_2 --who --at 400 | who holds memory after 400 events
conform recorder:  | print the script; then, as root: sh it FOLDER 60
conform recorder: --bpftrace | the same for bpftrace
show: 612_4.removed60 --map | all chunks of a kernel's state
show: 33-frag-u32-c4-odd --at 300 --chunk 3 --svg chunk.svg
    | one chunk after 300 operations, as a picture too
explore: float-taken | a scenario that ships, every schedule
explore: mine.txt --variant reference | one of your own
replay: TOKEN | a counterexample, step by step
replay: TOKEN --json | the same for programs
review: --variant mine.py | a variant of your own: about a minute on two cores | seconds
review: --source TREE --fix L2 --quick --search crumbs | a tree and a fix, one search of it | a tree
report:  | the book: some minutes where no review is kept | seconds
report: --html book.html --source TREE | with the kernel's C beside the model | a tree
prove: --plugin | where CrossHair finds its plugin
prove: SLOT-1 | the claims about one clause | seconds
log: dmesg.txt | the layout, and each failure
log: dmesg.txt --state 612_4.removed60 | why they fail in that state
state: 612_4.removed60 | a saved state, judged
state: 612_4.removed60 --ask 4096,8,atomic --what-if work
    | what a request would get, and what the work would do
workload burst: --variant linux_7_1 --requests 600 --every 300
    | one algorithm, few requests | seconds
workload burst: --size 64 | all, requests of 64 bytes | seconds
workload removal: cg612_4 --variant reference | one alone | seconds
workload removal: cg510_4 --variant linux_5_12 --svg removal.svg | with a plot | seconds
workload cost: --variant rfc_1 --variant linux_6_12 | two of them | seconds
workload cost: --source TREE --variant linux_6_12 | and a tree | a tree
workload fixes: --operations 500 | over the first of c10 | seconds
workload fixes: list.ops | over a list of your own
bench: list.ops --rounds 1 | a list of your own | seconds
bench: c10 | one that ships | seconds
explain: HINT-5 float pcpu_isolate_chunk | a clause, a word of the glossary, a function
explain: 'percpu: allocation failed, size=8 align=8 atomic=1, atomic alloc failed, no space left'
    | a line of dmesg
beside: isolate_chunk --source TREE | one function | a tree
beside: --all --source TREE --html beside.html | all, as a page | a tree
operations:  | the language, with examples
operations: --json | the same for programs
completion: bash | print what bash needs
completion: fish | the same for fish
"""
"""A line each, or two: a command, the words behind it, what that does, and what it takes."""


def _parsed() -> Iterator[tuple[str, Example]]:
    for one in _EXAMPLES.replace("\n    |", " |").splitlines():
        called, *said = one.split(" | ")
        command, _, words = called.partition(": ")
        yield command, Example(f"percpu-spec {command} {words}".rstrip(), *said)


EXAMPLES: Final = {
    command: tuple(example for _, example in both)
    for command, both in groupby(_parsed(), key=lambda one: one[0])
}
OF_GROUPS: Final = {
    "": ("explain", "review"),
    "conform": ("conform trace", "conform kernel"),
    "workload": ("workload cost", "workload removal"),
}
"""The commands whose first examples end the help of a group."""


def examples_of(path: str) -> tuple[Example, ...]:
    """Return the examples of a command, or of a group, by the words that call it."""
    if path in OF_GROUPS:
        return tuple(EXAMPLES[command][0] for command in OF_GROUPS[path])
    return EXAMPLES.get(path, ())


def with_examples(path: str, command: click.Command) -> None:
    """End the help of a command with its examples; one that has none is left as it is."""
    lines = [line for one in examples_of(path) for line in (f"  {one.line}", f"      {one.does}")]
    if lines:
        command.epilog = "\n".join(("\b", "Examples:", *lines))
