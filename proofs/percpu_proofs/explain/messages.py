"""What clauses and commands print, found by its words from the sources of the messages.

A text in the code is a message with holes, where values stand. What is on the screen is one with
other values; a part of one is as good.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import percpu_contracts
import percpu_proofs
import percpu_reference
import percpu_spec
from percpu_contracts.contract import marked_names, marks_of
from percpu_contracts.registry import statements
from percpu_proofs.explain import Explanation, explanation, titles
from percpu_proofs.logs import advice
from percpu_reference import VARIANTS, Allocator
from percpu_spec.catalogue import clauses

_HOLE: Final = "\0"
_ONE_OR_MORE: Final = "\1"  # behind a word that is one or many
_LETTERS: Final = 10  # of a message that say what it is, in two words at least
_LONGEST: Final = 600  # characters of a line that may be one
_SHARE: Final = 4  # the part of a line that its message has to be
_WORDS: Final = 2  # of a line that can be one
_PART: Final = 3  # words of a part of a message
_TOLD: Final = 3  # messages of one line
_PAIR: Final = 6  # letters of two words that say where to look
_PREFIX: Final = re.compile(r"^[a-z]+: ")  # whose number is told on the screen
_PATTERN: Final = re.compile(r"\\|\(\?|\.[*+]|\[\^|\+0x|\.[ch]:\d|-->")
"""In what is no text for people, or a stack's frame, or a chain of locks."""
_ID: Final = re.compile(r"[A-Z]+-[1-9][0-9]*")


class PrintedMessage(NamedTuple):
    """A text in the code with holes, the function that makes it, and whose clauses it speaks of.

    command: that whose module makes it; empty for modules that are of several.
    """

    text: str
    function: str
    module: str
    command: str = ""
    clauses: tuple[str, ...] = ()

    @property
    def letters(self) -> int:
        """How many letters it has of its own; 0 where they say too little."""
        if _PATTERN.search(self.text):
            return 0
        words = re.findall(r"[A-Za-z_]{2,}", self.text)
        count = sum(map(len, words))
        return count if len(words) > 1 and count >= _LETTERS else 0

    def stands_in(self, line: str) -> bool:
        """Return whether a line, its blanks single, has it with whatever values."""
        text = _PREFIX.sub("", self.text).strip(f"{_HOLE} ")
        form = re.escape(text).replace(_HOLE, ".{0,150}?").replace(_ONE_OR_MORE, "s?")
        begin = r"(?<!\w)" if text[:1].isalnum() else ""
        end = r"(?!\w)" if text[-1:].isalnum() else ""
        return re.search(f"{begin}{form}{end}", line) is not None


def explain_printed(line: str) -> Iterator[Explanation]:
    """Yield what makes a line that commands print, or a part of one: the most telling first."""
    line = " ".join(line.split())
    if len(line) > _LONGEST or _PATTERN.search(line):
        return
    if len(re.findall(r"[A-Za-z_]{2,}", line)) < _WORDS:
        return
    words = re.findall(r"[\w'-]+", line)
    pairs = [f"{one} {two}" for one, two in pairwise(words) if len(one + two) >= _PAIR]
    pairs += [word for word in words if "_" in word]
    single = [word for word in words if len(word) >= _PAIR]
    of_contracts = [path for path in sources() if percpu_contracts.__name__ in path.parts]
    others = [path for path in sources() if path not in of_contracts]
    every = [""]  # few, and what clauses print is asked most
    for paths, sought in ((of_contracts, every), (others, pairs), (others, single)):
        likely = [path for path in paths if any(word in sources()[path] for word in sought)]
        found = _messages_in(line, likely)
        ranks = [(bool(message.clauses), message.letters) for message in found]
        if any(one for one, _ in ranks) or (found and paths is others):
            best = [m for m, rank in zip(found, ranks, strict=True) if rank == max(ranks)]
            yield from map(_explained, best[:_TOLD])
            return


def _messages_in(line: str, paths: list[Path]) -> list[PrintedMessage]:
    """Return the messages of some sources that stand in a line, or that it is a part of."""
    known = list(messages(paths))
    room = len(re.findall(r"[A-Za-z]", line)) // _SHARE
    found = [message for message in known if message.letters > room and message.stands_in(line)]
    part = _plain(line)
    if not found and len(re.findall(r"[a-z]{2,}", part)) >= _PART:
        found = [message for message in known if f" {part} " in f" {_plain(message.text)} "]
    return found


def messages(sources: Iterable[Path]) -> Iterator[PrintedMessage]:
    """Yield the messages of sources that say enough to be known by."""
    yield from (message for path in sources for message in _of_file(path) if message.letters)


@cache
def sources() -> Mapping[Path, str]:
    """Return the texts of all packages' sources by their paths."""
    packages = (percpu_contracts, percpu_proofs, percpu_reference, percpu_spec)
    folders = [Path(package.__path__[0]) for package in packages]
    paths = [path for f in folders for path in sorted(f.rglob("*.py"))]
    return {p: p.read_text("utf-8") for p in (*paths, *sorted(advice.FOLDER.glob("*.md")))}


def _plain(text: str) -> str:
    """Return a text without what is different each time it is printed.

    >>> _plain("Chunk 3 keeps 2 empty pages")
    'chunk # keep # empty page'
    """
    text = re.sub(r"[\d.]*\d", "#", text.replace(_HOLE, "#").replace(_ONE_OR_MORE, "").lower())
    return " ".join(word.strip(",.:;()").removesuffix("s") for word in text.split())


def _explained(message: PrintedMessage) -> Explanation:
    shown = message.text.replace(_HOLE, "...").replace(_ONE_OR_MORE, "(s)")
    file = f"{message.module}.{message.function}"
    found = explanation("printed", shown, _printer(message), file=file)
    if message.clauses:
        found["clauses"] = titles(message.clauses)
    return found


_PRINTERS: Final = {
    "commands": "percpu-spec", "logs": "percpu-spec log", "live": "percpu-spec state",
    "recorded.states": "percpu-spec state", "recorded.boot": "percpu-spec log",
    "recorded.vectors": "percpu-spec conform vectors", "recorded": "percpu-spec conform trace",
    "explore": "percpu-spec explore and review", "kernel": "percpu-spec conform kernel",
    "prove": "percpu-spec prove", "counterexample": "percpu-spec replay, and counterexamples",
    "workload": "percpu-spec workload", "review": "percpu-spec review", "show": "percpu-spec show",
    "bench": "percpu-spec bench", "beside": "percpu-spec beside", "report": "a report",
    "run": "percpu-spec run", "explain": "percpu-spec explain",
}  # fmt: skip
"""Who prints what the modules of a folder say, the narrower folders first."""
_COMMAND: Final = re.compile(r"`percpu-spec ([^`]+)`")
"""The command that a module is of, as its docstring says."""


def _printer(message: PrintedMessage) -> str:
    """Return in a sentence who prints a message, and when."""
    if message.clauses or message.module.startswith(percpu_contracts.__name__):
        return "What is wrong where a clause is broken; ... stands for values."
    within = message.module.partition(".")[2]
    folder = next((one for one in _PRINTERS if f"{within}.".startswith(f"{one}.")), "")
    who = _PRINTERS.get(folder, "commands that run the model")
    if folder == "commands":
        who += message.command and f" {message.command}"
    return f"Printed by {who}; ... stands for values."


@cache
def _of_file(path: Path) -> tuple[PrintedMessage, ...]:
    """Return the texts of a module, of its functions and beside them, or of a file of entries."""
    top = next(folder for folder in path.parents if not (folder / "__init__.py").exists())
    module = ".".join(path.relative_to(top).with_suffix("").parts)
    if path.suffix == ".md":
        return tuple(
            PrintedMessage(re.sub(r"\{\w*\}", _HOLE, paragraph.text), entry, module)
            for entry, (_, paragraphs) in advice.entries(path.stem).items()
            for paragraph in paragraphs
        )
    asked = _clauses_asked() if module.startswith(percpu_contracts.__name__) else {}
    tree = ast.parse(sources()[path])
    command = "".join(_COMMAND.findall(ast.get_docstring(tree) or "")[:1])
    found = [PrintedMessage(text, "", module, command) for text, _ in _texts(tree)]
    for function in _functions(tree):
        for text, near in _texts(function):
            ids = {word for word in near if word in clauses()} or asked.get(function.name, set())
            found.append(PrintedMessage(text, function.name, module, command, tuple(sorted(ids))))
    return tuple(found)


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _texts(top: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """Yield the texts of a function, or of a module beside its functions, not those of inner ones.

    Each with the ids of clauses that stand in its statement.
    """
    for node in ast.iter_child_nodes(top):
        if isinstance(node, ast.FunctionDef):
            continue
        if isinstance(node, ast.JoinedStr):
            yield _joined(node), []
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"\{\w*\}", _HOLE, node.value), []
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            ids = ast.walk(node) if isinstance(node, ast.Return | ast.Expr | ast.Assign) else ()
            near = [
                one.value for one in ids
                if isinstance(one, ast.Constant) and isinstance(one.value, str)
                and _ID.fullmatch(one.value)
            ]  # fmt: skip
            yield from ((text, [*near, *more]) for text, more in _texts(node))


def _joined(node: ast.JoinedStr) -> str:
    """Return a text with a hole for each value, behind it the word that is counted."""
    pieces = []
    for piece in node.values:
        if isinstance(piece, ast.Constant):
            pieces.append(str(piece.value))
        elif isinstance(piece, ast.FormattedValue):
            pieces.append(_HOLE)
            value = piece.value
            if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "counted":
                word = value.args[-1]
                if isinstance(word, ast.Constant) and isinstance(word.value, str):
                    pieces.append(f" {word.value}{_ONE_OR_MORE}")
    return "".join(pieces)


@cache
def _clauses_asked() -> Mapping[str, set[str]]:
    """Return which clauses each function of the contracts answers for, itself or for its callers.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for statement in statements():
        found[statement.predicate.__name__].add(statement.clause)
    classes: tuple[type, ...] = (Allocator, *VARIANTS.values())
    for cls in classes:
        for name in marked_names(cls):
            for mark in marks_of(cls, name):
                if mark.kind != "old":
                    found[mark.condition.__name__].update(mark.clause.split())
    stated = set(found)
    calls = {
        function.name: {getattr(call.func, "id", getattr(call.func, "attr", ""))
                        for call in ast.walk(function) if isinstance(call, ast.Call)}
        for path, text in sources().items() if percpu_contracts.__name__ in path.parts
        for function in _functions(ast.parse(text))
    }  # fmt: skip
    for _ in range(4):  # as deep as predicates share their parts
        for caller, called in calls.items():
            for name in (called & calls.keys()) - stated - {caller}:
                found[name] |= found.get(caller, set())
    return found
