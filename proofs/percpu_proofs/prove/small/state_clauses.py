"""The clauses about states, as far as every variant is held to them, in plain predicates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from percpu_contracts.registry import Scope, When, asked, in_every_block
from percpu_proofs.prove.small.case import ask, claim
from percpu_reference.chunk import Chunk
from percpu_spec.catalogue import clauses


def linked_both_ways(allocator: Any) -> str | None:
    """Every list reads the same backwards (LIST-1)."""
    for head in allocator.chunk_lists:
        if any(link.next.prev is not link for link in (head, *head)):
            return f"list {head.slot} is not linked backwards"
    return None


_HINTS = frozenset(name for name in clauses() if name.startswith("HINT-"))
_FIXED = frozenset({"MAP-5", "POP-5", "SLOT-2"})
"""What no function changes in these scenes: shapes of chunks, backing, the layout of slots."""
_BEYOND = frozenset({"HINT-5", "HINT-6", "HINT-7", "MAP-3"})
"""What scenes do not set up, in which hints other than exact ones are chosen."""

ALLOCATOR = [
    ("LIST-1", linked_both_ways),
    *asked(Scope.ALLOCATOR, When.ALWAYS, When.ISOLATED, without=_FIXED),
]
CHUNK = asked(Scope.CHUNK, When.ALWAYS, without=_FIXED | _HINTS)
SETTLED = asked(Scope.CHUNK, When.SETTLED)
HINTS = [
    *((c, p) for c, p in asked(Scope.CHUNK, When.ALWAYS, without=_BEYOND) if c in _HINTS),
    *((c, in_every_block(p)) for c, p in asked(Scope.BLOCK, When.ALWAYS, without=_BEYOND)),
]


def judge_state(
    allocator: Any, unsettled: Sequence[Chunk] = (), *, hints_too: bool = False
) -> None:
    """Ask the clauses about states; those that the variant breaks anyway are left out.

    unsettled chunks have an area that is not populated yet. Raises BrokenError.
    """
    ask(*allocator.monitor.last)
    for clause, of_all in ALLOCATOR:
        ask(clause, of_all(allocator))
    alive = list(allocator.chunks())
    lives = allocator.env.creates - allocator.env.destroys
    claim("LIST-1", len(alive) == lives, f"{len(alive)} chunks on lists or owned, {lives} live")
    for chunk in alive:
        settled = all(chunk is not other for other in unsettled)
        questions = CHUNK + (SETTLED if settled else []) + (HINTS if hints_too else [])
        for clause, of_one in questions:
            if clause not in allocator.EXPECTED:
                ask(clause, of_one(chunk, allocator.geometry))
