"""`percpu-spec operations`: all that the parsers know is in it, and its examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from percpu_proofs.cli import main
from percpu_proofs.explain import terms
from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import CONCURRENT, FIELDS, SECTIONS, parse_scenario
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import FLAG_LETTERS, MEANINGS, SHAPES, parse_operations
from percpu_reference import DEFAULT, build
from percpu_spec.geometry import Geometry

WORDS = {"HANDLE": "1", "SIZE": "8", "ALIGN": "8", "FLAGS": "-", "COUNT": "1", "OFFSET": "8"}
PRINTED = CliRunner().invoke(main, ["operations"])


def parsed(text: str) -> list[tuple[object, ...]]:
    return list(parse_operations(Path("x"), text.split("\n")).operations)


def known(letters: str, line: str) -> set[str]:
    """Return the letters that the parser takes in a line."""
    found = set()
    for letter in letters:
        try:
            parsed(line.format(letter))
        except InputError:
            continue
        found.add(letter)
    return found


LETTERS = "".join(map(chr, range(33, 127)))


def test_every_letter_that_the_parser_takes_is_printed() -> None:
    shapes = {shape.split(" or ")[0] for shape in SHAPES.values()}
    kinds = {k for s in shapes for k in known(LETTERS, " ".join(
        ["{}", *(WORDS.get(w, w) for w in s.split()[1:])]))}  # fmt: skip
    assert kinds == SHAPES.keys() == MEANINGS.keys()
    assert known(LETTERS, "a 1 8 8 {}") - {"-"} == set(FLAG_LETTERS)
    assert PRINTED.exit_code == 0
    for kind, shape in SHAPES.items():
        assert re.search(rf"^  {shape}  +{MEANINGS[kind][:20]}", PRINTED.output, re.M)
    for letter in FLAG_LETTERS:
        assert re.search(rf"^  {letter}  +\w", PRINTED.output, re.M)
    assert all(len(line) <= 100 for line in PRINTED.output.split("\n"))


def test_every_field_section_and_actor_is_printed() -> None:
    for name in (*FIELDS, *SECTIONS):
        assert re.search(rf"^  {name}  +\w", PRINTED.output, re.M)
    taken = set()
    start = "setup\n  a 1 64 8 -\n  a 2 64 8 -\n  f 2\nactors\n  {}"
    for kind, shape in SHAPES.items():
        words = shape.split(" or ")[0].split()[1:]
        handle = {"a": "3", "d": "2"}.get(kind, "1")
        line = " ".join([kind, *(handle if w == "HANDLE" else WORDS.get(w, w) for w in words)])
        try:
            parse_scenario(Path("x"), start.format(line))
        except InputError:
            continue
        taken.add(kind)
    assert taken == set(CONCURRENT) and f"of {' '.join(CONCURRENT)}." in PRINTED.output


@pytest.mark.parametrize("title", terms.LISTS)
def test_every_example_list_runs(title: str) -> None:
    listed = parse_operations(Path(title), terms.LISTS[title].split("\n"))
    machine = Driver(build(DEFAULT, Geometry(memcg=True), contracts="fast"))
    machine.run(listed)
    assert machine.operation == len(listed.operations)
    assert terms.LISTS[title].split("\n")[0] in PRINTED.output


def test_the_examples_have_every_letter() -> None:
    whole = "\n".join(terms.LISTS.values())
    operations = parsed(whole)
    assert {o[0] for o in operations} == SHAPES.keys()
    flags = "".join(line.split("#")[0].split()[-1] for line in whole.split("\n") if line[0] == "a")
    assert set(flags) - {"-"} == set(FLAG_LETTERS)


def test_the_example_scenario_finds_what_it_says() -> None:
    scenario = parse_scenario(Path("mine.txt"), terms.SCENARIO)
    assert all(re.search(rf"^{name}\b", terms.SCENARIO, re.M) for name in (*FIELDS, *SECTIONS))
    ((variant, verdict),) = scenario.verdicts.items()
    found = search(scenario.start(variant), refine=False)
    assert (found.states, frozenset(found.findings)) == verdict
