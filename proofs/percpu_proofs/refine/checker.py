"""Does the allocator refine the machine: every stretch between two gaps is what the machine does.

The machine's own guard and effect are evaluated on the allocator's state before the stretch, and
the outcome compared with its state after.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from percpu_contracts.history import History
from percpu_proofs.refine.observation import (
    NoMachineState,
    Observer,
    float_of,
    position_of,
    world_of,
)
from percpu_proofs.refine.stretch import ActionChoice, Stretch
from percpu_reference.gaps import Gap
from percpu_reference.variants import Allocator
from percpu_spec.protocol.concrete import ABSENT, IDLE, NOBODY, TotalMap
from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.state import ChunkState, Phase, Place, Position, State


class MachineDifference(NamedTuple):
    """The first component in which two states differ."""

    component: str
    machine: Any
    allocator: Any

    def __str__(self) -> str:
        return f"{self.component}: machine {self.machine}, allocator {self.allocator}"


@dataclass(eq=False, repr=False)
class StepMismatch(AssertionError):
    """A stretch between two gaps that the machine cannot make.

    gaps: names of the gap it came from and the one it came to, "" at the ends of an operation.
    plan: the actions tried, in order; the last one is the one refused, if one was. blocked: its
    conditions that do not hold. difference: where the states part if all were enabled.
    """

    actor: Any
    gaps: tuple[str, str]
    plan: Sequence[str] = ()
    blocked: Sequence[str] = ()
    difference: MachineDifference | None = None

    def __str__(self) -> str:
        came, went = (f"«{name}»" if name else "-" for name in self.gaps)
        tried = "; ".join(self.plan) or "no action"
        text = f"actor {self.actor}, {came} to {went}, is no step of the machine: tried {tried}"
        if self.blocked:
            return f"{text}: not so: {', '.join(self.blocked)}"
        return f"{text}: {self.difference}"


class RefinementChecker:
    """Follows one allocator with a machine.

    Made while no actor runs. Whoever lets actors run calls `before` and `after` around every
    stretch. history: where stale pages are kept, the monitor's by default; with neither they are
    taken to be as the machine has them. lost: the allocator has taken a step that is no action;
    `judge` follows it no further.
    """

    def __init__(
        self, machine: Machine, allocator: Allocator, history: History | None = None
    ) -> None:
        self.machine = machine
        self.allocator = allocator
        if history is None and allocator.monitor is not None:
            history = allocator.monitor.history
        self.history = history
        self.stretches = 0  # that were compared
        self.lost = False
        self.actions: list[str] = []  # actions of the last stretch
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

    def mark(self) -> tuple[Any, ...] | None:
        """Return where the checker stands, to come back to."""
        return None if self.lost else (self.state, dict(self._gaps), self._observer.mark())

    def back_to(self, mark: tuple[Any, ...] | None) -> None:
        """Go back to where the checker stood, the allocator having gone back too."""
        self.lost = mark is None
        if mark is not None:
            self.state, gaps, seen = mark
            self._gaps = dict(gaps)
            self._observer.back_to(seen)

    def judge(self, actor: Any, gap: Gap | None, history: History) -> str | None:
        """Judge a stretch as `after` does; return what is wrong with it in words.

        history: the present one, of an allocator that was brought back to an earlier state.
        """
        if self.lost:
            return None
        self.history = history
        try:
            self.after(actor, gap)
        except StepMismatch as wrong:
            self.lost = True
            return str(wrong)
        return None

    def before(self, actor: Any) -> None:
        """Note that an actor is about to run: what others did must have been told."""
        self._check_lock(actor, "")

    def _check_lock(self, actor: Any, name: str) -> None:
        if self.allocator.lock:
            held = MachineDifference("pcpu_lock in a gap", "free", "held")
            raise self._mismatch(actor, name, difference=held)

    def after(self, actor: Any, gap: Gap | None) -> list[str]:
        """Judge the stretch that brought an actor to a gap, or to its end; return its actions.

        Raises StepMismatch.
        """
        self.stretches += 1
        allocator, s = self.allocator, self.state
        name = "" if gap is None else gap.name
        self._check_lock(actor, name)
        mutex = NOBODY
        if allocator.alloc_mutex:
            mutex = s.mutex if s.mutex != NOBODY else actor
        try:
            chunks, touched = self._observer.look(self._unmapped, actor, s.chunks)
            position = self._position(gap, mutex == actor, chunks)
        except NoMachineState as wrong:
            corrupt = MachineDifference("lists", "one place", str(wrong))
            raise self._mismatch(actor, name, difference=corrupt) from None
        taken: list[str] = []
        predicted = self._follow(Stretch(actor, position, chunks, touched), s, name, taken)

        actors = TotalMap(s.actors, IDLE)
        if position is IDLE:
            actors.pop(actor, None)
        else:
            actors[actor] = position
        table = TotalMap(chunks, ABSENT)
        observed = State(self._world, table, actors, mutex, float_of(allocator))
        if predicted is not s or observed != s:
            predicted = _live_part(predicted)
            if self._unmapped is None:
                observed = _with_stale(observed, predicted, actor)
            if observed != predicted:
                difference = first_difference(predicted, observed)
                raise self._mismatch(actor, name, plan=taken, difference=difference)
        self.state = observed
        self.actions = taken
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
        with suppress(StopIteration):
            while choice is not None:
                s = self._apply(s, choice, stretch.actor, name, taken)
                choice = plan.send(s)
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
        blocked = blocked or [f"{self.machine.name} has no such action"]
        raise self._mismatch(actor, name, plan=[*taken, str(choice)], blocked=blocked)

    def _mismatch(self, actor: Any, name: str, **found: Any) -> StepMismatch:
        """Return what is wrong with a stretch to the gap of this name; see StepMismatch."""
        return StepMismatch(actor, (self._gaps.get(actor, ""), name), **found)


def _live_part(s: State) -> State:
    """Return the state without entries for what is no more, so that equal states compare equal."""
    chunks, actors = s.chunks, s.actors
    if any(chunk.place is Place.NONE for chunk in chunks.values()):
        live = {c: chunk for c, chunk in chunks.items() if chunk.place is not Place.NONE}
        chunks = TotalMap(live, ABSENT)
    if any(position == IDLE for position in actors.values()):
        inside = {a: position for a, position in actors.items() if position != IDLE}
        actors = TotalMap(inside, IDLE)
    return State(s.world, chunks, actors, s.mutex, s.floating)


def _with_stale(state: State, predicted: State, actor: Any) -> State:
    """Return the state with its stale pages, and a span that rests on them, as predicted."""
    chunks = TotalMap(
        {c: chunk._replace(stale=predicted.chunks[c].stale) for c, chunk in state.chunks.items()},
        ABSENT,
    )
    actors = state.actors
    here = actors[actor]
    if here.phase is Phase.RELEASING:  # its span, if it keeps one
        there = predicted.actors[actor]
        actors = actors.put(actor, here._replace(lo=there.lo, hi=there.hi))
    return State(state.world, chunks, actors, state.mutex, state.floating)


def first_difference(machine: State, allocator: State) -> MachineDifference | None:
    """Return where two states first differ, chunks before actors."""
    for kind in ("chunks", "actors"):
        one, other = getattr(machine, kind), getattr(allocator, kind)
        for key in sorted({*one, *other}):
            a, b = one[key], other[key]
            for name, x, y in zip(a._fields, a, b, strict=True):
                if x != y:
                    return MachineDifference(f"{kind[:-1]} {key} {name}", _plain(x), _plain(y))
    for component, name in (("holder of pcpu_alloc_mutex", "mutex"), ("float", "floating")):
        x, y = getattr(machine, name), getattr(allocator, name)
        if x != y:
            return MachineDifference(component, x, y)
    return None


def _plain(value: Any) -> Any:
    return getattr(value, "name", value)
