"""The chapters: every fixed id is there, and a chapter off the layout is refused."""

from __future__ import annotations

import importlib
import pkgutil
import re

import pytest

import percpu_contracts
from percpu_contracts.binding import PREDICATES, states
from percpu_spec.catalogue import (
    MOMENTS,
    ClauseError,
    UnknownClauseError,
    clause,
    clauses,
    collect,
    parse_chapter,
)

for _module in pkgutil.iter_modules(percpu_contracts.__path__):
    importlib.import_module(f"percpu_contracts.{_module.name}")

FIXED = [
    "API-1",
    "API-2",
    "API-3",
    "MAP-1",
    "MAP-2",
    "HINT-1",
    "HINT-2",
    "HINT-3",
    "HINT-4",
    "HINT-5",
    "HINT-6",
    "FIT-1",
    "LIST-1",
    "LIST-2",
    "POP-1",
    "POP-2",
    "FLT-1",
    "ISO-1",
    "ISO-2",
    "RCL-1",
    "RCL-2",
    "RCL-3",
    "RCL-4",
    "BAL-1",
    "BAL-2",
    "BAL-3",
    "COST-1",
    "TLB-1",
    "ACC-1",
]

GOOD = """# Chapter

Introduction.

## XX-1 — title

**Statement.** Words
over lines.

**Formal.** `f(x)`

**When.** always

**Kernel.** some_function
"""


@pytest.mark.parametrize("clause_id", FIXED)
def test_fixed_ids_are_stated(clause_id: str) -> None:
    assert clause(clause_id).id == clause_id


@pytest.mark.parametrize("clause_id", sorted(clauses()))
def test_every_clause_has_a_predicate_that_its_formal_statement_names(clause_id: str) -> None:
    formal = clause(clause_id).formal
    named = set(re.findall(r"`(\w+\.\w+)`", formal))
    bound = {f"{p.__module__.split('.')[-1]}.{p.__name__}" for p in PREDICATES[clause_id]}
    missing = bound - named
    assert bound and not missing, f"{clause_id}: bound but not named {missing}"


def test_known_shortfalls_are_those_of_the_design() -> None:
    known = {c.id for c in clauses().values() if c.known and "Violated" in c.known}
    assert known == {"HINT-3", "HINT-4", "HINT-5", "LIST-2", "RCL-3", "BAL-1", "BAL-2"}


def test_every_moment_is_used_and_read() -> None:
    assert {c.moment for c in clauses().values()} == set(MOMENTS)


def test_a_good_chapter_is_read() -> None:
    (found,) = parse_chapter("xx", GOOD)
    assert (found.id, found.title, found.chapter) == ("XX-1", "title", "xx")
    assert found.statement == "Words\nover lines." and found.known is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# Chapter", "Chapter", "xx.md:1"),
        ("## XX-1 — title", "No clause", "at least one clause"),
        ("## XX-1 — title", "## XX-1 - title", "xx.md:5: expected '## ID"),
        ("## XX-1", "## XX-01", "xx.md:5"),
        ("**Kernel.** some_function", "", "xx.md:5: expected Statement, Formal, When, Kernel"),
        ("**Kernel.** some_function", "**Kernel.**", "none empty"),
        ("**Kernel.**", "**Kernels.**", "field 'Kernels' unknown"),
        ("**Kernel.**", "**When.**", "field 'When' unknown or repeated"),
        ("**When.** always", "**When.** sometimes", "When begins with"),
        ("**Statement.** Words", "Words", "xx.md:7: text before the first field"),
        ("**Formal.** `f(x)`\n\n**When.** always", "**When.** always\n\n**Formal.** x", "order"),
    ],
)
def test_a_malformed_chapter_is_refused(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ClauseError, match=re.escape(message)):
        parse_chapter("xx", GOOD.replace(old, new))


def test_an_id_stated_twice_is_refused() -> None:
    with pytest.raises(ClauseError, match=r"XX-1: stated in xx.md and yy.md"):
        collect([("xx", GOOD), ("yy", GOOD)])


def test_an_unknown_id_names_near_ones() -> None:
    with pytest.raises(UnknownClauseError, match="HINT-1") as caught:
        clause("hint-11")
    assert isinstance(caught.value, KeyError)
    assert not str(caught.value).startswith("'")


def test_a_predicate_cannot_be_bound_to_an_unknown_clause() -> None:
    with pytest.raises(UnknownClauseError):
        states("NONE-1")
    assert "NONE-1" not in PREDICATES


def test_binding_returns_the_function_itself() -> None:
    def check() -> str | None:
        return None

    before = list(PREDICATES["MAP-2"])
    try:
        assert states("MAP-2")(check) is check
        assert PREDICATES["MAP-2"] == [*before, check]
    finally:
        PREDICATES["MAP-2"][:] = before
