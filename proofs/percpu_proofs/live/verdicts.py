"""What the clauses say of a kernel's state: each holds, is known of its release, is broken, or is
not asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from percpu_contracts.registry import RECORDED, STATES, Scope, When, asked, statements
from percpu_contracts.situations import subjectless
from percpu_contracts.whole_state import WholeState
from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.recorded.states.quiescence import waiting
from percpu_proofs.recorded.states.snapshot import ChunkSnapshot
from percpu_reference.variants import SINCE, variant_class
from percpu_spec.catalogue import clauses
from percpu_spec.definitions import Listing
from percpu_spec.releases import RELEASES

HOLDS, KNOWN, BROKEN, NOT_ASKED = "holds", "known", "broken", "not asked"
NO_BOUNDS = "the text has no boundary bits"
MAYBE_CUT = "the text does not tell how many chunks there are: it may be cut"
NO_OPERATION = "speaks of operations; a state shows none"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One clause's verdict: what was found wrong, and why it is known or was not asked."""

    clause: str
    verdict: str
    found: tuple[str, ...] = ()
    reason: str = ""


def verdict_of(
    clause: str, found: Iterable[str], *, known: str = "", unasked: str = "", reason: str = ""
) -> Verdict:
    """Return a clause's verdict by what was found wrong.

    known: why it is known to be broken. unasked: why it was not asked, if nothing was found.
    reason: what is added where it is broken and not known.
    """
    messages = tuple(found)
    if messages:
        return Verdict(clause, KNOWN if known else BROKEN, messages, known or reason)
    return Verdict(clause, NOT_ASKED if unasked else HOLDS, (), unasked)


def broken(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Return the clauses that are broken, and not known to be on the kernel's release."""
    return [clause for clause, verdict in verdicts.items() if verdict.verdict == BROKEN]


class KernelStateJudge:
    """Judges states of one kernel, one after the other: what has not changed costs little."""

    def __init__(self) -> None:
        self._whole = WholeState({"HINT-6": ""})

    def verdicts(self, state: KernelState) -> dict[str, Verdict]:
        """Return the verdict of every clause, in the catalogue's order.

        Those on a torn state are hints: what they read may have changed meanwhile.
        """
        waits = waiting(state.quiescence, state.signs)
        found: dict[str, list[str]] = defaultdict(list)
        for clause, wrong in self._found(state, waits):
            found[clause].append(wrong)
        known = variant_class(state.variant).EXPECTED if state.variant else {}
        releases = _releases(state.variant)
        reasons = subjectless(Listing(state.snapshot)) | _not_asked(state, waits)
        return {
            clause: verdict_of(
                clause, found[clause], unasked=reasons.get(clause, ""),
                known=f"known on {releases}: {known[clause]}" if clause in known else "",
                reason=MAYBE_CUT if clause == "POP-3" and _lacks_chunks(state) else "",
            )
            for clause in clauses()
        }  # fmt: skip

    def _found(self, state: KernelState, waits: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Yield (clause, what is wrong), with the chunk's number."""
        for chunk in state.names:
            for clause, wrong in found_of_chunk(self._whole, state, chunk, waits):
                if clause != "MAP-3" or chunk.has_bounds:
                    yield clause, wrong
        listing = Listing(state.snapshot)
        moments = When.ALWAYS, When.ISOLATED, When.QUIESCENT
        for clause, predicate in asked(Scope.ALLOCATOR, *moments, without=set(waits)):
            wrong = predicate(listing)
            if wrong is not None and not (clause == "FLT-1" and _may_be_held(listing, waits)):
                yield clause, wrong


def found_of_chunk(
    whole: WholeState, state: KernelState, chunk: ChunkSnapshot, waits: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield (clause, what is wrong) of one chunk; waits: clauses that are not asked now."""
    for clause, wrong in whole.broken_by(chunk, state.snapshot.geometry, "POP-1" not in waits):
        yield clause, f"chunk {state.names[chunk]}: {wrong.removeprefix('chunk: ')}"


def _may_be_held(listing: Listing, waits: Mapping[str, str]) -> bool:
    """Return whether a chunk that a step holds off the lists may account for what the float has.

    That is so while the mutex is held: chunks that the work destroys are on a list of its own until
    their pages are gone, and count. Then their pages are missing among the populated ones too.
    """
    if "POP-3" not in waits:
        return False
    floats = sum(listing.float_of(kind) for kind in range(listing.chunk_types))
    counted = sum(c.nr_empty_pop_pages for c in listing.live if not c.isolated)
    populated = [p for c, p in asked(Scope.ALLOCATOR, When.ALWAYS) if c == "POP-3"]
    return floats > counted and any(predicate(listing) for predicate in populated)


def _lacks_chunks(state: KernelState) -> bool:
    """Return whether a text that may be cut has fewer populated pages than the kernel counted."""
    snapshot = state.snapshot
    listed = sum(chunk.populated.count(1) for chunk in state.chunks)
    # the first chunk's pages are counted with those of the static and reserved parts
    apart = snapshot.geometry.static + snapshot.geometry.reserved
    return not state.counts and snapshot.nr_populated > listed + -(-apart // snapshot.geometry.page)


def _not_asked(state: KernelState, waits: Mapping[str, str]) -> dict[str, str]:
    """Return why some clauses are not asked of a state."""
    reasons = dict.fromkeys(RECORDED.not_asked(), NO_OPERATION)
    in_step = {s.clause for s in statements() if s.scope in STATES}
    reasons |= {clause: reason for clause, reason in waits.items() if clause in in_step}
    if not all(chunk.has_bounds for chunk in state.snapshot.chunks()):
        reasons["MAP-3"] = NO_BOUNDS
    inapplicable = variant_class(state.variant).NOT_APPLICABLE if state.variant else {}
    reasons |= {"HINT-6": "asked of reference only", **inapplicable}
    return reasons


def _releases(variant: str) -> str:
    """Return the releases that a variant stands for, in words."""
    listed = next((one.releases for one in RELEASES if one.variant == variant), "")
    if listed or variant not in SINCE:
        return listed
    first = SINCE[variant]
    major, behind = min(since for since in SINCE.values() if since > first)
    return f"{first[0]}.{first[1]} to {major}.{behind - 1}"
