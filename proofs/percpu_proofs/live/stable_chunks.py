"""Chunks that stood still while others changed: their own clauses, and nothing of the whole.

A kernel under a storm may have no moment at which two copies of its state agree. A chunk whose
bytes are the same in two copies that follow one another, pcpu_lock free at the beginning of both,
did not change in between, and is judged. Sums, lists and the float are those of no moment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from percpu_contracts.registry import Scope, statements
from percpu_contracts.whole_state import WholeState
from percpu_proofs.live.kernel_memory import UnreadableError
from percpu_proofs.live.reader import Copy, Reader
from percpu_proofs.live.verdicts import BROKEN, HOLDS, KNOWN, Verdict
from percpu_proofs.recorded.states.quiescence import waiting
from percpu_reference.variants import variant_class


@dataclass(frozen=True, slots=True)
class StillChunks:
    """Which chunks of the last copy stood still, by number and address, which did not, and what
    the clauses about single chunks say of the former.
    """

    still: tuple[str, ...]
    unstable: tuple[str, ...]
    verdicts: Mapping[str, Verdict]

    def as_json(self) -> dict[str, Any]:
        """Return it with plain values."""
        return {
            "stable": list(self.still), "unstable": list(self.unstable),
            "clauses": {
                v.clause: {"verdict": v.verdict, "found": list(v.found), "reason": v.reason}
                for v in self.verdicts.values()
            },
        }  # fmt: skip


def equal_chunks(reader: Reader, before: Copy, after: Copy) -> set[int]:
    """Return the addresses of the chunks that are the same in two copies, none if a lock was held.

    A neighbour that moves on a list changes a chunk's links, which are no part of it.
    """
    if before.lock or after.lock:
        return set()
    return {
        address for address, found in after.chunks.items()
        if address in before.chunks
        and reader.unlinked(before.chunks[address]) == reader.unlinked(found)
    }  # fmt: skip


def still_chunks(reader: Reader, before: Copy, after: Copy) -> StillChunks | None:
    """Judge the chunks that two copies agree on; None if there is none, or no state is read."""
    equal = equal_chunks(reader, before, after)
    try:
        state = reader.state(after, "live")
    except UnreadableError:
        return None
    addresses = [address for chunks in after.lists for address in chunks]
    named = dict(zip(state.chunks, addresses, strict=True))
    reserved = state.snapshot.reserved_chunk
    if reserved is not None:
        named[reserved] = after.values["pcpu_reserved_chunk"] or 0
    if not equal:
        return None
    waits = waiting(state.quiescence)
    if before.owner and not waits:
        waits = dict.fromkeys(("POP-1", "POP-2"), "pcpu_alloc_mutex was held")
    variant = variant_class(state.variant) if state.variant else None
    without = {"HINT-6", *waits, *(variant.NOT_APPLICABLE if variant else ())}
    found: dict[str, list[str]] = defaultdict(list)
    still, unstable = [], []
    for chunk, name in state.names.items():
        address = named[chunk]
        called = f"{name} at {address:#x}"
        if address not in equal:
            unstable.append(called)
            continue
        still.append(called)
        judged = WholeState(dict.fromkeys(without, ""))
        geometry = state.snapshot.geometry
        for clause, wrong in judged.broken_by(chunk, geometry, "POP-1" not in waits):
            found[clause].append(f"chunk {name}: {wrong.removeprefix('chunk: ')}")
    known = variant.EXPECTED if variant else {}
    verdicts = {}
    of_chunks = {s.clause for s in statements() if s.scope in (Scope.BLOCK, Scope.CHUNK)}
    for clause in sorted(of_chunks - without):
        messages = tuple(found[clause])
        word = HOLDS if not messages else KNOWN if clause in known else BROKEN
        reason = f"known: {known[clause]}" if word is KNOWN else ""
        verdicts[clause] = Verdict(clause, word, messages, reason)
    return StillChunks(tuple(still), tuple(unstable), verdicts)
