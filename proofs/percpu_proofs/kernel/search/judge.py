"""Judging a search of a compiled kernel: each chunk's record, each state, each move once.

What the stubs know of a state beside the allocator's own books is asked too: page tables, charges,
pages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from percpu_contracts.clauses.isolation import released_is_hidden
from percpu_contracts.history import History
from percpu_contracts.operation_steps import Judged
from percpu_contracts.registry import Scope, When, asked, statements
from percpu_contracts.situations import SituationCoverage
from percpu_contracts.violations import Breach
from percpu_contracts.whole_state import KERNELS
from percpu_proofs.kernel.postconditions import CompiledWholeState, judged_pages, wrong_charges
from percpu_proofs.kernel.search.compiled import LOCKS, CompiledSearch
from percpu_proofs.kernel.search.moves import (
    KernelMove,
    deeds_between,
    judged_operation,
    judged_reclaim,
    judged_run,
)
from percpu_proofs.kernel.search.records import Record, SearchState
from percpu_spec.catalogue import clauses
from percpu_spec.steps import Deed

QUIESCENT: Final = 1
SETTLED: Final = 2

_ALWAYS = asked(Scope.ALLOCATOR, When.ALWAYS)
_ISOLATED = asked(Scope.ALLOCATOR, When.ISOLATED)
_QUIESCENT = asked(Scope.ALLOCATOR, When.QUIESCENT)
_OF_CHUNKS = frozenset(
    s.clause for s in statements() if s.scope in (Scope.BLOCK, Scope.CHUNK)
) - KERNELS | {"SLOT-1"}
_MOST_STATES = 50_000  # that are kept as views
_LOOK_EACH = 8  # of states that are not at rest, for the situations of clauses
CRASH: Final = "BUG"
"""In the place of a clause: the kernel stopped, or warned of itself."""


class BrokenClause(NamedTuple):
    """A clause broken in a state of the search: the state it was left from, and by which step.

    label None: in the state itself, or with work_alone, by the work that goes on from there alone.
    """

    clause: str
    wrong: str
    node: int
    label: int | None
    work_alone: bool = False


class SearchJudge:
    """Asks the clauses of what a search meets. `judged` counts how often each was asked.

    notes_accesses: accesses without pcpu_lock are, so that LOCK-1 and LOCK-2 are asked.
    """

    def __init__(self, search: CompiledSearch, *, notes_accesses: bool = False) -> None:
        self.search = search
        self.notes_accesses = notes_accesses
        self.geometry = search.geometry
        self.judged: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()  # how many of each kind the search has met
        self._records: list[Record] = []
        self._deeds = cache(self._deeds_between)
        self.state = lru_cache(_MOST_STATES)(self._read_state)
        _, _, free_slot, _ = search.lists
        self._whole = CompiledWholeState(free_slot)
        self._sightings = SituationCoverage()
        self._looked = 0
        self._history = History()
        self._history.concurrent = True

    def look(self) -> Iterator[BrokenClause]:
        """Yield what is broken in what the search has met since it was looked at last."""
        lib, tally = self.search.lib, self.search.tally
        for number in self._new("records", tally.records):
            at = lib.percpu_record_words + lib.percpu_record_at[number]
            words = memoryview(self.search.ffi.buffer(at, at[0] * 4)).cast("i")
            self._records.append(Record(words, number, self.geometry.block_bits))
        for number in self._new("states", tally.allocator_states):
            entry = lib.percpu_states[number]
            for clause, wrong in self._state(self.state(number), entry.flags):
                yield BrokenClause(clause, wrong, entry.node, None)
        for number in self._new("moves", tally.moves):
            move = lib.percpu_moves[number]
            for clause, wrong in self._move(move):
                yield BrokenClause(clause, wrong, move.node, None if move.whole else move.label)
        for number in self._new("troubles", tally.troubles):
            trouble = lib.percpu_troubles[number]
            text = self.search.ffi.string(trouble.what).decode()
            clause, sep, wrong = text.partition(": ")
            if not sep or clause not in clauses():
                clause, wrong = CRASH, text
            self.judged[clause] += 1
            label = None if trouble.label < 0 else trouble.label
            yield BrokenClause(clause, wrong, trouble.node, label, work_alone=label is None)

    def _new(self, kind: str, count: int) -> range:
        """Return the numbers of what has come since it was looked at last; there are so many."""
        first, self._seen[kind] = self._seen[kind], count
        return range(first, count)

    def _deeds_between(
        self, was: int, now: int, places: bool
    ) -> tuple[tuple[Deed, int, int], ...]:
        before = None if was < 0 else self._records[was]
        return tuple(deeds_between(before, self._records[now], places))

    def _read_state(self, number: int) -> SearchState:
        """Return a state of the allocator that the search has met."""
        entry = self.search.lib.percpu_states[number]
        words = self.search.ffi.unpack(entry.words, entry.length)
        return SearchState(self.search, words, self._records)

    def _state(self, state: SearchState, flags: int) -> Iterator[tuple[str, str]]:
        settled = bool(flags & SETTLED)
        for chunk in (*state.live, *([state.reserved_chunk] if state.reserved_chunk else ())):
            yield from self._whole.broken_by(chunk, self.geometry, settled)
        questions = _ALWAYS + _ISOLATED if state.has_isolated else _ALWAYS
        quiescent = bool(flags & QUIESCENT) and not state.work_pending
        if quiescent:
            questions = questions + _QUIESCENT
        for clause, holds in questions:
            self.judged[clause] += 1
            wrong = holds(state)
            if wrong is not None:
                yield clause, wrong
        yield from broken_below(state, settled)
        if quiescent:
            yield from broken_when_quiescent(state)
            self.judged.update(("BAL-3", "POP-4", *(["ACC-1"] if self.geometry.memcg else ())))
        self._looked += 1
        if quiescent or self._looked % _LOOK_EACH == 1:
            self._sightings.look(state, self._history, quiescent=quiescent)

    def _move(self, entry: Any) -> Iterator[tuple[str, str]]:
        move = KernelMove(
            entry, self.state(entry.before), self.state(entry.after), self._deeds,
            self.search.needed,
        )  # fmt: skip
        for clause, wrong in judged_run(move) if entry.whole else self._step(move):
            self.judged[clause] += 1
            if wrong is not None:
                yield clause, wrong

    def _step(self, move: KernelMove) -> Iterator[Judged]:
        if move.released:
            self._history.given_back.add((move.released[0].chunk, 0))
        yield from move.judged_step(self._history)
        yield from judged_operation(move, self.search.plan.faults)
        if self.search.plan.points == LOCKS:
            yield from judged_reclaim(move)
        if self.notes_accesses:  # what the stubs watch is a trouble of its own
            yield "LOCK-1", None
            yield "LOCK-2", None
        if move.entry.chunk >= 0:
            yield "API-6", None
            if self._history.given_back:
                yield "TLB-1", None

    def asked(self) -> Counter[str]:
        """Return how often each clause was asked where its situation had occurred."""
        of_chunks = dict.fromkeys(_OF_CHUNKS, self._whole.chunk_evaluations)
        return self._sightings.of(self.judged + Counter(of_chunks))


def broken_below(state: SearchState, settled: bool) -> Iterator[Breach]:
    """Yield what the page tables contradict in any state.

    A page that is counted but not mapped, or whose old translation may be seen, belongs to a chunk
    that no request can find (ISO-1); none has areas (POP-2).
    """
    size = state.geometry.block_bits
    for chunk in state.chunks:
        if chunk.kind or (chunk.mapped == chunk.populated and 1 not in chunk.stale):
            continue
        for page in range(chunk.nr_pages):
            counted = chunk.populated[page] and not chunk.mapped[page]
            if counted or chunk.stale[page]:
                wrong = released_is_hidden(state, chunk)
                if wrong is not None:
                    what = "is counted and not mapped" if counted else "is not flushed yet"
                    yield "ISO-1", f"page {page} {what}: {wrong}"
            used = 1 in chunk.alloc_map[page * size : (page + 1) * size]
            if used and settled and not chunk.mapped[page]:
                yield "POP-2", f"page {page} holds an area and is not mapped"


def broken_when_quiescent(state: SearchState) -> Iterator[Breach]:
    """Yield what page tables, pages and charges contradict where nothing is under way.

    A mark of a failed atomic allocation is there with the work that it asked for, or not at all.
    """
    if state.atomic_alloc_failed and state.async_enabled:
        yield "BAL-5", "the mark of a failed atomic allocation is set, and no work is pending"
    populated = 0
    for chunk in state.chunks:
        if chunk.kind:
            continue
        populated += chunk.nr_populated
        if chunk.mapped != chunk.populated:
            page = next(p for p in range(chunk.nr_pages) if chunk.mapped[p] != chunk.populated[p])
            what = "mapped, not counted" if chunk.mapped[page] else "counted, not mapped"
            yield "POP-3", f"page {page} is {what} at rest"
    for clause, wrong in judged_pages(state.live_pages, populated, state.geometry):
        if wrong is not None:
            yield clause, wrong
    if state.geometry.memcg:
        owed = wrong_charges(state.charged, state.chunks, state.geometry)
        if owed is not None:
            yield "ACC-1", owed
