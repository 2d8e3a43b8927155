"""The examples that end each command's --help; a test runs every one of them.

In them stand for what a reader has: list.ops an operation list, mine.txt a scenario, mine.py a
variant, dmesg.txt a log, TREE a Linux source tree, TOKEN that of a counterexample.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import click


class Example(NamedTuple):
    """A command line and what it does. takes: what it needs that is not there at once."""

    line: str
    does: str
    takes: str = ""  # seconds: it is run with the deep tests; a tree: it needs one as well


SECONDS, TREE = "seconds", "a tree"

EXAMPLES: Final[dict[str, tuple[Example, Example]]] = {
    "run": (
        Example("percpu-spec run 50-straddle-p16-u128-c2", "a recorded vector that ships"),
        Example("percpu-spec run list.ops --variant 6.14 --contracts full", "a list of your own"),
    ),
    "conform kernel": (
        Example("percpu-spec conform kernel --source TREE --count 2000", "drawn cases", TREE),
        Example("percpu-spec conform kernel --source TREE --operations list.ops",
                "one list, field by field", TREE),
    ),
    "conform record": (
        Example("percpu-spec conform record --source TREE list.ops --out mine",
                "a list as a vector in mine/", TREE),
        Example("percpu-spec conform record --source TREE 30-early-u32-c2 --out mine",
                "a shipped vector anew", TREE),
    ),
    "conform vectors": (
        Example("percpu-spec conform vectors 70-mixed-up-u32", "one that ships"),
        Example("percpu-spec conform vectors", "all that ship", SECONDS),
    ),
    "conform trace": (
        Example("percpu-spec conform trace boot61_2", "a boot that ships, placement by placement"),
        Example("percpu-spec conform trace boot61_2 --who --at 400",
                "who holds memory after 400 events"),
    ),
    "conform recorder": (
        Example("percpu-spec conform recorder", "print the script; then, as root: sh it FOLDER 60"),
        Example("percpu-spec conform recorder --bpftrace", "the same for bpftrace"),
    ),
    "show": (
        Example("percpu-spec show 612_4.removed60 --map", "all chunks of a kernel's state"),
        Example("percpu-spec show 33-frag-u32-c4-odd --at 300 --chunk 3 --svg chunk.svg",
                "one chunk after 300 operations, as a picture too"),
    ),
    "explore": (
        Example("percpu-spec explore float-taken", "a scenario that ships, every schedule"),
        Example("percpu-spec explore mine.txt --variant reference", "one of your own"),
    ),
    "replay": (
        Example("percpu-spec replay TOKEN", "a counterexample, step by step"),
        Example("percpu-spec replay TOKEN --json", "the same for programs"),
    ),
    "review": (
        Example("percpu-spec review --variant mine.py",
                "a variant of your own: about a minute on two cores", SECONDS),
        Example("percpu-spec review --source TREE --fix L2 --quick --search crumbs",
                "a tree and a fix, one search of it", TREE),
    ),
    "report": (
        Example("percpu-spec report", "the book: some minutes where no review is kept", SECONDS),
        Example("percpu-spec report --html book.html --source TREE",
                "with the kernel's C beside the model", TREE),
    ),
    "prove": (
        Example("percpu-spec prove --plugin", "where CrossHair finds its plugin"),
        Example("percpu-spec prove SLOT-1", "the claims about one clause", SECONDS),
    ),
    "log": (
        Example("percpu-spec log dmesg.txt", "the layout, and each failure"),
        Example("percpu-spec log dmesg.txt --state 612_4.removed60", "why they fail in that state"),
    ),
    "state": (
        Example("percpu-spec state 612_4.removed60", "a saved state, judged"),
        Example("percpu-spec state 612_4.removed60 --ask 4096,8,atomic --what-if work",
                "what a request would get, and what the work would do"),
    ),
    "workload burst": (
        Example("percpu-spec workload burst --variant linux_7_1 --requests 600 --every 300",
                "one algorithm, few requests", SECONDS),
        Example("percpu-spec workload burst --size 64", "all, requests of 64 bytes", SECONDS),
    ),
    "workload removal": (
        Example("percpu-spec workload removal cg612_4 --variant reference", "one alone", SECONDS),
        Example("percpu-spec workload removal cg510_4 --variant linux_5_12 --svg removal.svg",
                "with a plot", SECONDS),
    ),
    "workload cost": (
        Example("percpu-spec workload cost --variant rfc_1 --variant linux_6_12", "two of them",
                SECONDS),
        Example("percpu-spec workload cost --source TREE --variant linux_6_12", "and a tree", TREE),
    ),
    "workload fixes": (
        Example("percpu-spec workload fixes --operations 500", "over the first of c10", SECONDS),
        Example("percpu-spec workload fixes list.ops", "over a list of your own"),
    ),
    "bench": (
        Example("percpu-spec bench list.ops --rounds 1", "a list of your own", SECONDS),
        Example("percpu-spec bench c10", "one that ships", SECONDS),
    ),
    "explain": (
        Example("percpu-spec explain HINT-5 float pcpu_isolate_chunk",
                "a clause, a word of the glossary, a function"),
        Example("percpu-spec explain 'percpu: allocation failed, size=8 align=8 atomic=1, atomic "
                "alloc failed, no space left'", "a line of dmesg"),
    ),
    "beside": (
        Example("percpu-spec beside isolate_chunk --source TREE", "one function", TREE),
        Example("percpu-spec beside --all --source TREE --html beside.html", "all, as a page",
                TREE),
    ),
    "operations": (
        Example("percpu-spec operations", "the language, with examples"),
        Example("percpu-spec operations --json", "the same for programs"),
    ),
    "completion": (
        Example("percpu-spec completion bash", "print what bash needs"),
        Example("percpu-spec completion fish", "the same for fish"),
    ),
}  # fmt: skip


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
