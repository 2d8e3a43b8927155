"""Python code of the specification and the model as HTML."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import groupby
from textwrap import dedent
from types import FunctionType
from typing import Any

from markupsafe import Markup, escape
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Operator, String, _TokenType

from percpu_proofs.report.places import Places

_LEXER = PythonLexer(stripnl=False)
_CLASSES = (
    (Keyword, "k"), (Operator.Word, "k"), (Comment, "c"), (String.Doc, "c"), (String, "s"),
    (Name.Function, "f"), (Name.Decorator, "d"),
)  # fmt: skip
"""What is told apart, with the class of the style sheet: a fifth of what Pygments would write."""


class Code:
    """Shows functions; calls of those that the report explains are links."""

    def __init__(self, names: Places) -> None:
        self._names = names

    def of(self, function: Callable[..., Any]) -> Markup:
        """Return the source of a function."""
        return self.text(dedent(inspect.getsource(function)))

    def with_helpers(self, function: Callable[..., Any]) -> Markup:
        """Return the source of a function behind that of what its own module keeps for it."""
        return Markup("\n\n\n").join(self.of(one) for one in (*_helpers(function), function))

    def text(self, source: str) -> Markup:
        """Return Python source, highlighted."""
        pieces = groupby(_tokens(source), key=lambda one: one[0])
        html = Markup("")
        for style, members in pieces:
            words = [word for _, word in members]
            if style:
                html += Markup('<span class="{}">{}</span>').format(style, "".join(words))
            else:
                html += Markup("").join(
                    self._word(word, called=behind.startswith("("))
                    for word, behind in zip(words, [*words[1:], ""], strict=True)
                )
        return Markup(html.rstrip("\n"))

    def _word(self, word: str, *, called: bool) -> Markup:
        place = self._names.place(word) if called and word.isidentifier() else None
        if place is None:
            return escape(word)
        return Markup('<a href="#{}">{}</a>').format(place, word)


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a source, each with the class of its style, if it has one."""
    for kind, word in _LEXER.get_tokens(source):
        yield next((style for of, style in _CLASSES if _is(kind, of)), ""), word


def _is(kind: _TokenType, of: _TokenType) -> bool:
    return kind[: len(of)] == of  # `in`, which its stubs do not know


def _helpers(function: Callable[..., Any]) -> list[Callable[..., Any]]:
    """Return the private functions of its module that a function calls, callees first."""
    found: dict[str, Callable[..., Any]] = {}

    def enter(of: Any) -> None:
        of = inspect.unwrap(of)
        for name in of.__code__.co_names:
            one = of.__globals__.get(name)
            mine = isinstance(one, FunctionType) and one.__module__ == of.__module__
            if mine and name.startswith("_") and name not in found:
                enter(one)
                found[name] = one

    enter(function)
    return list(found.values())
