"""A comparison told: as text, side by side or one above the other, and as a page."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain, zip_longest
from typing import Final

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from percpu_proofs.beside.comparison import Comparison, SourceLine, StepPair

ABREAST: Final = 100
"""Columns from which on the two stand side by side."""
NARROW: Final = 76
"""Columns for a mail."""
_MARGIN: Final = (140, 40)  # columns from which on sentences stand in a margin, and its width
_LEGEND: Final = (
    "= steps that are one, ~ taken at another place in the model's order, * what the contract "
    "says, + added by the patch"
)
_TAB: Final = 4  # columns of a tab of the kernel's
Link = Callable[[str], str | None]
"""Returns where a clause stands on the page, None for nowhere."""

_CLAUSE: Final = re.compile(r"\b[A-Z]{2,5}-\d+\b")
_CALL: Final = re.compile(r"\b\w+(?=\()")


def lines_of(comparison: Comparison, width: int) -> Iterator[str]:
    """Yield a comparison as lines of at most `width` columns, without blanks at their ends."""
    shape = _below if width < ABREAST else _abreast
    for line in chain(_head(comparison, width), shape(comparison, width)):
        yield line.rstrip()
    for closing in (_LEGEND, summary(comparison)):
        yield ""
        yield from textwrap.wrap(closing, width)


def summary(comparison: Comparison) -> str:
    """Return in a sentence how many steps are aligned."""
    own = comparison.kernel_steps
    return (
        f"{comparison.aligned} of {own} steps of the kernel have their step in the model "
        f"({comparison.share:.0%}), which has {comparison.model_steps}."
    )


def _head(comparison: Comparison, width: int) -> Iterator[str]:
    kernel, model = places(comparison)
    yield from textwrap.wrap(kernel, width)
    yield from textwrap.wrap(f"beside {model}", width)
    if comparison.because:
        yield from textwrap.wrap(
            f"{comparison.variant}: {comparison.because}", width, subsequent_indent="  "
        )
    yield ""


def places(comparison: Comparison) -> tuple[str, str]:
    """Return where the two functions stand."""
    kernel = f"{comparison.function} ({comparison.file}:{comparison.line}, "
    model = f"{comparison.model} ({comparison.module}:{comparison.model_line}, "
    return f"{kernel}Linux {comparison.release})", f"{model}variant {comparison.variant})"


def mark(pair: StepPair) -> str:
    """Return the mark between the sides: aligned, aligned across the order, or not.

    >>> mark(StepPair((), (), True, True, ()))
    '~'
    """
    return "~" if pair.elsewhere else "=" if pair.aligned else " "


def label_parts(comparison: Comparison) -> Iterator[StepPair]:
    """Yield the pairs; of the model's lines those name their function that begin one."""
    whole = was = comparison.model.rpartition(".")[2]
    for pair in comparison.pairs:
        lines = []
        for line in pair.model:
            part = line.part or whole
            lines.append(replace(line, part=part if part != was else ""))
            was = part
        yield replace(pair, model=tuple(lines))


def _below(comparison: Comparison, width: int) -> Iterator[str]:
    """Yield the kernel's step, the model's under it, and what the contract says."""
    for pair in label_parts(comparison):
        yield from _side("C ", pair.kernel, width, " ")
        yield from _side("py", pair.model, width, mark(pair))
        yield from _sentences(pair.contract, width)


def _side(name: str, lines: Sequence[SourceLine], width: int, sign: str) -> Iterator[str]:
    for part, number, text in _wrap_lines(lines, width - 11):
        if part:
            yield f"{name} {sign}      | # in {part}"
        yield f"{name} {sign}{number:>5} | {text}"


def _sentences(contract: Iterable[str], width: int) -> Iterator[str]:
    for said in contract:
        yield from textwrap.wrap(
            said, width, initial_indent="   *       ", subsequent_indent=" " * 11
        )


def _abreast(comparison: Comparison, width: int) -> Iterator[str]:
    """Yield the kernel's steps left, the model's right, sentences in a margin or below."""
    from_width, margin = _MARGIN
    margin = margin if width >= from_width else 0
    each = (width - margin - (3 if margin else 0) - 17) // 2
    for pair in label_parts(comparison):
        left = [(n, t) for part, n, t in _wrap_lines(pair.kernel, each)]
        right: list[tuple[str, str]] = []
        for part, number, text in _wrap_lines(pair.model, each):
            right += [("", f"# in {part}")] if part else []
            right.append((number, text))
        said = [line for s in pair.contract for line in textwrap.wrap(s, margin or width)]
        rows = zip_longest(left, right, said if margin else (), fillvalue=None)
        for at, (mine, yours, note) in enumerate(rows):
            sign = mark(pair) if not at else " "
            a = f"{mine[0]:>5} {mine[1]:<{each}}" if mine else " " * (each + 6)
            b = f"{yours[0]:>4} {yours[1]:<{each}}" if yours else " " * (each + 5)
            yield f"{a} {sign} | {b}" + (f" | {note}" if note else "")
        if not margin:
            yield from _sentences(pair.contract, width)


def _wrap_lines(lines: Sequence[SourceLine], width: int) -> Iterator[tuple[str, str, str]]:
    """Yield lines cut to a width, with the function that begins in them and their numbers."""
    for line in lines:
        text = line.text.expandtabs(_TAB)
        bare = text.lstrip()
        indent = min(len(text) - len(bare), max(width // 3, 1))
        pieces = textwrap.wrap(
            bare, max(width, 20), initial_indent=" " * indent,
            subsequent_indent=" " * (indent + 4), break_on_hyphens=False,
        )  # fmt: skip
        number = f"{'+' if line.added else ''}{line.number}"
        for at, piece in enumerate(pieces or [""]):
            yield line.part if not at else "", number if not at else "", piece


def html_fragment(
    comparison: Comparison, *, link: Link = lambda name: None, functions: Iterable[str] = ()
) -> Markup:
    """Return a comparison as a <section>, to stand on a page with `style()`.

    link gives clauses their targets; functions are those that have a section on the same page, and
    calls of them lead there (`anchor`).
    """
    known = frozenset(functions)
    kernel, model = places(comparison)
    return Markup(
        _templates().get_template("function.html").render(
            one=comparison, kernel=kernel, model=model, summary=summary(comparison),
            pairs=label_parts(comparison), anchor=anchor(comparison),
            code=lambda lines: _code(lines, known),
            said=lambda text: _link_names(text, _CLAUSE, link),
        )
    )  # fmt: skip


def page(comparisons: Sequence[Comparison]) -> str:
    """Return a page of comparisons, with an index if there are several."""
    names = [one.function for one in comparisons]
    return _templates().get_template("page.html").render(
        all=comparisons, style=style(), anchor=anchor,
        fragments=[html_fragment(one, functions=names) for one in comparisons],
    )  # fmt: skip


def style() -> Markup:
    """Return what fragments want of a page's style sheet."""
    return Markup(_templates().get_template("beside.css").render())


def anchor(comparison: Comparison) -> str:
    """Return the id of a comparison's section; km's functions have one of their own.

    The vm backing's is named as a call names it.
    """
    km = "-km" if comparison.file.endswith("-km.c") else ""
    return f"beside-{comparison.function}{km}"


@cache
def _templates() -> Environment:
    loader = PackageLoader("percpu_proofs.beside")
    return Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def _code(lines: Iterable[SourceLine], known: frozenset[str]) -> Markup:
    """Return lines of code with their numbers; calls of functions on the page lead there."""
    shown = []
    for line in lines:
        head = escape(f"{line.number:>5} ")
        text = line.text.expandtabs(_TAB)
        code = _link_names(text, _CALL, lambda n: f"#beside-{n}" if n in known else None)
        label = Markup("<i># in {}</i>\n").format(line.part) if line.part else Markup()
        if line.added:
            code = Markup("<ins>{}</ins>").format(code)
        shown.append(label + Markup("<b>{}</b>{}").format(head, code))
    return Markup("\n").join(shown)


def _link_names(text: str, pattern: re.Pattern[str], link: Link) -> Markup:
    """Return a text, escaped, in which what a pattern finds leads where a link says."""
    found = Markup()
    at = 0
    for match in pattern.finditer(text):
        found += escape(text[at : match.start()])
        target = link(match[0])
        anchored = Markup('<a href="{}">{}</a>').format(target, match[0])
        found += anchored if target else escape(match[0])
        at = match.end()
    return found + escape(text[at:])
