"""What a patch changes: verdicts on two trees, compared where both were searched as far."""

from __future__ import annotations

import pytest

from percpu_proofs.kernel.search.example import TreeExample
from percpu_proofs.kernel.search.plans import search_named
from percpu_proofs.kernel.search.retrace import Retraced
from percpu_proofs.review.trees import TreeCell, changes

WHOLE, CUT_OFF = frozenset({"pages"}), frozenset[str]()


def _cell(length: int | None, whole: frozenset[str], search: str = "pages") -> dict[str, TreeCell]:
    """Return the cells of a tree that breaks FLT-1 with so many operations, or not at all."""
    example = None
    if length is not None:
        plan = search_named("pages").plan
        example = TreeExample("FLT-1", "", length, (), plan, Retraced((), ()), "", search)
    verdict = "holds" if example is None else "violated"
    return {"FLT-1": TreeCell("FLT-1", verdict, example=example, whole=whole)}


@pytest.mark.parametrize(
    ("base", "patched", "where"),
    [
        (_cell(None, WHOLE), _cell(3, WHOLE), "new"),
        (_cell(3, WHOLE), _cell(None, WHOLE), "mended"),
        (_cell(3, WHOLE), _cell(2, WHOLE), "shorter"),
        (_cell(3, WHOLE), _cell(4, CUT_OFF), "longer"),
        (_cell(3, WHOLE), _cell(3, WHOLE), "unchanged"),
        (_cell(None, CUT_OFF), _cell(3, WHOLE), "open"),  # the base may break it further on
        (_cell(3, WHOLE), _cell(None, CUT_OFF), "open"),  # and so may the patched tree
        (_cell(None, CUT_OFF), _cell(3, WHOLE, "stops at accesses in pages"), "new"),
        (_cell(None, WHOLE), _cell(None, WHOLE), None),
    ],
)  # fmt: skip
def test_a_clause_is_in_one_list(
    base: dict[str, TreeCell], patched: dict[str, TreeCell], where: str | None
) -> None:
    found = changes(base, patched)
    lists = [name for name in found.__dataclass_fields__ if getattr(found, name)]
    assert lists == ([] if where is None else [where])
