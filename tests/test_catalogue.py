"""The chapters: every fixed id is there, and a chapter off the layout is refused."""

from __future__ import annotations

import re

import pytest

import percpu_reference  # noqa: F401, marks its functions
from percpu_contracts.registry import (
    COMPILED,
    CONTRACTS,
    RECORDED,
    SEARCH,
    STATE,
    STATES,
    When,
    asked,
    predicates,
    states,
)
from percpu_spec.catalogue import (
    MOMENTS,
    ClauseError,
    UnknownClauseError,
    clause,
    clauses,
    collect,
    parse_chapter,
)

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

**Since.** 5.14 (mm/percpu.c)
"""


@pytest.mark.parametrize("clause_id", FIXED)
def test_fixed_ids_are_stated(clause_id: str) -> None:
    assert clause(clause_id).id == clause_id


@pytest.mark.parametrize("clause_id", sorted(clauses()))
def test_every_clause_is_asked_by_someone(clause_id: str) -> None:
    judges = (CONTRACTS, STATE, RECORDED, SEARCH, COMPILED)
    asking = [judge.name for judge in judges if clause_id in judge.asks()]
    assert asking
    for judge in judges:
        assert (clause_id in judge.not_asked()) != (clause_id in judge.asks())
        assert all(judge.not_asked().values())


@pytest.mark.parametrize("clause_id", sorted(clauses()))
def test_a_formal_statement_names_predicates_that_exist(clause_id: str) -> None:
    stated = {f"{p.__module__.split('.')[-1]}.{p.__name__}" for p in predicates()[clause_id]}
    named = set(re.findall(r"predicate `(\w+\.\w+)`", clause(clause_id).formal))
    assert named <= stated


def test_known_shortfalls_are_those_of_the_design() -> None:
    known = {c.id for c in clauses().values() if c.known}
    assert known - {"FIT-1"} == {
        "HINT-3", "HINT-4", "HINT-5", "LIST-2", "RCL-3", "BAL-1", "BAL-2"
    }  # fmt: skip


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
        ("## XX-1 — title", "No clause", "at least one '## ID"),
        ("## XX-1 — title", "## XX-1 - title", "xx.md:5: expected '## ID"),
        ("## XX-1", "## XX-01", "xx.md:5"),
        ("**Kernel.** some_function", "", "expected Statement, Formal, When, Kernel, Since"),
        ("**Kernel.** some_function", "**Kernel.**", "none empty"),
        ("**Kernel.**", "**Kernels.**", "field 'Kernels' unknown"),
        ("5.14 (mm", "always (mm", "Since begins with a release"),
        (" (mm/percpu.c)", "", "ends with files"),
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


def test_a_predicate_cannot_state_an_unknown_clause() -> None:
    with pytest.raises(UnknownClauseError):
        states("NONE-1")
    assert "NONE-1" not in predicates()


def test_a_predicate_that_states_a_clause_is_asked() -> None:
    """A new statement reaches every judge of its scope with no table to be changed."""
    for scope in STATES:
        for one, holds in asked(scope, *When):
            assert one in STATE.asks() and holds in predicates()[one]
