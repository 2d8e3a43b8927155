"""States matched: what was met before is not searched again, and schedules through it are counted.

A state is what all actors share and where each stands. A step changes the first and its own actor's
place, and depends on nothing else; nor does what is said of it, but for the chunks that others
hold. So a step that was taken once, from such a place with such a share, is not taken again: its
outcome is looked up, with what was said. Every step of every state is judged that way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from percpu_proofs.explore.fingerprint import number_of
from percpu_proofs.explore.judges import StateJudge
from percpu_proofs.explore.search import EnoughError, Exploration, Mode, Search
from percpu_proofs.explore.system import ActorPosition, SharedState, Start, actor_of, enabled
from percpu_proofs.explore.world import World
from percpu_spec.catalogue import REFINE

_NOBODY: Final = -1
_BEGINNING: Final = -1  # the place of a run of the work that is not begun


class MatchState(NamedTuple):
    """What all actors share, who holds pcpu_alloc_mutex, and where each stands, by number."""

    shared: int
    holder: int
    places: tuple[int, ...]
    lost: bool  # the abstract machine does not follow any more


@dataclass(frozen=True, slots=True, eq=False)
class StepVerdict:
    """What was said of a step or an end."""

    situations: tuple[str, ...]
    witnessed: tuple[str, ...]
    broken: tuple[tuple[str, str], ...]  # clause, message
    compared: int = 0  # steps that were compared with the abstract machine


class StepOutcome(NamedTuple):
    """What a step leads to, and what was said of it."""

    shared: int
    place: int
    verdict: StepVerdict


@dataclass(slots=True)
class StepFacts:
    """What is known of steps and ends.

    Searches of one variant in one geometry may share it, if all let actors wait for the mutex or
    none does, and all or none are compared with the abstract machine.
    """

    shared: dict[int, SharedState] = field(default_factory=dict)
    places: dict[int, ActorPosition] = field(default_factory=dict)
    outcomes: dict[Hashable, StepOutcome] = field(default_factory=dict)
    ends: dict[Hashable, StepVerdict] = field(default_factory=dict)
    of_states: StateJudge | None = None
    world: World | None = None
    met: dict[object, tuple[int, int] | None] = field(default_factory=dict)

    def share(self, shared: SharedState) -> int:
        """Return the number of what actors share."""
        number = number_of(shared.key)
        if number not in self.shared:
            self.shared[number] = shared._replace(key=number)
        return number

    def place(self, place: ActorPosition) -> int:
        """Return the number of a place."""
        number = number_of(place.key)
        if number not in self.places:
            seen = None if place.seen is None else number_of(place.seen)
            role = number_of(place.role)
            self.places[number] = place._replace(key=number, seen=seen, role=role)
        return number


class Matching(Search):
    """Every state, once.

    preemptions: at most so many in a schedule; without a bound, any number. A switch away from an
    actor that could go on is one. once: states met by other searches that share what is known are
    not searched again either; what was found there they have found.
    """

    mode: Mode = "matching"

    def __init__(
        self,
        start: Start,
        *,
        preemptions: int | None = None,
        known: StepFacts | None = None,
        once: bool = False,
        **bounds: Any,
    ) -> None:
        self.known = known = known or StepFacts()
        known.of_states = known.of_states or StateJudge(type(start.allocator))
        super().__init__(start, of_states=known.of_states, world=known.world, **bounds)
        known.world = self.world
        self.preemptions = preemptions
        # states met, with the schedules that go on from each and the steps of those; none while
        # the search through a state is under way
        self._met = known.met if once else {}
        self._before = len(self._met)
        self._path: list[int] = []  # the steps to the state that the search is at
        self._verdicts: Counter[StepVerdict] = Counter()

    def search(self) -> None:
        """Search from the start on."""
        known, world = self.known, self.world
        places = tuple([known.place(world.place(n)) for n in range(len(world.runners))])
        try:
            start = MatchState(known.share(world.shared()), _NOBODY, places, False)
            self._search(start, self.preemptions or 0)
        finally:
            self._sum_up()

    def _sum_up(self) -> None:
        """Count what was said as often as it was."""
        result = self.result
        result.states = len(self._met) - self._before
        compared = 0
        for verdict, times in self._verdicts.items():
            compared += times * verdict.compared
            for name in verdict.situations:
                result.situations[name] += times
            for clause in verdict.witnessed:
                result.witnessed[clause] += times
        if self.checker is not None:
            self.checker.stretches = compared

    def _search(self, state: MatchState, left: int) -> tuple[int, int]:
        """Search on from a state, the end of the path.

        Return how many schedules go on from it to an end, and the steps of their tree. left:
        preemptions that may still be made.
        """
        path, met, known = self._path, self._met, self.known
        self.result.depth = max(self.result.depth, len(path))
        key: object = state
        if self.preemptions is not None:
            key = state, path[-1] if path else None, left
        if key in met:
            return self._count(met[key] or self._circle())
        met[key] = None
        needs = [known.places[place].need for place in state.places]
        steps = enabled(known.shared[state.shared], needs)
        if not steps:
            self._end(state)
            met[key] = (1, 0)
            return self._count((1, 0))
        last = actor_of(path[-1]) if path else None
        schedules = covered = 0
        for step in steps:
            switch = last in steps and actor_of(step) != last
            if switch and self.preemptions is not None and not left:
                continue
            after = self._after(state, step)
            path.append(step)
            more = self._search(after, left - switch)
            path.pop()
            schedules += more[0]
            covered += more[1] + 1
        met[key] = (schedules, covered)
        return schedules, covered

    def _count(self, onward: tuple[int, int]) -> tuple[int, int]:
        """Count schedules that have come to an end, or to a state whose ends are known."""
        self.result.schedules += onward[0]
        self.result.covered += onward[1]
        return onward

    def _circle(self) -> tuple[int, int]:
        """A state that leads back to itself: no schedule through it ends by itself (BAL-3)."""
        wrong = "the steps lead back to a state met on the way"
        self.result.enter("BAL-3", wrong, tuple(self._path))
        return 1, 0

    def _after(self, state: MatchState, step: int) -> MatchState:
        """Return the state that a step leads to, and enter what is said of it."""
        self.count()
        shared, holder, places, lost = state
        actor = actor_of(step)
        begins = actor == len(places)
        known, every = self.known, self.checker is not None
        others = [known.places[place] for n, place in enumerate(places) if n != actor]
        # the abstract machine asks where others stand, whether they hold a chunk or not
        seen: list[Any] = [other.seen for other in others if every or other.holds]
        key = (
            shared,
            _BEGINNING if begins else places[actor],
            step < 0,
            holder in (actor, _NOBODY),
            lost,
            *sorted([number for number in seen if number is not None]),
        )
        outcome = self.known.outcomes.get(key)
        if outcome is None:
            outcome = self.known.outcomes[key] = self._taken(step)
        verdict = outcome.verdict
        self._enter(verdict, (*self._path, step))
        if begins:
            places = (*places, outcome.place)
        else:
            places = (*places[:actor], outcome.place, *places[actor + 1 :])
        if not self.known.shared[outcome.shared].mutex:
            holder = _NOBODY
        elif holder == _NOBODY:
            holder = actor
        lost = lost or any(clause == REFINE for clause, _ in verdict.broken)
        return MatchState(outcome.shared, holder, places, lost)

    def _enter(self, verdict: StepVerdict, schedule: Sequence[int]) -> None:
        self._verdicts[verdict] += 1
        for clause, wrong in verdict.broken:
            self.result.enter(clause, wrong, tuple(schedule))
        if verdict.broken and self.stop is not None and self.stop(self.result):
            raise EnoughError

    # the world, which is brought only where something is not known

    def _taken(self, step: int) -> StepOutcome:
        """Let the world take a step from the end of the path, and return its outcome."""
        known, world = self.known, self.world
        self.cursor.come_to(self._path)
        verdict = self._judge(lambda: self.judge.step(world, step, ()))
        self.cursor.note_step(step)
        return StepOutcome(
            known.share(world.shared()), known.place(world.place(actor_of(step))), verdict
        )

    def _end(self, state: MatchState) -> None:
        """Judge a state from which nobody can go on."""
        roles: list[Any] = [self.known.places[place].role for place in state.places]
        key = state.shared, *sorted(roles)
        verdict = self.known.ends.get(key)
        if verdict is None:
            self.cursor.come_to(self._path)
            verdict = self._judge(lambda: self.judge.at_end(self.world, ()))
            self.cursor.use_up()
            self.known.ends[key] = verdict
        self._enter(verdict, self._path)

    def _judge(self, judging: Callable[[], object]) -> StepVerdict:
        """Return what the judge says."""
        before = 0 if self.checker is None else self.checker.stretches
        part = self.judge.result = Exploration(self.mode)
        judging()
        self.judge.result = self.result
        self.result.callers_errors |= part.callers_errors
        return StepVerdict(
            tuple(part.situations.elements()),
            tuple(part.witnessed.elements()),
            tuple([(found.clause, found.message) for found in part.findings.values()]),
            0 if self.checker is None else self.checker.stretches - before,
        )
