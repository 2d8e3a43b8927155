"""Tokens: one short string that replays a schedule, on any Python version.

Schedules are steps of the model, so a token holds for the variant it was found on, and for that
alone: it carries a hash of the variant's code and is refused when that has changed. The record of
known counterexamples has no such hash, so that they outlive a change of the code; whether each
still breaks its clause a test says. `python tests/known_records.py` writes it.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import inspect
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from percpu_proofs.data import folder
from percpu_proofs.explore import short_form
from percpu_proofs.explore.packing import (
    MODEL,
    DamagedError,
    TokenReader,
    Writer,
    damaged,
    no_token,
    tidy,
)
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.searches import MARKS, mark_of, search_of
from percpu_proofs.explore.system import actor_of, without
from percpu_proofs.explore.world import World
from percpu_proofs.run.inputs import InputError, read_text, writing
from percpu_proofs.run.operations import Operation, renumbered, text_of
from percpu_reference import chunk, kernel_names
from percpu_reference.variants import variant_class

_VARIANTS: Final = (
    "linux_7_1", "linux_6_12", "rfc_1", "rfc_series", "rfc_1_reviewed", "reference", "linux_5_12",
    "linux_5_14", "linux_6_13", "linux_6_15", "linux_7_0", "linux_mm",
)  # fmt: skip
"""It only grows at its end."""
_HASH: Final = 7  # digits of a variant's hash
_OF_SCENARIO: Final = ("geometry", "setup", "actors", "works", "failures", "waiting")
"""What a token has of the scenario whose schedule it is, under the same names."""


@dataclass(frozen=True, slots=True)
class Token:
    """A schedule with all that it takes to run it again."""

    variant: str
    clause: str
    geometry: str
    setup: tuple[str, ...]
    actors: tuple[str, ...]
    works: int
    schedule: tuple[int, ...]
    failures: int = 0
    waiting: bool = False
    search: str = field(default="", compare=False, repr=False)  # that found it, if that is known

    @classmethod
    def of(cls, variant: str, clause: str, scenario: Scenario, schedule: tuple[int, ...]) -> Token:
        """Return the token of a schedule of a scenario."""
        of_scenario = {name: getattr(scenario, name) for name in _OF_SCENARIO}
        found_by = f"scenario {scenario.name}"
        return cls(variant, clause, schedule=schedule, search=found_by, **of_scenario)

    def __str__(self) -> str:
        out, operations = Writer(), short_form.OperationCoder()
        scenario = self.scenario
        usual = self.with_operations(scenario.prepared, scenario.concurrent)
        base, _, fixes = self.variant.partition("+")
        short_form.put_choice(out, base, _VARIANTS)
        out.text(fixes)
        out.groups(int(variant_hash(self.variant), 16), _HASH)
        short_form.put_clause(out, self.clause)
        short_form.put_sizes(out, self.geometry)
        out.number(self.works)
        out.number(2 * self.failures + self.waiting)
        for listed in (scenario.prepared, scenario.concurrent):
            operations.put(out, listed)
        short_form.put_schedule(out, self.schedule)
        found_by = mark_of(self.search)
        out.groups(found_by, MARKS)
        return out.string(MODEL, f"{usual!r} {found_by}")

    def with_operations(self, setup: Iterable[Operation], actors: Iterable[Operation]) -> Token:
        """Return the token with operations, as the operation language writes them."""
        return replace(self, setup=tuple(map(text_of, setup)), actors=tuple(map(text_of, actors)))

    @property
    def scenario(self) -> Scenario:
        """The scenario that the schedule belongs to."""
        of_scenario = {name: getattr(self, name) for name in _OF_SCENARIO}
        return Scenario("of the token", self.clause, **of_scenario)


def compact(token: Token) -> Token:
    """Return the same with handles from 1 on, and no actor of which its schedule has no step."""
    if token.schedule:
        idle = set(range(len(token.actors))) - {actor_of(step) for step in token.schedule}
        actors = tuple(text for n, text in enumerate(token.actors) if n not in idle)
        token = replace(token, actors=actors, schedule=without(token.schedule, idle))
    return with_handles(token)


def with_handles(token: Token) -> Token:
    """Return the same with the handles numbered from 1 as they are first named."""
    scenario = token.scenario
    operations = renumbered([*scenario.prepared, *scenario.concurrent])
    count = len(scenario.prepared)
    return token.with_operations(operations[:count], operations[count:])


def variant_hash(variant: str) -> str:
    """Return a hash of the code that a variant's steps depend on.

    It is all of the allocator but for other variants, the modules of the variant's classes, and
    what numbers the steps; of these the lines that do something. Where the file of a reviewer's
    variant lies makes no difference.
    """

    def order(path: Path) -> tuple[bool, Path | str]:
        own = path not in shipped and reference not in path.parents
        return own, path.name if own else path

    digest = hashlib.sha256()
    files = {Path(inspect.getfile(cls)) for cls in variant_class(variant).__mro__[:-1]}
    reference = Path(inspect.getfile(chunk)).parent
    shipped = {*reference.glob("*.py"), Path(inspect.getfile(World))}
    for path in sorted((files | shipped) - {Path(kernel_names.__file__)}, key=order):
        digest.update(_code(path.read_text("utf-8")).encode())
    return digest.hexdigest()[:_HASH]


@cache
def _code(text: str) -> str:
    """Return a module's text without its docstrings, imports and lines of comment.

    A dump of its syntax would be another one on another Python.
    """
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        ):
            left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = (line.rstrip() for n, line in enumerate(text.split("\n"), 1) if n not in left_out)
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("#"))


def file_of(variant: str) -> str:
    """Return the file of a variant that is a reviewer's own, with fixes or not; else nothing.

    >>> file_of("a/mine.py+R1"), file_of("linux_7_1")
    ('a/mine.py', '')
    """
    base = variant.partition("+")[0]
    return base if base.endswith(".py") else ""


def read_token(text: str, file: str | None = None) -> Token:
    """Return the token that a string stands for. Raises InputError if it is damaged or stale.

    file: that of its variant, where it is not, or no longer, where it was when the token was made.
    """
    text = tidy(text)
    if not text.startswith(MODEL):
        raise no_token(text)
    try:
        source = TokenReader(MODEL, text)
        token, made_with, found_by = _read(source)
        source.end(f"{token!r} {found_by}")
    except (DamagedError, InputError):
        raise damaged(text) from None
    written = file_of(token.variant)
    if file is not None:
        if not written:
            raise InputError("--variant", None, "a token of a variant's file", token.variant)
        token = replace(token, variant=file + token.variant.removeprefix(written))
    elif written and not Path(written).is_file():
        raise InputError("token", None, "the file of its variant, by --variant FILE", written)
    now = variant_hash(token.variant)
    if made_with != now:
        raise InputError(
            "token", None, f"a token of {token.variant} as it is now, {now}", f"one of {made_with}"
        )
    return token


def _read(source: TokenReader) -> tuple[Token, str, int]:
    """Return a token, the hash of the variant that it was made with, and its search's number."""
    operations = short_form.OperationCoder()
    base, fixes = short_form.choice(source, _VARIANTS), source.text()
    variant = f"{base}+{fixes}" if fixes else base
    made_with = f"{source.groups(_HASH):0{_HASH}x}"
    clause, geometry = short_form.clause(source), short_form.sizes(source)
    works, more = source.numbers(2)
    setup, actors = (tuple(map(text_of, operations.take(source))) for _ in range(2))
    schedule, found_by = short_form.schedule(source), source.groups(MARKS)
    token = Token(
        variant, clause, geometry, setup, actors, works, schedule, more // 2, bool(more % 2),
        search_of(found_by),
    )  # fmt: skip
    return token, made_with, found_by


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
    tokens: dict[str, str] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or tokens.get(words[0], words[1]) != words[1]:
            expected = "a name of its own and a token" if len(words) == 2 else "NAME TOKEN"
            raise InputError(path, number, expected, line.strip()[:60])
        tokens[words[0]] = words[1]
    return tokens


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


@cache
def examples() -> tuple[Token, ...]:
    """Return all that is known, the newest kernel's first."""
    text = (folder("counterexamples") / "known.jsonl").read_text("utf-8")
    return tuple(_known(json.loads(line)) for line in text.splitlines())


def examples_of(clause: str) -> list[Token]:
    """Return the counterexamples of a clause, the newest kernel's first."""
    return [token for token in examples() if token.clause == clause]


def from_record(token: Token) -> Token:
    """Return a token with what found it, if it says that itself or is the one of a record."""
    same = (known for known in examples() if not token.search and known.search)
    recorded = next((known for known in same if compact(known) == compact(token)), None)
    return token if recorded is None else replace(token, search=recorded.search)


def _known(record: dict[str, Any]) -> Token:
    """Return the token of a line of the record, which has no field that is empty or 0."""
    operations = {
        name: tuple(record[name].split("; ")) if name in record else ()
        for name in ("setup", "actors")
    }
    schedule = tuple(map(int, record.get("schedule", "").split()))
    return Token(**{"works": 0, **record, **operations, "schedule": schedule})
