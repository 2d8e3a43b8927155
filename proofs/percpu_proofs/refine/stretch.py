"""Which actions a stretch between two gaps is: the one place that says where it is more than one.

A stretch is read off the difference of two states and the gaps at its ends.

- A free, and an allocation that finds room at once, is one action; a wait or a flag is none.
- An allocation that made a chunk is `create`, then what it finds in it: the kernel lists the new
  chunk and searches in one section of pcpu_lock.
- A stretch of the balance work is: what ends the gap it stood in; what it does to chunks without
  releasing the lock (take, sideline, reintegrate, ...), one action each; what begins the next gap,
  or `leave`. The kernel does all that in one section, for as many chunks as there are.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from percpu_proofs.refine.observation import AreaChange
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import ChunkState, Phase, Place, Position, State


class ActionChoice(NamedTuple):
    """An action to apply: the first of the names that the machine has and that is enabled."""

    names: tuple[str, ...]
    given: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{' or '.join(self.names)}({', '.join(map(str, self.given))})"


Plan = Generator[ActionChoice, State, None]
"""Yields choices and is sent the state that each leads to."""

WORK = frozenset(Phase) - {Phase.IDLE, Phase.SEARCHING, Phase.FILLING}

_MOVES: dict[tuple[Place, Place], tuple[str, ...]] = {
    (Place.TO_DEPOPULATE, Place.SIDELINED): ("sideline",),
    (Place.TO_DEPOPULATE, Place.ACTIVE): ("reintegrate",),
    (Place.TO_DEPOPULATE, Place.FREE): ("reintegrate",),
    (Place.TO_DEPOPULATE, Place.OWNED): ("reintegrate",),  # and then take
    (Place.FREE, Place.OWNED): ("take",),
    (Place.NONE, Place.FREE): ("create",),
    (Place.NONE, Place.OWNED): ("create",),
    (Place.OWNED, Place.NONE): ("destroy",),
    (Place.OWNED, Place.SIDELINED): ("sideline",),
}
_BEGINNINGS = {
    Phase.DRAINING: "drain_begin",
    Phase.RELEASING: "release_begin",
    Phase.POPULATING: "populate_begin",
}
_CREATED = ("create",)
_FREED = ("free", "free_isolating")
_UNMOVED = ("free_unmoved",)  # of machines in which a chunk can be on a list not computed
_FAILED = ("fill_fail", "fill_fail_isolating")
# of machines that leave the policy open: what is seen says what was chosen
_CHOSEN: dict[tuple[str, ...], tuple[str, ...]] = {
    _FREED: ("free_isolating_chosen", *_FREED),
    _FAILED: ("fill_fail_isolating_chosen", *_FAILED),
}


class Stretch(NamedTuple):
    """What is known of a stretch: who ran, to which position, and what the state became."""

    actor: Any
    after: Position
    chunks: dict[int, ChunkState]
    touched: list[AreaChange]

    def plan(self, s: State) -> Plan:
        """Yield the actions that lead from s to the end of the stretch."""
        before = s.actors[self.actor].phase
        if before is Phase.FILLING:
            return self._fill(s)
        if before in WORK or self.after.phase in WORK:
            return self._work(s, before)
        if self.touched:
            return self._area(s)
        if before is Phase.IDLE and self._differs(s):
            return self._work(s, before)
        return self._search(s, before)

    def _differs(self, s: State) -> bool:
        return any(s.chunks[c].place is not chunk.place for c, chunk in self.chunks.items())

    def _fails(self, s: State, c: int, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names of a failure; one that flushed stale pages has a name of its own."""
        flushed = self.chunks[c].stale != s.chunks[c].stale
        return (f"{names[0]}_flushing",) if flushed else names

    def _chosen(self, c: int, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return names of actions that free in a chunk, with the one of a chunk now isolated."""
        is_apart = self.chunks[c].place is Place.TO_DEPOPULATE
        return _CHOSEN[names] if is_apart else names

    def _is_owned(self, c: int) -> bool:
        return c in self.chunks and self.chunks[c].place is Place.OWNED

    def _shared(self, touched: AreaChange) -> tuple[bool, bool]:
        """Return whether other areas still cover the first and the last page of one freed."""
        used, pages = self.chunks[touched.c].used, touched.pages
        return used.has(pages.lo), used.has(pages.hi - 1)

    def _fill(self, s: State) -> Plan:
        a, after = self.actor, self.after
        if after.phase is Phase.FILLING:
            yield ActionChoice(("fill_next",), (a, Span(after.start, after.end)))
        elif after.phase is Phase.SEARCHING and self.touched:
            freed = self.touched[0]
            names = self._fails(s, freed.c, self._chosen(freed.c, _FAILED))
            yield ActionChoice(names, (a, freed.pages, *self._shared(freed)))
        else:
            yield ActionChoice(("fill_done",), (a,))

    def _area(self, s: State) -> Plan:
        a, after = self.actor, self.after
        touched = self.touched[0]
        if not touched.taken:
            stayed = s.chunks[touched.c].place is self.chunks[touched.c].place
            freed = self._chosen(touched.c, _FREED)
            names = (*_UNMOVED, *freed) if stayed else freed
            yield ActionChoice(names, (touched.c, touched.pages, *self._shared(touched)))
            return
        for c in self.chunks:
            if s.chunks[c].place is Place.NONE:
                s = yield ActionChoice(_CREATED, (a, c))
        if after.phase is Phase.FILLING:
            hole = Span(after.start, after.end)
            yield ActionChoice(("area_hole",), (a, touched.c, touched.pages, hole))
        elif s.actors[a].phase is Phase.SEARCHING or s.mutex == s.world.nobody:
            yield ActionChoice(("area_ready",), (a, touched.c, touched.pages))
        else:
            yield ActionChoice(("area",), (touched.c, touched.pages))

    def _search(self, s: State, before: Phase) -> Plan:
        a, after = self.actor, self.after.phase
        if before is Phase.IDLE and after is Phase.SEARCHING:
            s = yield ActionChoice(("miss",), (a,))
        if before is Phase.SEARCHING:
            for c in self.chunks:
                if s.chunks[c].place is Place.NONE:
                    s = yield ActionChoice(_CREATED, (a, c))
            if after is Phase.IDLE:
                yield ActionChoice(("leave",), (a,))

    def _work(self, s: State, before: Phase) -> Plan:
        a, after = self.actor, self.after
        if before is Phase.IDLE:
            s = yield ActionChoice(("work",), (a,))
        here = s.actors[a]
        if before is Phase.DRAINING:
            s = yield ActionChoice(("drain_end",), (a,))
        elif before is Phase.POPULATING:
            grown = self.chunks[here.at].populated != s.chunks[here.at].populated
            if grown and (after.phase, after.at) == (Phase.POPULATING, here.at):
                yield ActionChoice(("populate_next",), (a, Span(after.start, after.end)))
                return
            failed = self._fails(s, here.at, ("populate_fail",))
            s = yield ActionChoice(("populate_end",) if grown else failed, (a,))
        elif before is Phase.RELEASING:
            s = yield ActionChoice(("release_end",), (a,))
            if after.phase is Phase.FLUSHING:
                yield ActionChoice(("flush_begin",), (a,))
                return
        elif before is Phase.FLUSHING:
            s = yield ActionChoice(("flush_end",), (a,))
        yield from self._moved(s)

    def _moved(self, s: State) -> Plan:
        """What happens to chunks within one section of the lock, and how it ends."""
        a, after = self.actor, self.after
        standing_at = s.actors[a].at  # what reclaim has just flushed goes first
        again = after.phase is Phase.RELEASING and after.at == standing_at
        order = [standing_at, *(c for c in s.chunks if c != standing_at)]
        for c in [*order, *(c for c in self.chunks if c not in s.chunks)]:
            if after.phase is Phase.RELEASING and c == after.at and self._is_owned(c):
                continue  # taken off its list with the release
            there = self.chunks[c].place if c in self.chunks else Place.NONE
            put_back = c == standing_at and s.actors[a].phase is Phase.RELEASED and not again
            if put_back and there is not Place.SIDELINED:
                s = yield ActionChoice(("relist",), (a, c, there is Place.FREE))
            while s.chunks[c].place is not there:
                names = _MOVES.get((s.chunks[c].place, there))
                if names is None:
                    break
                s = yield ActionChoice(names, (a, c))
            if c == standing_at and s.actors[a].phase is Phase.FLUSHED:
                s = yield ActionChoice(("rescan",), (a, c))
        if after.phase in _BEGINNINGS:
            span = Span(after.start, after.end)
            yield ActionChoice((_BEGINNINGS[after.phase],), (a, after.at, span))
        elif after.phase is Phase.IDLE:
            yield ActionChoice(("leave",), (a,))
