"""A scenario: operations that lead to a state, and actors that then run at the same time.

FIELDS and SECTIONS are the form, which `percpu-spec operations` prints with an example. Only actors
are required. Fields and sections begin a line, what belongs to a section is indented, `#` opens a
comment. A variant is named as for --variant, by a release too (6.14); its states may be
left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

from percpu_proofs.explore.system import Schedule, Start
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.inputs import InputError, one_of, read_text
from percpu_proofs.run.operations import Operation, parse_operations, parse_texts, text_of
from percpu_reference import build
from percpu_reference.variants import (
    DEFAULT,
    RELEASES,
    SINCE,
    VARIANTS,
    UnknownVariantError,
    variant_name,
)
from percpu_spec.catalogue import REFINE, clauses
from percpu_spec.geometry import Geometry, GeometryError

KERNEL_32K = "unit=32768,static=4096,reserved=0,dyn=28672,cpus=2"
"""The smallest unit that a kernel accepts: 8 pages; the first chunk has 7 of them."""


class ScenarioVerdict(NamedTuple):
    """What a search of a scenario finds: different worlds, and the clauses broken in some."""

    states: int | None  # None: not stated
    broken: frozenset[str]


@dataclass(frozen=True, slots=True)
class Program:
    """Operations one after the other, then actors at the same time, in a schedule or in any."""

    setup: tuple[Operation, ...]
    actors: tuple[Operation, ...] = ()
    schedule: Schedule = ()
    works: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """One start for the explorer, for any variant. Operations are in the operation language.

    verdicts has, for each variant named, or file of one, what a search finds. Where a scenario of
    the package does not name a variant, a search takes long.
    """

    name: str
    what: str
    setup: tuple[str, ...]
    actors: tuple[str, ...]
    geometry: str = KERNEL_32K
    works: int = 2  # runs of the balance work that was asked for, at most
    failures: int = 0  # steps that ask for memory in vain, at most
    waiting: bool = False  # actors may begin while pcpu_alloc_mutex is held
    verdicts: Mapping[str, ScenarioVerdict] = field(default_factory=dict, hash=False)

    def expected(self, variant: str) -> ScenarioVerdict | None:
        """Return what is expected of a variant, if that is stated."""
        name = str(Path(variant).resolve()) if variant.endswith(".py") else variant
        return self.verdicts.get(name)

    @property
    def usual_variant(self) -> str:
        """What it is searched with unless one is named: the newest mainline that it speaks of."""
        return next((name for name in reversed(SINCE) if name in self.verdicts), DEFAULT)

    def start(self, variant: str) -> Start:
        """Return the start: the setup done by a variant, nothing of the actors begun."""
        driver = Driver(build(variant, self.sizes))
        if self.setup:
            driver.run(parse_operations(Path(f"scenario {self.name}, setup"), self.setup))
        return self.start_of(driver)

    def start_of(self, driver: Driver) -> Start:
        """Return the start where a driver has done the setup."""
        return Start(
            driver.allocator, driver.handles, self.concurrent, self.works, self.waiting,
            self.failures, driver.freed,
        )  # fmt: skip

    @property
    def sizes(self) -> Geometry:
        """The geometry. Raises GeometryError for one that no kernel boots with."""
        return Geometry().with_changes(self.geometry).require_kernel()

    @property
    def prepared(self) -> tuple[Operation, ...]:
        """The operations of the setup."""
        return parse_texts(f"scenario {self.name}, setup", self.setup)

    @property
    def concurrent(self) -> tuple[Operation, ...]:
        """The operations of the actors."""
        return parse_texts(f"scenario {self.name}, actors", self.actors)

    @property
    def program(self) -> Program:
        """The operations and failures, to be made smaller."""
        return Program(self.prepared, self.concurrent, failures=self.failures)

    def with_program(self, program: Program) -> Scenario:
        """Return the scenario with the operations and failures of a program."""
        setup, actors = (tuple(map(text_of, part)) for part in (program.setup, program.actors))
        return replace(self, setup=setup, actors=actors, failures=program.failures)


FIELDS = {
    "scenario": "a name; that of the file unless given",
    "shows": "a sentence",
    "geometry": "sizes of a kernel, as for --geometry; those of its smallest unit unless given",
    "works": "runs of the balance work that was asked for, at most; 2 unless given",
    "failures": "steps that ask for memory in vain, at most; none unless given",
    "waiting": "yes: actors may begin while pcpu_alloc_mutex is held; no unless given",
}
SECTIONS = {
    "setup": "operations one after the other, before the actors",
    "actors": "operations at the same time, beside the balance work; required",
    "expected": "VARIANT [STATES] CLAUSE... or none: what a search finds of a variant, or of a file"
                " beside this one: how many different states, and the clauses broken",
}  # fmt: skip
CONCURRENT = "afbPdws"
"""Kinds of operations that an actor may be."""
_IN_TURN = "awfd"  # kinds that speak of a handle, in the order in which they can follow one another
_RANGE = re.compile(r"([af]) (\d{1,6})\.\.(\d{1,6})(.*)")

Line = tuple[int, str]
"""The number of a line, and what stands there but for comments and blanks around it."""


def read_scenario(path: Path) -> Scenario:
    """Return the scenario of a file. Raises InputError with the line of what cannot be used."""
    return parse_scenario(path, read_text(path))


def parse_scenario(path: Path, text: str) -> Scenario:
    """Return the scenario that a text states; path is named in errors. Raises InputError."""
    fields, sections = _parts(path, text)
    held: set[int] = set()
    gone: set[int] = set()
    setup = _operations(path, sections.get("setup", []), held, gone)
    actors = _operations(path, sections.get("actors", []), held, gone, at_once=True)
    if not actors:
        raise InputError(path, None, "a section 'actors' with at least one operation")
    waiting, given = fields.get("waiting", (0, "no"))
    if given not in ("yes", "no"):
        raise InputError(path, waiting, "yes or no", given)
    return Scenario(
        fields.get("scenario", (0, path.stem))[1],
        fields.get("shows", (0, ""))[1],
        tuple(map(text_of, setup)),
        tuple(map(text_of, actors)),
        _geometry(path, *fields.get("geometry", (0, KERNEL_32K))),
        _count(path, *fields.get("works", (0, "2"))),
        _count(path, *fields.get("failures", (0, "0"))),
        given == "yes",
        _verdicts(path, sections.get("expected", [])),
    )


def _parts(path: Path, text: str) -> tuple[dict[str, Line], dict[str, list[Line]]]:
    """Return the fields with their lines, and the lines of each section."""
    fields: dict[str, Line] = {}
    sections: dict[str, list[Line]] = {}
    section: list[Line] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].rstrip()
        if not words:
            continue
        if words[0].isspace():
            if section is None:
                expected = f"a section before what is indented: {', '.join(SECTIONS)}"
                raise InputError(path, number, expected, words.strip())
            section.append((number, " ".join(words.split())))
            continue
        name, value = (*words.split(None, 1), "")[:2]
        if name in fields or name in sections:
            raise InputError(path, number, f"{name} once", words)
        if name in SECTIONS and not value:
            section = sections[name] = []
        elif name in FIELDS and value:
            section, fields[name] = None, (number, value)
        elif name in (*SECTIONS, *FIELDS):
            shape = f"{name} alone" if name in SECTIONS else f"{name} and its value"
            raise InputError(path, number, shape, words)
        else:
            raise InputError(path, number, one_of(name, (*FIELDS, *SECTIONS)), words)
    return fields, sections


def _operations(
    path: Path, lines: list[Line], held: set[int], freed: set[int], *, at_once: bool = False
) -> list[Operation]:
    """Return the operations of a section; held: handles not freed so far, gone: those freed.

    Of operations at once those that allocate come first, as any may be the first to run.
    """
    parsed = [(n, operation) for n, text in lines for operation in _parsed(path, n, text)]
    for number, operation in sorted(parsed, key=lambda p: at_once and _IN_TURN.find(p[1][0])):
        kind, handle = operation[:2]
        if at_once and kind not in CONCURRENT:
            expected = f"an actor's operation, one of {' '.join(CONCURRENT)}"
            raise InputError(path, number, expected, text_of(operation))
        if kind in "afw" and (kind != "a") is not (handle in held):
            expected = "that holds nothing yet" if kind == "a" else "allocated before"
            raise InputError(path, number, f"a handle {expected}", f"{handle}")
        if kind == "d" and handle not in freed - held:
            raise InputError(path, number, "a handle freed before", f"{handle}")
        if kind in "af":
            held ^= {handle}
        if kind == "f":
            freed.add(handle)
    return [operation for _, operation in parsed]


def _parsed(path: Path, number: int, text: str) -> Iterator[Operation]:
    """Yield the operations that a line stands for, one for each handle of a range."""
    texts = [text]
    many = _RANGE.fullmatch(text)
    if many is not None:
        kind, first, last, rest = many.groups()
        texts = [f"{kind} {handle}{rest}" for handle in range(int(first), int(last) + 1)]
        if not texts:
            raise InputError(path, number, "a range of handles, the smaller first", text)
    for one in texts:
        yield from parse_operations(path, chain(repeat("", number - 1), (one,))).operations


def _geometry(path: Path, number: int, value: str) -> str:
    names = [part.partition("=")[0].strip() for part in value.split(",") if part]
    for name in names:
        if names.count(name) > 1:
            raise InputError(path, number, f"{name} once", value)
    try:
        Geometry().with_changes(value).require_kernel()
    except GeometryError as error:
        raise InputError(path, number, f"a geometry that a kernel boots with ({error})") from None
    return value


def _count(path: Path, number: int, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise InputError(path, number, "a number, nine decimal digits at most", value)
    return int(value)


def _variant(path: Path, number: int, word: str) -> str:
    """Return the name of a variant, or of the one for a release. Raises InputError."""
    try:
        name = variant_name(word)
    except UnknownVariantError as error:
        raise InputError(path, number, str(error).partition("expected ")[2], word) from None
    if name not in (known := VARIANTS | RELEASES):
        expected = f"a variant, {one_of(word, known)}, or a release such as 6.14"
        raise InputError(path, number, expected, word)
    return name


def _verdicts(path: Path, lines: list[Line]) -> dict[str, ScenarioVerdict]:
    """Return what is expected of each variant."""
    verdicts: dict[str, ScenarioVerdict] = {}
    for number, text in lines:
        variant, *words = text.split()
        if variant.endswith(".py"):
            variant = str((path.parent / variant).resolve())
        else:
            variant = _variant(path, number, variant)
        if variant in verdicts:
            raise InputError(path, number, f"{variant} once", text)
        states = _count(path, number, words.pop(0)) if words and words[0].isdecimal() else None
        if not words:
            raise InputError(path, number, "the clauses that it breaks, or none", text)
        broken = [] if words == ["none"] else words
        for word in broken:
            if word != REFINE and word not in clauses():
                raise InputError(path, number, f"a clause, {one_of(word, clauses())}", word)
        verdicts[variant] = ScenarioVerdict(states, frozenset(broken))
    return verdicts
