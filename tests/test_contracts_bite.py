"""Every function under contract has seeded bugs, and the contracts name each of them."""

from __future__ import annotations

import bug_rows
import more_bug_rows
import pytest
from seeded_bugs import KM, Row, hunt, plant

from percpu_contracts.attach import checked
from percpu_contracts.contract import marked_names
from percpu_reference.variants.linux_6_12 import Linux612

ROWS: list[Row] = [
    *bug_rows.SLOTS,
    *bug_rows.HINTS,
    *bug_rows.AREAS,
    *more_bug_rows.CHUNKS,
    *more_bug_rows.BACKING,
    *more_bug_rows.MEMCG,
    *more_bug_rows.OPERATIONS,
    *more_bug_rows.BALANCE,
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}: {row[1][:24]} -> {row[2][:24]}")
def test_a_seeded_bug_is_named(row: Row) -> None:
    name, text, bug, clauses = row
    caught = hunt(plant(name, text, bug))
    assert caught is not None, "no contract sees it"
    assert caught.clause in clauses.split(), caught


def test_off_wraps_nothing_and_an_override_inherits_its_contract() -> None:
    class Forgetful(Linux612):
        __slots__ = ()

        def isolate_chunk(self, chunk: object) -> None:
            return

    assert "isolate_chunk" not in marked_names(type("Bare", (), {}))
    assert checked(Forgetful, "full") is not Forgetful
    assert checked(Forgetful, "full").isolate_chunk is not Forgetful.isolate_chunk
    assert Forgetful.alloc is Linux612.alloc
    caught = hunt(Forgetful)
    assert caught is not None and caught.clause in ("ISO-2", "FLT-1")


def test_every_function_of_level_full_has_a_seeded_bug() -> None:
    bugged = {name.removeprefix(KM) for name, *_ in ROWS}
    assert set(marked_names(Linux612)) - bugged <= set(WITHOUT)


WITHOUT = dict.fromkeys(("alloc", "free", "balance"), "runs the function of that name to its end")
"""Functions under contract without a seeded bug, and why."""
