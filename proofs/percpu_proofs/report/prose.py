"""Markdown and plain text as HTML, in which every name that the report explains is a link."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape

from percpu_proofs.report.places import Places


class Prose:
    """Renders texts; what a name's own place says of itself is no link: give it as `here`."""

    def __init__(self, names: Places, terms: Mapping[str, str]) -> None:
        """terms: places of words, for `statement`."""
        self._names = names
        self._terms = terms
        words = sorted(terms, key=len, reverse=True)
        self._term = re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b") if words else None
        self._markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
        self._markdown.add_render_rule("text", _rule(self._text))
        self._markdown.add_render_rule("code_inline", _rule(self._code))

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

    def _code(self, name: str, here: str, seen: set[str] | None) -> Markup:
        return self.name(name, here)


def _rule(shown: Callable[[str, str, set[str] | None], Markup]) -> Any:
    """Return a rule of a renderer that shows a token's content so."""

    def rule(
        renderer: RendererHTML,
        tokens: Sequence[Token],
        at: int,
        options: OptionsDict,
        env: MutableMapping[str, Any],
    ) -> str:
        return shown(tokens[at].content, env["here"], env.get("seen"))

    return rule


def _link(place: str | None, shown: str) -> Markup:
    return Markup('<a href="#{}">{}</a>').format(place, shown)
