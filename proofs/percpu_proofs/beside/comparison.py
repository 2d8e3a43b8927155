"""A kernel function and the model's, row by row, with the sentences of its contract."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from typing import Any, Final

from percpu_contracts.contract import Condition, marks_of, sentence
from percpu_proofs.beside.alignment import AlignmentRow, FunctionStep, Likeness, Role, align, deeds
from percpu_proofs.beside.kernel_code import Function, functions
from percpu_proofs.beside.model_code import Definition, definitions, steps, words_of
from percpu_proofs.kernel.tree import BACKINGS, Tree
from percpu_proofs.recorded.traces.functions import plain_name
from percpu_proofs.run.inputs import InputError
from percpu_reference.kernel_names import FILES, model_name, origin
from percpu_reference.variants import Allocator, with_backing
from percpu_spec.geometry import Backing

_NOW: Final = {"pcpu_alloc": "pcpu_alloc_noprof"}
"""Names that functions have from 6.10 on."""
_SPEAKS_OF: Final = 0.1
"""How like a step a condition must be to stand beside it; else it stands at the end."""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A line of a file; part: the model function that it is of, where that is not the one shown."""

    number: int
    text: str
    added: bool = False  # by a patch
    part: str = ""


@dataclass(frozen=True, slots=True)
class StepPair:
    """Steps beside one another, or of one side alone; and what the contract says of them."""

    kernel: tuple[SourceLine, ...]
    model: tuple[SourceLine, ...]
    aligned: bool
    elsewhere: bool  # the model takes this step at another place in its order
    contract: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A function of a tree beside a function of a variant."""

    function: str  # of the kernel
    file: str
    line: int
    release: str
    model: str
    module: str
    model_line: int
    variant: str
    because: str  # of the variant
    pairs: tuple[StepPair, ...]
    kernel_steps: int
    model_steps: int
    aligned: int  # steps of the kernel's

    @property
    def share(self) -> float:
        """Return the share of the kernel's steps that have their step in the model, 1 if none."""
        return self.aligned / self.kernel_steps if self.kernel_steps else 1.0

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"share": round(self.share, 3)}


@dataclass(frozen=True, slots=True)
class ComparisonSources:
    """The allocator's files of a kernel, and the model that stands beside it.

    base: the same files before they were patched.
    """

    release: str
    texts: Mapping[str, str]
    variant: type[Allocator]
    name: str
    because: str = ""
    base: Mapping[str, str] | None = None


def texts_of(tree: Tree) -> dict[str, str]:
    """Return the C files of a tree by name. Raises InputError."""
    return {name: tree.text(name) for name in tree.files if name.startswith("mm/")}


def compare_all(sources: ComparisonSources) -> list[Comparison]:
    """Return all functions that the model follows and the kernel has, in the order of its files."""
    found = [
        compare(sources, name, "km" if file == BACKINGS["km"] else "vm")
        for file, names in FILES.items() if file in sources.texts
        for name in names if _in_file(sources, file, name) is not None
    ]  # fmt: skip
    order = list(FILES)
    return sorted(found, key=lambda one: (order.index(one.file), one.line))


def compare(sources: ComparisonSources, word: str, backing: Backing = "vm") -> Comparison:
    """Return the comparison of a function, by the kernel's name or the model's.

    The kernel's may be as stacks print it (pcpu_isolate_chunk.isra.0+0x1f/0x30).

    Raises InputError for one that the model or the kernel has not, with names that are near.
    """
    word = plain_name(word)
    name = model_name(word)
    source = origin(name)
    if source is None or not source.function:
        raise _unknown(sources, word, "" if source is None else source.reason)
    followed = source.function
    name = model_name(followed)  # of the whole, where the word names a part
    files = [f for f in source.files if f != BACKINGS["km" if backing == "vm" else "vm"]]
    for file in files:
        if (kernel := _in_file(sources, file, followed)) is not None:
            return _compare(sources, file, kernel, name, with_backing(sources.variant, backing))
    where = ", ".join(files or source.files)
    raise InputError(
        "beside", None, f"a function that Linux {sources.release} has in {where}", followed
    )


def _in_file(sources: ComparisonSources, file: str, name: str) -> Function | None:
    defined = functions(sources.texts.get(file, ""))
    return next((one for own, one in defined.items() if name in (own, _NOW.get(own))), None)


def _unknown(sources: ComparisonSources, word: str, reason: str) -> InputError:
    """Return what is said of a word that is no function of both."""
    if reason:
        return InputError("beside", None, "a function of the kernel", f"{word}, ours: {reason}")
    for file, text in sources.texts.items():
        if (found := functions(text).get(word)) is not None:
            return InputError(
                "beside", None, "a function that the model follows (boot-time layout, debug output "
                "and small helpers it has not, or in place)", f"{word} ({file}:{found.first})",
            )  # fmt: skip
    known = dict.fromkeys(name for names in FILES.values() for name in names)
    near = get_close_matches(word, [*known, *map(model_name, known)])
    like = f"near: {', '.join(near)}" if near else "--all lists them"
    return InputError(
        "beside", None,
        "a function of the kernel's (pcpu_isolate_chunk) or of the model's (isolate_chunk); "
        f"{like}", word,
    )  # fmt: skip


def _compare(
    sources: ComparisonSources, file: str, kernel: Function, name: str, variant: type[Allocator]
) -> Comparison:
    definition = definitions(variant, name)[0]
    model_steps = steps(variant, name, _NOW.get(kernel.name, kernel.name))
    rows = align(kernel.steps, model_steps)
    c_lines = _kernel_lines(sources, file, kernel)
    m_lines = _model_lines(definition, model_steps)
    says = _contract(variant, name, kernel.steps, model_steps, rows)
    pairs = [
        StepPair(
            tuple(line for i in row.left for line in c_lines[i]),
            tuple(line for j in row.right for line in m_lines[j]),
            row.aligned, row.elsewhere, tuple(said),
        )
        for row, said in zip(rows, says, strict=True)
    ]  # fmt: skip
    return Comparison(
        kernel.name, file, kernel.first, sources.release,
        f"{definition.owner.__name__}.{name}", definition.file, definition.tree.lineno,
        sources.name, sources.because, tuple(pairs) or _bare(sources, file, kernel, definition),
        len(kernel.steps), len(model_steps), sum(len(row.left) for row in rows if row.aligned),
    )  # fmt: skip


def _bare(
    sources: ComparisonSources, file: str, kernel: Function, definition: Definition
) -> tuple[StepPair, ...]:
    """Return the one pair of two functions that do nothing."""
    left = _source_lines(sources.texts[file].split("\n"), kernel.first, kernel.last)
    at = definition.tree.lineno
    return (StepPair(left, _source_lines(_source(definition.file), at, at), True, False, ()),)


def _kernel_lines(
    sources: ComparisonSources, file: str, kernel: Function
) -> list[tuple[SourceLine, ...]]:
    """Return the lines of each step with what leads to it; together they are the function."""
    lines = sources.texts[file].split("\n")
    before = sources.texts if sources.base is None else sources.base
    added = _added_lines(before.get(file, ""), sources.texts[file])
    found = []
    begin = kernel.first
    for at, step in enumerate(kernel.steps):
        end = step.last if at + 1 < len(kernel.steps) else kernel.last
        if at + 1 < len(kernel.steps):  # closing braces
            while end + 1 < kernel.steps[at + 1].first and lines[end].strip() == "}":
                end += 1
        found.append(_source_lines(lines, begin, end, added))
        begin = max(begin, end + 1)
    return found


@cache
def _added_lines(before: str, after: str) -> frozenset[int]:
    if before == after:
        return frozenset()
    old, new = before.split("\n"), after.split("\n")
    codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return frozenset(
        number + 1 for tag, _, _, begin, end in codes if tag != "equal"
        for number in range(begin, end)
    )  # fmt: skip


@cache
def _source(module: str) -> list[str]:
    return inspect.getsource(importlib.import_module(module)).split("\n")


def _model_lines(
    definition: Definition, model: Sequence[FunctionStep]
) -> list[tuple[SourceLine, ...]]:
    """Return the lines of each step, with the comments in front of it."""
    found = []
    for step in model:
        lines = _source(step.file)
        begin = step.first
        while lines[begin - 2].strip().startswith("#"):
            begin -= 1
        found.append(_source_lines(lines, begin, step.last, part=step.part))
    return found


def _source_lines(
    lines: Sequence[str], begin: int, end: int, added: Container[int] = (), part: str = ""
) -> tuple[SourceLine, ...]:
    """Return the lines from one to another of a file, without the blank ones at either end."""
    numbers = [n for n in range(begin, end + 1) if lines[n - 1].strip()]
    return tuple(
        SourceLine(n, lines[n - 1].rstrip(), n in added, part)
        for n in (range(numbers[0], numbers[-1] + 1) if numbers else ())
    )


def _contract(
    variant: type,
    name: str,
    kernel: Sequence[FunctionStep],
    model: Sequence[FunctionStep],
    rows: Sequence[AlignmentRow],
) -> list[list[str]]:
    """Return the sentences of the contract that stand beside each row.

    What is required stands at the top, what is ensured beside the step that it speaks of most: the
    one that changes or calls what the condition reads.
    """
    says: list[list[str]] = [[] for _ in rows]
    if not rows:
        return says
    alike = Likeness([step.words for step in (*kernel, *model)])
    done = [dict(d for j in row.right for d in deeds(model[j].words).items()) for row in rows]
    for mark in marks_of(variant, name):
        if mark.kind == "old" or mark.is_note or mark.level == "fast":
            continue
        at = 0
        if mark.kind == "ensure":
            words = _condition_words(mark.condition)
            likes = [alike(words, one) for one in done]
            at = likes.index(max(likes)) if max(likes) >= _SPEAKS_OF else len(rows) - 1
        says[at].append(f"{mark.kind}s {sentence(mark)}")
    return says


@cache
def _condition_words(condition: Condition) -> dict[str, Role]:
    """Return what a condition reads, as if it were assigned."""
    function = inspect.unwrap(condition)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return dict.fromkeys(words_of(tree), Role.ASSIGNED)
