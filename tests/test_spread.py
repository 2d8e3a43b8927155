"""Tasks spread over processes and over a dask cluster: each result once, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import LocalCluster
from processes import COMMAND, IN_BACKGROUND, is_ready, started

from percpu_proofs import data
from percpu_proofs.run import processes as spreading
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.processes import spread


def squared(number: int) -> int:
    return number * number


def fatal_once(task: tuple[str, int]) -> int:
    """Kill the own worker when first asked for 3."""
    marks, number = Path(task[0]), task[1]
    if number == 3 and not (marks / "died").exists():
        (marks / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    (marks / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    return number * number


def refuse(number: int) -> int:
    raise ValueError(f"no {number}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as started:
        yield started.scheduler_address


@pytest.fixture(params=["processes", "dask"])
def where(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "processes":
        return {"jobs": 2}
    return {"jobs": 1, "dask": request.getfixturevalue("cluster")}


def test_results_come_in_order_and_once(where: dict[str, Any]) -> None:
    progress: list[tuple[int, int]] = []
    kept: list[int] = []
    results, interrupted = spread(
        range(8),
        squared,
        **where,
        on_done=lambda done, total: progress.append((done, total)),
        keep=kept.append,
    )
    assert results == [n * n for n in range(8)]
    assert not interrupted
    assert progress == [(n + 1, 8) for n in range(8)]
    assert sorted(kept) == results


def test_a_lost_workers_task_runs_again_and_counts_once(
    where: dict[str, Any], tmp_path: Path
) -> None:
    kept: list[int] = []
    tasks = [(str(tmp_path), n) for n in range(6)]
    results, _ = spread(tasks, fatal_once, **where, keep=kept.append)
    assert (tmp_path / "died").exists()
    assert results == [n * n for n in range(6)]
    assert sorted(kept) == results
    assert len(list(tmp_path.glob("3-*"))) == 1


def test_what_a_task_raises_is_raised(where: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no 1"):
        spread([1], refuse, **where)


def test_a_cluster_that_does_not_answer_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "_CONNECT", 0.5)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(InputError, match=f"--dask {address}: expected a dask scheduler"):
        spread([1], squared, jobs=1, dask=address)
    assert time.monotonic() - began < 20


each_start = pytest.mark.parametrize("before", [(), IN_BACKGROUND], ids=["as is", "background"])
each_signal = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


SLEEPER = """
import time
from percpu_proofs.run.processes import interruptible
from percpu_proofs.run.processes import spread
if __name__ == "__main__":
    with interruptible():
        found = spread([0, 0, 300], time.sleep, jobs=2,
                       on_done=lambda done, total: print(done, flush=True))
    print(found, flush=True)
"""


@each_start
@each_signal
def test_a_signal_returns_what_is_done_and_leaves_no_worker(
    before: tuple[str, ...], number: signal.Signals, tmp_path: Path
) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER)
    with started(*before, sys.executable, script) as run:
        assert run.stdout is not None
        assert [run.stdout.readline(), run.stdout.readline()] == ["1\n", "2\n"]
        run.send_signal(number)
        assert run.stdout.readline() == "([None, None], True)\n"
    assert run.returncode == 0


COUNTER = """
import time
from percpu_proofs.run.processes import interruptible
from percpu_proofs.run.processes import spread

def count(most):
    done = 0
    try:
        while done < most:
            done += 1
            time.sleep(0.01)
    except KeyboardInterrupt:
        pass
    return done

if __name__ == "__main__":
    with interruptible():
        found, interrupted = spread([1, 10**6], count, jobs=2, partial=True,
                                    on_done=lambda done, total: print(done, flush=True))
    print(found[0], 1 < found[1] < 10**6, interrupted, flush=True)
"""


@each_start
@each_signal
def test_a_signal_returns_how_far_tasks_under_way_came(
    before: tuple[str, ...], number: signal.Signals, tmp_path: Path
) -> None:
    script = tmp_path / "counter.py"
    script.write_text(COUNTER)
    with started(*before, sys.executable, script) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "1\n"
        time.sleep(0.5)
        run.send_signal(number)
        assert run.stdout.readline() == "1 True True\n"
    assert run.returncode == 0


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "sleeper.py"
    script.write_text(SLEEPER)
    with started(sys.executable, script) as run:
        assert run.stdout is not None
        assert [run.stdout.readline(), run.stdout.readline()] == ["1\n", "2\n"]
        run.kill()


SHARED_OUT = ("--jobs", "2")
C10 = str(data.folder("bench") / "c10.ops.gz")
LONG = [
    pytest.param(
        ("review", "--variant", "reference", "--deep", *SHARED_OUT),
        id="review", marks=pytest.mark.deep,
    ),
    pytest.param(("run", C10, "--contracts", "full"), id="run"),
    *(
        pytest.param(words, id=" ".join(words[:2]), marks=pytest.mark.deep)
        for words in (
            ("explore", "reclaim-frees", "--mode", "all", *SHARED_OUT),
            ("explore", "reclaim-frees", "--mode", "all", "--jobs", "1"),
            ("explore", "reclaim-frees", "--random", "10000000", *SHARED_OUT),
            ("prove", "--no-cache", *SHARED_OUT),
            ("workload", "removal"),
        )
    ),
]


@pytest.mark.parametrize("words", LONG)
def test_a_long_command_that_is_stopped_tells_what_it_did(words: tuple[str, ...]) -> None:
    """As timeout(1) does it: SIGTERM to the command, and at once to all of its group, workers too.

    The command was begun in the background.
    """
    with started(*IN_BACKGROUND, *COMMAND, *words, "--json") as run:
        assert is_ready(run.pid)
        time.sleep(2.0)
        run.send_signal(signal.SIGTERM)
        os.killpg(run.pid, signal.SIGTERM)
        out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "Traceback" not in err
    found = json.loads(out)
    assert found.get("interrupted", True) and not found.get("complete", False)
