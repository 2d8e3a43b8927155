"""What holds for all tests: who runs them, and for how long."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from percpu_proofs.run.processes import COLLECTED

DEEP_SECONDS = 900
LONGEST = (
    # CrossHair looks through all classes there are, and other tests make thousands
    *("symbols_confirm_and_the_twin", "an_expected_violation_is_refuted"),
    *("judges_every_class", "review_on_a_cluster", "whole_review_names_the_clause"),
    *("made_from_kept_results", "spares the second free chunk", "refutes_a_bug_in_every_function"),
    *("released pages stay counted", "SearchesOneFurther", "pictures_are_what", "harmless_edits"),
    *("stubs_are_clean_under_sanitizers", "shared_runs", "all_vectors", "model_with_the_fix"),
)
"""Parts of the names of tests that begin first: they take less then, or are left at the end."""

# tests begin hundreds of processes, and each would compile all modules for itself
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run one file in this process, which begins sooner; anything else on every core."""
    alone = len(config.args) == 1 and Path(config.args[0].partition("::")[0]).is_file()
    return 0 if alone else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests marked deep their own time limit, and begin with the longest."""

    def place(item: pytest.Item) -> int:
        return next((n for n, part in enumerate(LONGEST) if part in item.name), len(LONGEST))

    items.sort(key=place)
    for item in items:
        if item.get_closest_marker("deep") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(DEEP_SECONDS))


def pytest_collection_finish() -> None:
    """Look no more through what stays to the end: modules, and thousands of tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED)


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    """Return the folder above those of compiled trees, for what is the same for all of them."""
    with TemporaryDirectory() as name:
        yield Path(name)
