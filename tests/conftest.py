"""What holds for all tests: who runs them, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

DEEP_SECONDS = 900


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run one file in this process, which begins sooner; anything else on every core."""
    alone = len(config.args) == 1 and Path(config.args[0].partition("::")[0]).is_file()
    return 0 if alone else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests marked deep their own time limit."""
    for item in items:
        if item.get_closest_marker("deep") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(DEEP_SECONDS))
