"""A file of names for tokens that are too long for a line: `NAME TOKEN` on each, `#` a comment."""

from __future__ import annotations

import difflib
from pathlib import Path

from percpu_proofs.explore.packing import tidy
from percpu_proofs.run.inputs import InputError, read_text, writing


def token_of(text: str) -> str:
    """Return the token that a text is, or that NAME@FILE names. Raises InputError."""
    text = tidy(text)
    name, at, file = text.partition("@")
    if not at:
        return text
    known = read_names(Path(file))
    if name not in known:
        near = difflib.get_close_matches(name, known) or list(known)[:5]
        expected = f"one of its names, {', '.join(near)}" if near else "a line NAME TOKEN"
        raise InputError(Path(file), None, expected, name)
    return known[name]


def read_names(path: Path) -> dict[str, str]:
    """Return the tokens of a file by their names. Raises InputError with the line."""
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or found.get(words[0], words[1]) != words[1]:
            expected = "a name of its own and a token" if len(words) == 2 else "NAME TOKEN"
            raise InputError(path, number, expected, line.strip()[:60])
        found[words[0]] = words[1]
    return found


def name_in(path: Path, preferred: str, token: str) -> str:
    """Return NAME@FILE for a token, whose name is entered if there is none yet.

    It is the one that is preferred, with a number behind it if that is another's. Raises InputError
    for a file that cannot be read or written.
    """
    known = read_names(path) if path.exists() else {}
    name = next((name for name, its in known.items() if its == token), None)
    if name is None:
        numbered = (f"{preferred}-{number}" for number in range(2, len(known) + 3))
        name = preferred if preferred not in known else next(n for n in numbered if n not in known)
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(f"{name} {token}\n")
    return f"{name}@{path}"
