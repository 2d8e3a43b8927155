"""Spreading independent tasks over processes, of this machine or of a dask cluster.

Both take tasks and give futures, so the same loop serves both. Ctrl-C and SIGTERM end a run early
with what is done.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from percpu_proofs.run import variant_errors
from percpu_proofs.run.inputs import InputError

T = TypeVar("T")
R = TypeVar("R")

_CONNECT = 5.0  # seconds that a cluster has to answer
_ECHO = 1.0  # seconds: timeout(1) sends its signal twice
_PATIENCE = 3.0  # seconds that a task has to come to an end after Ctrl-C
COLLECTED = (100_000, 20, 100)
"""When a worker collects garbage: seldom, for a search keeps most of what it makes. With Python's
own thresholds it spends a quarter of its time on that."""
_ATTEMPTS = 3  # worker processes lost before a run is given up


@contextmanager
def interruptible(*signals: signal.Signals) -> Iterator[None]:
    """Raise KeyboardInterrupt in the block at these signals, Ctrl-C and SIGTERM unless given.

    Those that come within a second are one. It holds too in a process that a shell began in the
    background, with SIGINT ignored. To be entered in the main thread.
    """
    last: float | None = None

    def interrupt(number: int, frame: object) -> None:
        nonlocal last
        if last is None or time.monotonic() - last > _ECHO:
            last = time.monotonic()
            raise KeyboardInterrupt

    handled = signals or (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupt) for number in handled]
    try:
        yield
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)


def default_jobs() -> int:
    """Return how many processes to use unless told: one for each core."""
    return os.cpu_count() or 1


def spread(
    tasks: Sequence[T],
    run: Callable[[T], R],
    *,
    jobs: int,
    dask: str | None = None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
    keep: Callable[[R], None] = lambda result: None,
    partial: bool = False,
) -> tuple[list[R], bool]:
    """Run every task once; return the results in the order of the tasks, and whether Ctrl-C came.

    After Ctrl-C only results that were ready are returned; with partial, for tasks that take Ctrl-C
    for the end of their time, those under way too, if this machine runs them. tasks and run must
    pickle. With dask, the address of a scheduler, the cluster's workers run them, else `jobs`
    processes. A task whose worker is lost runs again and has one result. on_done gets (done,
    total), keep each result as it comes, both in this process. What run raises is raised. Raises
    InputError for a cluster that does not answer.
    """
    results: dict[int, R] = {}
    lost = 0
    interrupted = False
    while len(results) < len(tasks) and not interrupted:
        try:
            with executor_of(jobs, dask) as executor:
                numbers: dict[Any, int] = {
                    submit(executor, run, task): number
                    for number, task in enumerate(tasks)
                    if number not in results
                }
                try:
                    for future in _completed(executor, numbers):
                        results[numbers[future]] = future.result()
                        keep(results[numbers[future]])
                        on_done(len(results), len(tasks))
                except KeyboardInterrupt:
                    for future in broken_off(executor, numbers) if partial else ():
                        results[numbers[future]] = future.result()
                    raise
        except KeyboardInterrupt:
            interrupted = True
        except BrokenProcessPool:
            lost += 1
            if lost == _ATTEMPTS:
                raise
    return [results[number] for number in sorted(results)], interrupted


@contextmanager
def executor_of(jobs: int, dask: str | None = None) -> Iterator[Any]:
    """Give a pool, or a cluster's client, whose work ends with the block, finished or not."""
    if dask is not None:
        with _client(dask) as client:
            yield client
        return
    before = {child.pid for child in multiprocessing.active_children()}
    threads = set(threading.enumerate())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=start_worker)
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            if child.pid not in before:
                child.kill()
        pool.shutdown(wait=False, cancel_futures=True)  # a broken pool waits for its processes
        for thread in set(threading.enumerate()) - threads:  # else the end of Python talks to them
            thread.join(_PATIENCE)
        raise
    pool.shutdown()


def start_worker() -> None:
    """Let a worker end with its parent, and hear of signals from its parent only.

    A terminal's Ctrl-C and what timeout(1) sends go to a whole process group. SIGTERM ends a worker
    at once: the pool sends it where another worker was lost.
    """
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    gc.freeze()
    gc.set_threshold(*COLLECTED)


def end_with_parent() -> None:
    """End this process when the one that began it is no more; for a thread of its own."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # returns however the parent ended, killed too
        os._exit(1)


def submit(executor: Any, run: Callable[[T], R], task: T) -> Any:
    """Return the future of a task."""
    limit = variant_errors.LIMIT
    if isinstance(executor, ProcessPoolExecutor):
        return executor.submit(_interruptible, limit, run, task)
    return executor.submit(variant_errors.run_guarded, limit, run, task, pure=False)


def _completed(executor: Any, futures: Iterable[Any]) -> Iterator[Any]:
    """Yield futures as they complete.

    A cluster's own ones: those of its executor fail where a result is lost with its worker.
    """
    if isinstance(executor, ProcessPoolExecutor):
        return as_completed(futures)
    from distributed import as_completed as completed_by_cluster

    return iter(completed_by_cluster(futures, loop=executor.loop))


def _interruptible(limit: float, run: Callable[[T], R], task: T) -> R:
    """Run a task that the parent may interrupt."""
    with interruptible(signal.SIGINT):
        return variant_errors.run_guarded(limit, run, task)


def broken_off(executor: Any, futures: Iterable[Future[R]]) -> Iterator[Future[R]]:
    """Interrupt the tasks under way in processes of this machine; yield those with a result."""
    if not isinstance(executor, ProcessPoolExecutor):
        return
    executor.shutdown(wait=False, cancel_futures=True)
    for child in multiprocessing.active_children():
        if child.pid is not None:
            os.kill(child.pid, signal.SIGINT)
    running = [future for future in futures if not future.done()]
    for future in wait(running, _PATIENCE).done:
        if not future.cancelled() and future.exception() is None:
            yield future


@contextmanager
def _client(address: str) -> Iterator[Any]:
    """Give a client of the dask scheduler at an address; what it runs ends with the block."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--dask", None, "dask.distributed: pip install 'percpu-spec[dask]'"
        ) from None
    try:
        client = Client(address, timeout=_CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--dask {address}", None, f"a dask scheduler that answers ({error})"
        ) from None
    with client:
        yield client
