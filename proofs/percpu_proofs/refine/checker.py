"""Does the allocator refine the machine: every stretch between two gaps is what the machine does.

The machine's own guard and effect are evaluated on the allocator's state before the stretch, and
the outcome compared with its state after.
"""

from __future__ import annotations

from typing import Any

from percpu_contracts.history import History
from percpu_proofs.refine.mismatch import MachineDifference, StepMismatch, first_difference
from percpu_proofs.refine.observation import CorruptLists, Observer, float_of, world_of
from percpu_proofs.refine.positions import UnknownGap, position_of
from percpu_proofs.refine.stretch import ActionChoice, Stretch
from percpu_reference.gaps import Gap
from percpu_reference.variants import Allocator
from percpu_spec.protocol.concrete import ABSENT, IDLE, NOBODY, TotalMap
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.state import ChunkState, Phase, Place, Position, State


class RefinementChecker:
    """Follows one allocator with a machine.

    Made while no actor runs. Whoever lets actors run calls `before` and `after` around every
    stretch. history: where stale pages are kept, the monitor's by default; with neither they are
    taken to be as the machine has them.
    """

    def __init__(
        self, machine: Machine, allocator: Allocator, history: History | None = None
    ) -> None:
        self.machine = machine
        self.allocator = allocator
        if history is None and allocator.monitor is not None:
            history = allocator.monitor.history
        self.history = history
        self.stretches = 0
        self.taken: list[str] = []  # actions of the last stretch
        self._has_span = "flush_begin" in machine.actions
        self._world = world_of(allocator)
        self._observer = Observer(allocator, relists="relist" in machine.actions)
        self.reset()

    @property
    def _unmapped(self) -> History | None:
        """The history that has the stale pages: with km none has, as nothing is unmapped."""
        return self.history if self.allocator.geometry.backing == "vm" else None

    def reset(self) -> None:
        """Take the allocator's present state, in which no actor runs, for the start."""
        self._observer.back_to({})
        chunks, _ = self._observer.look(self._unmapped, NOBODY, {})
        self.state = State(
            self._world,
            TotalMap(chunks, ABSENT),
            TotalMap({}, IDLE),
            NOBODY,
            float_of(self.allocator),
        )
        self._gaps: dict[Any, str] = {}

    def mark(self) -> tuple[Any, ...]:
        """Return where the checker stands, to come back to."""
        return self.state, dict(self._gaps), self._observer.mark()

    def back_to(self, mark: tuple[Any, ...]) -> None:
        """Go back to where the checker stood, the allocator having gone back too."""
        self.state, gaps, seen = mark
        self._gaps = dict(gaps)
        self._observer.back_to(seen)

    def before(self, actor: Any) -> None:
        """Note that an actor is about to run: what others did must have been told."""
        if self.allocator.lock:
            raise self._wrong(actor, "", MachineDifference("pcpu_lock in a gap", "free", "held"))

    def after(self, actor: Any, gap: Gap | None) -> list[str]:
        """Judge the stretch that brought an actor to a gap, or to its end; return its actions.

        Raises StepMismatch.
        """
        self.stretches += 1
        allocator, s = self.allocator, self.state
        name = "" if gap is None else gap.name
        if allocator.lock:
            raise self._wrong(actor, name, MachineDifference("pcpu_lock in a gap", "free", "held"))
        mutex = NOBODY
        if allocator.alloc_mutex:
            mutex = s.mutex if s.mutex != NOBODY else actor
        try:
            chunks, touched = self._observer.look(self._unmapped, actor, s.chunks)
            position = self._position(gap, mutex == actor, chunks)
        except (CorruptLists, UnknownGap) as wrong:
            raise self._wrong(
                actor, name, MachineDifference("lists", "one place", str(wrong))
            ) from None
        taken: list[str] = []
        predicted = self._follow(Stretch(actor, position, chunks, touched), s, name, taken)

        actors = TotalMap(s.actors, IDLE)
        if position is IDLE:
            actors.pop(actor, None)
        else:
            actors[actor] = position
        table = TotalMap(chunks, ABSENT)
        found = State(self._world, table, actors, mutex, float_of(allocator))
        if predicted is not s or found != s:
            predicted = _without_gone(predicted)
            if self._unmapped is None:
                found = _with_stale(found, predicted, actor)
            if found != predicted:
                raise StepMismatch(
                    actor,
                    (self._gaps.get(actor, ""), name),
                    taken,
                    [],
                    first_difference(predicted, found),
                )
        self.state = found
        self.taken = taken
        if gap is None:
            self._gaps.pop(actor, None)
        else:
            self._gaps[actor] = name
        return taken

    def _position(self, gap: Gap | None, inside: bool, chunks: dict[int, ChunkState]) -> Position:
        if gap is None or gap.chunk is None or not inside:
            return position_of(gap, inside)
        chunk = chunks.get(gap.chunk.id, ABSENT)
        stale = chunk.stale if self._has_span else None
        return position_of(gap, inside, gap.chunk.nr_pages, stale)

    def _follow(self, stretch: Stretch, s: State, name: str, taken: list[str]) -> State:
        """Return the state that the machine reaches along the stretch."""
        plan = stretch.plan(s)
        choice = next(plan, None)
        while choice is not None:
            s = self._apply(s, choice, stretch.actor, name, taken)
            try:
                choice = plan.send(s)
            except StopIteration:
                choice = None
        return s

    def _apply(
        self, s: State, choice: ActionChoice, actor: Any, name: str, taken: list[str]
    ) -> State:
        blocked: list[str] = []
        for action_name in choice.names:
            action = self.machine.actions.get(action_name)
            if action is None:
                continue
            when, then = action(s, *choice.given)
            if False not in when.values():
                taken.append(action_name)
                return then()
            if not blocked:
                blocked = [condition for condition, holds in when.items() if not holds]
        gaps = self._gaps.get(actor, ""), name
        wrong = blocked or [f"{self.machine.name} has no such action"]
        raise StepMismatch(actor, gaps, [*taken, str(choice)], wrong, None)

    def _wrong(self, actor: Any, name: str, difference: MachineDifference) -> StepMismatch:
        return StepMismatch(actor, (self._gaps.get(actor, ""), name), [], [], difference)


def _without_gone(s: State) -> State:
    """Return the state without entries for what is no more, so that equal states compare equal."""
    chunks, actors = s.chunks, s.actors
    if any(chunk.place is Place.NONE for chunk in chunks.values()):
        live = {c: chunk for c, chunk in chunks.items() if chunk.place is not Place.NONE}
        chunks = TotalMap(live, ABSENT)
    if any(position == IDLE for position in actors.values()):
        inside = {a: position for a, position in actors.items() if position != IDLE}
        actors = TotalMap(inside, IDLE)
    return State(s.world, chunks, actors, s.mutex, s.floating)


def _with_stale(found: State, predicted: State, actor: Any) -> State:
    """Return the state with its stale pages, and a span that rests on them, as predicted."""
    chunks = TotalMap(
        {c: chunk._replace(stale=predicted.chunks[c].stale) for c, chunk in found.chunks.items()},
        ABSENT,
    )
    actors = found.actors
    here = actors[actor]
    if here.phase is Phase.RELEASING:  # its span, if it keeps one
        there = predicted.actors[actor]
        actors = actors.put(actor, here._replace(lo=there.lo, hi=there.hi))
    return State(found.world, chunks, actors, found.mutex, found.floating)
