"""Comparisons as pages: fragments that a report may take in, and a page of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader
from markupsafe import Markup, escape

from percpu_proofs.beside.comparison import Comparison, SourceLine
from percpu_proofs.beside.text import labelled, places, summary

Link = Callable[[str], str | None]
"""Returns where a clause stands on the page, None for nowhere."""

_CLAUSE: Final = re.compile(r"\b[A-Z]{2,5}-\d+\b")
_CALL: Final = re.compile(r"\b\w+(?=\()")


def nowhere(_: str) -> None:
    """Return None: a page without clauses."""


def html_fragment(
    comparison: Comparison, *, link: Link = nowhere, functions: Iterable[str] = ()
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
            pairs=labelled(comparison), anchor=anchor(comparison),
            code=lambda lines: _code(lines, known),
            said=lambda text: _linked(text, _CLAUSE, link),
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
        text = line.text.expandtabs(4)
        code = _linked(text, _CALL, lambda n: f"#beside-{n}" if n in known else None)
        label = Markup("<i># in {}</i>\n").format(line.part) if line.part else Markup()
        if line.added:
            code = Markup("<ins>{}</ins>").format(code)
        shown.append(label + Markup("<b>{}</b>{}").format(head, code))
    return Markup("\n").join(shown)


def _linked(text: str, pattern: re.Pattern[str], link: Link) -> Markup:
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
