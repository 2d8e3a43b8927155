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
from percpu_proofs.live.verdicts import Verdict, found_of_chunk, verdict_of
from percpu_proofs.recorded.states.quiescence import waiting
from percpu_reference.variants import variant_class


@dataclass(frozen=True, slots=True)
class StableChunks:
    """Which chunks of the last copy stood still, by number and address, which did not, and what
    the clauses about single chunks say of the former.
    """

    stable: tuple[str, ...]
    unstable: tuple[str, ...]
    verdicts: Mapping[str, Verdict]

    def as_json(self) -> dict[str, Any]:
        """Return it with plain values."""
        return {
            "stable": list(self.stable), "unstable": list(self.unstable),
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


def judge_stable_chunks(reader: Reader, before: Copy, after: Copy) -> StableChunks | None:
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
    stable, unstable = [], []
    for chunk, name in state.names.items():
        address = named[chunk]
        called = f"{name} at {address:#x}"
        if address not in equal:
            unstable.append(called)
            continue
        stable.append(called)
        whole = WholeState(dict.fromkeys(without, ""))
        for clause, wrong in found_of_chunk(whole, state, chunk, waits):
            found[clause].append(wrong)
    known = variant.EXPECTED if variant else {}
    of_chunks = {s.clause for s in statements() if s.scope in (Scope.BLOCK, Scope.CHUNK)}
    verdicts = {
        clause: verdict_of(
            clause, found[clause], known=f"known: {known[clause]}" if clause in known else ""
        )
        for clause in sorted(of_chunks - without)
    }
    return StableChunks(tuple(stable), tuple(unstable), verdicts)
