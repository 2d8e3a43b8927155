"""Judging the states of a search: a state of the allocator, and a chunk in one state, once each."""

from __future__ import annotations

from percpu_contracts.operation_steps import Judged
from percpu_contracts.registry import Scope, When, asked, statements
from percpu_contracts.situations import SITUATIONS, SituationCoverage
from percpu_contracts.whole_state import WholeState
from percpu_proofs.explore.fingerprint import ids
from percpu_proofs.explore.world import World
from percpu_reference.chunk import Chunk
from percpu_reference.variants import Allocator
from percpu_spec.definitions import Listing
from percpu_spec.views import AllocatorView, ChunkView

_OF_ALL = asked(Scope.ALLOCATOR, When.ALWAYS)
_ISOLATED = asked(Scope.ALLOCATOR, When.ISOLATED)
_OF_CHUNKS = frozenset(s.clause for s in statements() if s.scope in (Scope.BLOCK, Scope.CHUNK))


class ChunkListing(Listing):
    """The listing of a model's state, made for each of very many of them."""

    def walk(self, allocator: AllocatorView, /) -> list[tuple[int, ChunkView]]:
        """Return every listed chunk with the number of its list; empty lists cost nothing."""
        assert isinstance(allocator, Allocator)
        found: list[tuple[int, ChunkView]] = []
        for head in allocator.chunk_lists:
            chunk = head.next
            while chunk is not head:
                found.append((head.slot, chunk))
                chunk = chunk.next
        return found

    @property
    def has_isolated(self) -> bool:
        """Whether a chunk is isolated, or on a list for such chunks."""
        apart = self.sidelined_slot, self.to_depopulate_slot
        slots = self.nr_slots // self.chunk_types
        for number, chunk in self.listed:
            if chunk.isolated or number % slots in apart:
                return True
        return any(chunk.isolated for chunk in self.owned)


class StateJudge:
    """Judges states of one variant at one geometry, in as many searches as there are."""

    def __init__(self, variant: type[Allocator]) -> None:
        self.whole = WholeState(variant.NOT_APPLICABLE)
        self._of_chunks = _OF_CHUNKS - variant.NOT_APPLICABLE.keys()
        self._sightings = SituationCoverage(never=SITUATIONS.keys() - self._of_chunks)
        self._states: dict[object, list[Judged]] = {}  # what is broken in those met
        self._records: dict[object, list[Judged]] = {}  # the same of chunks

    def judged(self, world: World) -> list[Judged]:
        """Return the verdicts on the present state; of one met before only what is broken."""
        waiting = [placed.chunk for placed, _ in world.waiting()]
        key = world.protected(), tuple(ids(waiting))
        broken = self._states.get(key)
        if broken is not None:
            return broken
        walk = ChunkListing(world.allocator)
        judged: list[Judged] = [(clause, state(walk)) for clause, state in _OF_ALL]
        if walk.has_isolated:
            judged += [(clause, state(walk)) for clause, state in _ISOLATED]
        self._sightings.look(walk, world.history, quiescent=False)
        for chunk in walk.live:
            judged += self._of_chunk(world, chunk, chunk not in waiting)
        self._states[key] = [verdict for verdict in judged if verdict[1] is not None]
        return judged

    def _of_chunk(self, world: World, chunk: ChunkView, settled: bool) -> list[Judged]:
        """Return the verdicts on a chunk; settled: none of its areas awaits its pages."""
        assert isinstance(chunk, Chunk)
        record = *world.fingerprints.record(chunk), settled
        known = self._records.get(record)
        if known is not None:
            return known
        broken: list[Judged] = list(self.whole.broken_by(chunk, world.allocator.geometry, settled))
        self._records[record] = broken
        names = {clause for clause, _ in broken}
        holding = (self._sightings.seen & self._of_chunks) - names
        return [*broken, *((clause, None) for clause in sorted(holding))]
