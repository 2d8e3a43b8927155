"""The one file that a report is: prose and code as HTML, each name in them that it has a link."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from textwrap import dedent
from types import FunctionType
from typing import Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Operator, String, _TokenType

from percpu_proofs.report.pictures import LEGEND, ChunkBars
from percpu_reference.kernel_names import FILES, PART_OF, model_name, origin
from percpu_spec.catalogue import clauses, findings

KERNEL_NAME: Final = r"\b_{0,2}pcpu_\w+\b|\bfree_percpu\b"
"""What a name of the kernel's percpu code looks like in a text."""

_IN_TEXT = re.compile(rf"\b[A-Z]+-[1-9][0-9]*\b|\b[LR][1-9][0-9]*\b|\bREFINE\b|{KERNEL_NAME}")
_DOTTED = re.compile(r"\w+(\.\w+)+")
_ALIASES: Final = {"pcpu_alloc": "pcpu_alloc_noprof"}  # the name before 6.10


def names_of_functions(text: str) -> list[str]:
    """Return the names of kernel functions and variables in a text, each once, under one name.

    >>> names_of_functions("pcpu_alloc takes pcpu_lock; pcpu_alloc")
    ['pcpu_alloc_noprof', 'pcpu_lock']
    """
    return list(dict.fromkeys(_ALIASES.get(n, n) for n in re.findall(KERNEL_NAME, text)))


def followed_functions() -> dict[str, tuple[str, ...]]:
    """Return the kernel functions that the model follows, each with its files."""
    found: dict[str, tuple[str, ...]] = {}
    for file, functions in FILES.items():
        for name in functions:
            found[name] = (*found.get(name, ()), file)
    return dict(sorted(found.items(), key=lambda one: one[0].lstrip("_")))


def model_functions(kernel: str) -> list[str]:
    """Return the functions of the model that are a kernel function, or parts of it.

    >>> model_functions("pcpu_destroy_chunk")
    ['destroy_chunk', 'chunk_destroyed']
    """
    whole = model_name(kernel)
    found = origin(whole)
    first = [whole] if found is not None and found.function == kernel else []
    return first + [part for part, of in PART_OF.items() if of == kernel]


class Places:
    """The places of one document by the names that they explain: clauses and findings, and more."""

    def __init__(self, more: Mapping[str, str] | None = None) -> None:
        self._places = {name: name for name in (*clauses(), *findings())} | dict(more or {})
        for alias, name in _ALIASES.items():
            if name in self._places:
                self._places[alias] = self._places[name]

    def place(self, name: str) -> str | None:
        """Return the id of the place that explains a name, None if there is none.

        >>> places = Places({"held": "here", "patch": "there"})
        >>> [places.place(name) for name in ("HINT-5", "locks.held()", "L1-end.patch")]
        ['HINT-5', 'here', None]
        """
        name = name.removesuffix("()")
        last = name.rpartition(".")[2] if _DOTTED.fullmatch(name) else name
        return self._places.get(name) or self._places.get(last)

    def split(self, text: str) -> list[tuple[str, str | None]]:
        """Return a text in pieces, each with the place that explains it, if one does."""
        pieces: list[tuple[str, str | None]] = []
        done = 0
        for match in _IN_TEXT.finditer(text):
            place = self.place(match[0])
            if place is not None:
                pieces += [(text[done : match.start()], None), (match[0], place)]
                done = match.end()
        return [*pieces, (text[done:], None)]


class Prose:
    """Renders texts; what a name's own place says of itself is no link: give it as `here`."""

    def __init__(self, names: Places, terms: Mapping[str, str]) -> None:
        """terms: places of words, for `statement`."""
        self._names = names
        self._terms = terms
        words = sorted(terms, key=len, reverse=True)
        self._term = re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b") if words else None
        self._markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        self._add_rule("text", self._text)
        self._add_rule("code_inline", lambda name, here, _: self.name(name, here))

    def _add_rule(self, kind: str, render: Callable[[str, str, set[str] | None], Markup]) -> None:
        """Have the content of a kind of tokens rendered so."""
        self._markdown.add_render_rule(
            kind,
            lambda _, tokens, at, options, env: render(
                tokens[at].content, env["here"], env.get("seen")
            ),
        )

    def markdown(self, text: str, here: str = "") -> Markup:
        """Return Markdown as blocks of HTML, tables in boxes that scroll."""
        html: str = self._markdown.render(text, {"here": here})
        html = html.replace("<table>", '<div class="wide"><table>')
        return Markup(html.replace("</table>", "</table></div>"))

    def statement(self, text: str, here: str = "") -> Markup:
        """Return Markdown whose words lead to the glossary where they first stand."""
        return Markup(self._markdown.render(text, {"here": here, "seen": set()}))

    def line(self, text: str, here: str = "") -> Markup:
        """Return one paragraph's Markdown without the paragraph."""
        return Markup(self._markdown.renderInline(text, {"here": here}))

    def plain(self, text: str, here: str = "") -> Markup:
        """Return a text that is no Markdown, with its links."""
        return Markup("").join(
            escape(piece) if place in (None, here) else _link(place, piece)
            for piece, place in self._names.split(text)
        )

    def _text(self, text: str, here: str, seen: set[str] | None) -> Markup:
        """Return a text with its links; seen: places of words that it links no more, if any."""
        if seen is None or self._term is None:
            return self.plain(text, here)
        html = Markup()
        done = 0
        for match in self._term.finditer(text):
            place = self._terms[match[0]]
            if place not in seen:
                seen.add(place)
                html += self.plain(text[done : match.start()], here)
                html += Markup('<a class="term" href="#{}">{}</a>').format(place, match[0])
                done = match.end()
        return html + self.plain(text[done:], here)

    def docstring(self, text: str) -> Markup:
        """Return a text with names in backticks, which is no Markdown otherwise."""
        pieces = text.split("`")  # those at odd places stood between two of them
        return Markup("").join(
            self.name(piece) if at % 2 else self.plain(piece) for at, piece in enumerate(pieces)
        )

    def name(self, name: str, here: str = "") -> Markup:
        """Return a name in code, a link where the report explains it."""
        code = Markup("<code>{}</code>").format(name)
        place = self._names.place(name)
        return code if place in (None, here) else _link(place, code)


def _link(place: str | None, shown: str) -> Markup:
    return Markup('<a href="#{}">{}</a>').format(place, shown)


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
        return escape(word) if place is None else _link(place, word)


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


class IndexEntry(NamedTuple):
    """What the search box can find: a place of the document, and what stands there."""

    place: str
    kind: str
    title: str
    text: str


class Document:
    """One report in the making: what all its parts share."""

    def __init__(
        self,
        names: Places | None = None,
        terms: Mapping[str, str] | None = None,
        functions: Places | None = None,
    ) -> None:
        """names: what the report explains, clauses and findings alone unless given.

        terms: places of words that statements link where they first use them. functions: places of
        what code calls, all names unless given.
        """
        names = names or Places()
        self.prose = Prose(names, terms or {})
        self.code = Code(functions or names)
        self.bars = ChunkBars()

    def render(self, template: str, title: str, index: Iterable[IndexEntry], **content: Any) -> str:
        """Return the document. The same content gives the same bytes."""
        environment = Environment(
            loader=PackageLoader("percpu_proofs.report"), autoescape=True, trim_blocks=True,
            lstrip_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True,
        )  # fmt: skip
        return environment.get_template(template).render(
            title=title, prose=self.prose, code=self.code,
            bars=self.bars, bar_legend=LEGEND, index=list(map(list, index)),
            clauses=list(clauses().values()), findings=list(findings().values()), **content,
        )  # fmt: skip


def clause_index() -> Iterator[IndexEntry]:
    """Yield what the search box finds of clauses and findings."""
    for clause in clauses().values():
        text = " ".join(f"{clause.statement} {clause.kernel}".replace("`", "").split())
        yield IndexEntry(clause.id, "clause", f"{clause.id}: {clause.title}", text)
    for finding in findings().values():
        text = " ".join(finding.what.replace("`", "").split())
        yield IndexEntry(finding.id, "finding", f"{finding.id}: {finding.title}", text)
