"""The supply of choices: every case once, what was answered replays, symbols reach every number."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from random import Random

import pytest

from percpu_proofs.run.choices import (
    Choices,
    ChoiceTape,
    Symbols,
    VacuousError,
    every_case,
)


def _case(choose: Choices) -> tuple[object, ...]:
    size = choose.pick((1, 2, 4))
    return (size, choose.bit(), choose.number(size)) if size > 1 else (size,)


def test_cases_are_all_tried_once() -> None:
    wanted = [(1,)] + [(s, b, n) for s in (2, 4) for b in (False, True) for n in range(s)]
    assert [_case(case) for case in every_case()] == wanted


@pytest.mark.parametrize("seed", range(20))
def test_what_was_drawn_replays(seed: int) -> None:
    drawn = ChoiceTape(draw=Random(seed).randrange)
    found = _case(drawn)
    assert _case(ChoiceTape(drawn.numbers)) == found
    assert len(drawn.answers) == len(found)


def test_numbers_too_few_or_too_large_replay_all_the_same() -> None:
    assert _case(ChoiceTape([1])) == (2, False, 0)
    assert _case(ChoiceTape([2, 1, 9])) == (4, True, 3)


@pytest.mark.parametrize("count", range(1, 10))
def test_symbols_reach_every_number(count: int) -> None:
    found = []
    for case in every_case():
        found.append(Symbols(case.bit, lambda: 0, nullcontext).number(count))
    assert sorted(found) == list(range(count))


def test_an_integer_symbol_is_in_range() -> None:
    for case in every_case():
        value = case.number(5)
        choose = Symbols(case.bit, partial(int, value), nullcontext)
        if value < 3:
            assert choose.whole(3) == value
        else:
            with pytest.raises(VacuousError):
                choose.whole(3)
