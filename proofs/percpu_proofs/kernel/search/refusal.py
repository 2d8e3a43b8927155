"""Whether a tree refuses a free that names no live area (API-2), found by trying."""

from __future__ import annotations

import multiprocessing
from typing import Any, Final

from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_proofs.kernel.instance import KernelStopped
from percpu_proofs.kernel.library import Library
from percpu_proofs.kernel.search.compiled import CompiledSearch, SearchPlan
from percpu_proofs.run.operations import Operation
from percpu_spec.gfp import KERNEL

_FREED: Final[tuple[Operation, ...]] = (
    ("a", 1, 64, 4, False, KERNEL),
    ("a", 2, 64, 4, False, KERNEL),
    ("f", 1, 0, 0, False, 0),
)
_AGAIN: Final[Operation] = ("d", 1, 0, 0, False, 0)


def refuses(library: Library) -> bool:
    """Return whether a second free leaves a kernel as it is.

    It is tried in a process of its own: what else a kernel makes of one is not defined.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_try, args=(sender, library))
    child.start()
    sender.close()
    try:
        return bool(receiver.recv())
    except EOFError:
        return False
    finally:
        child.join()


def _try(sender: Any, library: Library) -> None:
    try:
        sender.send(_state(library, _FREED) == _state(library, (*_FREED, _AGAIN)))
    except KernelStopped:
        sender.send(False)


def _state(library: Library, setup: tuple[Operation, ...]) -> tuple[list[int], list[bytes]]:
    plan = SearchPlan(KERNEL_32K, (), setup, refuses=True)
    with CompiledSearch(library, plan) as search:
        words, records = search.look()
        return words, [record.tobytes() for record in records]
