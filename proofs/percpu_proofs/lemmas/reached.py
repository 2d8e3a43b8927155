"""A refuted lemma's counterexample on the allocator itself, from its initial state.

All short lists of operations from a small alphabet are run, at the smallest geometry that a kernel
accepts. One counts if every clause about hints held before its last operation, as the lemma
assumes, if that operation breaks the clause, and if it ran the lemma's function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.scenario import KERNEL_32K
from percpu_reference import build
from percpu_reference.chunk import Area
from percpu_reference.variants import Allocator
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_spec.geometry import Geometry

LONGEST = 5  # operations
ALPHABETS = (
    ((1024, 4), (1024, 2048)),  # quarters of a page, some aligned
    ((28656, 4), (4, 4)),  # the first chunk filled but for a few bytes
)
"""Requests, (size, align) in bytes; what is held can be freed as well."""

Held = dict[int, Area]


class NotReachedError(LookupError):
    """No list of operations from the initial state shows the counterexample."""


def _noting(function: str, ran: list[str]) -> type[Allocator]:
    """Return linux_6_12 that notes when a function is run."""

    def noted(self: Any, *given: Any) -> Any:
        ran.append(function)
        return getattr(Linux612, function)(self, *given)

    return type("Linux612", (Linux612,), {"__slots__": (), function: noted})


def _copied(allocator: Allocator, held: Held) -> tuple[Allocator, Held]:
    new, copies = allocator.clone()
    return new, {handle: (copies[chunk], off) for handle, (chunk, off) in held.items()}


def _state(allocator: Allocator, held: Held) -> object:
    hints = [
        (chunk.id, chunk.chunk_md.as_list(), [block.as_list() for block in chunk.md_blocks])
        for chunk in allocator.chunks()
    ]
    areas = sorted((chunk.id, off) for chunk, off in held.values())
    lists = [[chunk.id for chunk in head] for head in allocator.chunk_lists]
    return str((hints, areas, lists))


def reached(clause: str, function: str) -> Callable[[], str]:
    """Return what finds operations that break a clause by a function, from a valid state.

    It returns them in the operation language, with what is broken. It raises NotReachedError.
    """

    def find() -> str:
        for alphabet in ALPHABETS:
            found = _search(clause, function, alphabet)
            if found is not None:
                return found
        raise NotReachedError(f"{clause}: no short list of operations breaks it by {function}")

    return find


def _search(clause: str, function: str, alphabet: tuple[tuple[int, int], ...]) -> str | None:
    ran: list[str] = []
    root = build(_noting(function, ran), Geometry().with_changes(KERNEL_32K))
    level: list[tuple[Allocator, Held, tuple[str, ...]]] = [(root, {}, ())]
    met = {_state(root, {})}
    for handle in range(1, LONGEST + 1):
        longer: list[tuple[Allocator, Held, tuple[str, ...]]] = []
        for allocator, held, lines in level:
            wrong = {name for name, _ in WholeState().broken(allocator)}
            valid = not any(name.startswith("HINT") for name in wrong)
            steps: list[tuple[str, int, int]] = [("a", *request) for request in alphabet]
            steps += [("f", taken, 0) for taken in held]
            for kind, value, align in steps:
                after, owned = _copied(allocator, held)
                ran.clear()
                if kind == "a":
                    area = after.alloc(value, align)
                    line = f"a {handle} {value} {align} -"
                    owned.update({handle: area} if area is not None else {})
                else:
                    after.free(owned.pop(value))
                    line = f"f {value}"
                broken = dict(WholeState().broken(after))
                if valid and ran and clause in broken:
                    return f"{'; '.join((*lines, line))}: {broken[clause]}"
                state = _state(after, owned)
                if state not in met:
                    met.add(state)
                    longer.append((after, owned, (*lines, line)))
        level = longer
    return None
