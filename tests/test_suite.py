"""The suite itself: each test has a time limit, in a background job too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STUCK = """
import time

import pytest

@pytest.mark.deep
def test_deep() -> None:
    raise AssertionError("is not asked for")

@pytest.mark.timeout(1)
def test_stuck() -> None:
    time.sleep(600)

def test_next() -> None:
    pass
"""


def test_every_test_has_a_limit(request: pytest.FixtureRequest) -> None:
    assert 0 < float(request.config.getini("timeout")) <= 120
    assert request.config.getini("faulthandler_exit_on_timeout")  # for what signals do not stop
    longest = float(request.config.getini("faulthandler_timeout"))
    for item in request.session.items:
        own = item.get_closest_marker("timeout")
        assert own is None or 0 < own.args[0] < longest, item.nodeid
        assert own is not None or item.get_closest_marker("deep") is None


def test_a_stuck_test_is_stopped_in_a_background_job(tmp_path: Path) -> None:
    path = tmp_path / "test_stuck.py"
    path.write_text(STUCK)
    pytest_ = (sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-n0", path)
    done = subprocess.run(
        ["sh", "-c", """trap '' INT; exec "$@" """, "sh", *map(str, pytest_)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "Timeout (>1.0s)" in done.stdout
    assert "1 failed, 1 passed, 1 deselected" in done.stdout
