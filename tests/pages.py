"""Pages as a browser that has no network takes them: places, links, what they would fetch."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from functools import cached_property
from html.parser import HTMLParser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "NO BROWSER: no report was opened, clicked through or measured; "
    "apt-get install chromium brings what this test needs"
)
_FETCHING = ("src", "srcset", "action", "poster", "data", "background", "formaction", "ping")
_IN_STYLE = re.compile(r"@import|url\(\s*['\"]?(?!#|data:)", re.IGNORECASE)
_IN_SCRIPT = re.compile(r"\b(?:fetch|XMLHttpRequest|WebSocket|EventSource|sendBeacon|import)\s*\(")


def browser() -> str | None:
    """Return the Chromium of this machine."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Page(HTMLParser):
    """What stands in a page: ids, links, styles and scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.texts: dict[str, str] = {}  # of style, script and the index
        self._inside = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids[given["id"]] += 1
        href = given.get("href", "")
        if tag == "a":
            self.links.append(href)
        elif href and not href.startswith(("#", "data:")):
            self.fetched.append(f"{tag} {href}")
        self.fetched += [f"{tag} {given[name]}" for name in _FETCHING if name in given]
        self.texts["styles"] = self.texts.get("styles", "") + given.get("style", "")
        self._inside = given.get("id", tag) if tag in ("style", "script") else ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside] = self.texts.get(self._inside, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    @cached_property
    def index(self) -> list[list[str]]:
        """What the search box finds: place, kind, title and text of each entry."""
        found: list[list[str]] = json.loads(self.texts["index"])
        return found

    def problems(self) -> list[str]:
        """Return what is wrong with the page, nothing if it is whole."""
        wrong = [f"two places {name}" for name, count in self.ids.items() if count > 1]
        wrong += [f"a link to {link}" for link in dict.fromkeys(self.links)
                  if not link.startswith("#") or link[1:] not in self.ids]  # fmt: skip
        wrong += [f"found at {place}" for place, *_ in self.index if place not in self.ids]
        wrong += [f"fetches {what}" for what in self.fetched]
        if _IN_STYLE.search(self.texts["style"] + self.texts["styles"]):
            wrong.append("a style that fetches")
        if _IN_SCRIPT.search(self.texts["script"]):
            wrong.append("a script that fetches")
        return wrong
