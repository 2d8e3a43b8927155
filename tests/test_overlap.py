"""What a listing says of operations that run alone, beside one another or beside the work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from percpu_proofs.counterexample.mail import mail
from percpu_proofs.counterexample.of_model import of_schedule
from percpu_proofs.counterexample.of_tree import of_retraced
from percpu_proofs.counterexample.text import text
from percpu_proofs.explore.rerun import OperationStep, one_line, parts, parts_of, spans
from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_proofs.explore.token import Token, compact
from percpu_proofs.kernel.search.compiled import SearchPlan
from percpu_proofs.kernel.search.example import Retrace, TreeStep
from percpu_proofs.review.job import ReviewExample
from percpu_proofs.run.operations import parse_operations, text_of

RACE_FILE = Path("setup")
RACE = Token(
    "rfc_1", "ISO-1", KERNEL_32K, ("a 1 28672 4 -", "b", "a 3 4096 4 -"), ("f 1", "f 3"), 1,
    (0, 0, 2, 2, 1), search="hunt window",
)  # fmt: skip
BESIDE = Token(
    "linux_7_1", "BAL-1", KERNEL_32K, ("a 5 28672 4 -", "a 6 8192 4 -", "a 9 8192 4 -"),
    ("f 5", "f 6"), 1, (2, 0, 1, 2),
)  # fmt: skip


def said(moves: str) -> str:
    """Return what is said of a schedule: a letter for an actor, in capitals where it ends.

    w is the work.
    """
    taken = (OperationStep(ord(c.lower()), c.lower(), c in "wW", c.isupper()) for c in moves)
    return one_line(parts(["a"], spans(taken)))


@pytest.mark.parametrize(
    ("moves", "says"),
    [
        ("fFgG", "a; f; g"),
        ("fwFW", "a | beside the work: f"),
        ("wFGW", "a | beside the work: f; g"),
        ("fgFG", "a | at once: f; g"),
        ("fGF", "a | at once: f; g"),
        ("fFwGhHWW", "a; f | beside the work: g; h | then: w"),
        ("wfgFGW", "a | at once, beside the work: f; g"),
        ("fWF", "a | beside the work: f"),
        ("fFwg", "a; f | beside the work: g"),
        ("WfFwGWhH", "a; w; f | beside the work: g | then: h"),
    ],
)
def test_what_overlaps_is_told_apart(moves: str, says: str) -> None:
    assert said(moves) == says


def test_a_token_tells_what_ran_alone() -> None:
    assert one_line(parts_of(RACE)) == "a 1 28672 4 -; b; a 3 4096 4 -; f 1 | beside the work: f 3"
    assert one_line(parts_of(BESIDE)).endswith("a 9 8192 4 - | beside the work: f 5; f 6")
    example = ReviewExample.of("wrong", RACE, shortest=True)
    assert example.at_once == ["f 2"] and example.length == 4
    in_turn = replace(RACE, actors=("f 1", "f 3", "a 8 4 4 -"), schedule=(0, 0, 1))
    assert len(compact(in_turn).actors) == 2  # what never begins is none of it
    drawn = Token(  # every operation an actor, as programs that are drawn have it
        "rfc_1", "ISO-1", KERNEL_32K, (), ("a 1 28672 4 -", "a 3 4096 4 -", "f 1", "f 3"), 2,
        (0, 0, 0, 0, 0, 4, 1, 1, 1, 2, 2, 5, 5, 3),
    )  # fmt: skip
    assert "at once" not in one_line(parts_of(replace(drawn, schedule=())))


def lines_of(token: Token, **changed: str) -> str:
    return "\n".join(line for _, line in text(replace(of_schedule(token), **changed), 76))


def test_the_words_tell_it_too() -> None:
    shown = lines_of(RACE)
    before, _, then = shown.partition("Then, beside the work, as below:")
    assert "free a" in before and "free b" in then.partition("State")[0]
    assert "at once" not in shown.partition("State before")[0]


def test_handles_count_allocations() -> None:
    assert "a 3 8192 4 -" in lines_of(BESIDE) and "a 9" not in lines_of(BESIDE)
    named = compact(BESIDE)
    assert named.setup[-1] == "a 3 8192 4 -" and named.actors == ("f 1", "f 2")


def test_handles_of_compiled_code_count_allocations_too() -> None:
    setup = parse_operations(RACE_FILE, ["a 11 4096 4 -", "a 20 4096 4 -"]).operations
    step = TreeStep(0, "f 20", True, True, "", "ends", "free_percpu", "", None, None)
    plan = SearchPlan(KERNEL_32K, (), tuple(setup))
    c = of_retraced("Linux", "FLT-1", {"FLT-1": "x"}, plan, Retrace(("f 20",), (step,)), "")
    assert [one.operation for one in (*c.setup, *c.at_once)] == [
        "a 1 4096 4 -", "a 2 4096 4 -", "f 2"
    ]  # fmt: skip
    assert (c.steps[0].operation, c.steps[0].words) == ("f 2", "free b")
    assert [text_of(operation) for operation in plan.setup][1] == "a 20 4096 4 -"


def test_what_is_run_again_was_not_searched() -> None:
    found_by = "Found by hunt window: no shorter list of"
    for token in (RACE, replace(RACE, search="")):  # which is the one of a record
        said = " ".join(lines_of(token).split())
        assert f"Searched: nothing, this is a replay. {found_by}" in said
    other = replace(RACE, search="", setup=(*RACE.setup, "a 9 4 4 -"))
    assert "a replay. What found it is not known" in " ".join(lines_of(other).split())
    found = lines_of(RACE, bound="hunt window, all lists of up to 4 operations")
    assert "Searched: hunt window, all lists" in found and "a replay" not in found
    block = mail(of_schedule(RACE), "percpu-spec replay x")
    assert any(line.startswith("Searched: nothing, this is a replay") for line in block)
