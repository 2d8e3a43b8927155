"""Tokens of schedules of compiled code, with every kind of label that a search writes."""

from __future__ import annotations

import pytest

from percpu_proofs.kernel.search.plans import QUICK
from percpu_proofs.kernel.search.tree_token import TreeToken, read_tree_token


@pytest.mark.parametrize(
    "labels", [(262208, 262144, 262144, -1), (-1, -1), (0, 0, 0, 1), (64, 2, -7, 64)], ids=str
)
def test_labels_are_read_as_written(labels: tuple[int, ...]) -> None:
    token = TreeToken("LOCK-1", "6.12", QUICK[0].plan, labels)
    assert read_tree_token(str(token)).labels == labels
