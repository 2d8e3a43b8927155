"""Schedules of the model run again, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from percpu_contracts.monitor import ClauseViolation
from percpu_contracts.whole_state import WholeState
from percpu_proofs.counterexample.places import ModelPlace, place_of
from percpu_proofs.counterexample.record import WORK, Counterexample, Step
from percpu_proofs.counterexample.sentences import kernel_of, sentence_of, title_of
from percpu_proofs.counterexample.words import Names, standing
from percpu_proofs.explore.contracted import ContractedWorld
from percpu_proofs.explore.follower import Follower
from percpu_proofs.explore.schedulers.replay import ImpossibleStepError, InTurn, Replay
from percpu_proofs.explore.search import Explored
from percpu_proofs.explore.start import Runner, Start
from percpu_proofs.explore.system import Scheduler, actor_of, scheduled
from percpu_proofs.explore.token import Token, read_token
from percpu_proofs.explore.watch import Watch
from percpu_proofs.explore.world import World
from percpu_proofs.inputs import InputError
from percpu_proofs.oplist import WRONG, text_of
from percpu_proofs.refinement import machine_of
from percpu_proofs.show.rows import State, state_of
from percpu_proofs.variant_errors import guard
from percpu_reference import build
from percpu_reference.gaps import Gap, Kind
from percpu_reference.kernel_names import origin
from percpu_reference.variants import variant_class
from percpu_spec.catalogue import REFINE

_RELEASING = (Kind.RELEASE, Kind.DRAIN)
_ENTRY = {"a": "alloc_percpu", "f": "free_percpu", "b": "balance_workfn", "B": "balance_workfn"}


class Walk:
    """A world taken through a schedule, each step as a record."""

    def __init__(self, world: World, names: Names, *, first: int = 0) -> None:
        """first: the number of the first actor that is shown."""
        self._world = world
        self._names = names
        self._first = first
        self._places: dict[int, ModelPlace] = {}  # where actors stand

    def state(self) -> State:
        """Return the present state."""
        world = self._world
        holder = "" if world.holder is None else self._cpu(world.holder)
        losing = {
            (runner.gap.chunk.id, page)
            for runner in world.runners
            if runner.gap is not None and runner.gap.chunk is not None
            and runner.gap.kind in _RELEASING
            for page in range(runner.gap.start, runner.gap.end)
        }  # fmt: skip
        return state_of(world.allocator, holder, lambda chunk, page: (chunk.id, page) in losing)

    def steps(
        self, order: Scheduler, follower: Follower | None = None, *, last: int | None = None
    ) -> Iterator[Step]:
        """Yield the steps that a scheduler decides on; at the `last` one hints are judged too."""
        world, monitor = self._world, self._world.monitor
        for number, step in enumerate(scheduled(world, order), 1):
            result = Explored("all")
            watch = Watch(result, follower)
            left = _left(world, step)
            counts = {c: v.count for c, v in monitor.violations.items()}
            monitor.operation = number
            endless = False
            try:
                watch.step(world, step, ())
            except ClauseViolation:
                endless = True
            state = self.state()
            locked = monitor.guard.locked
            if not world.enabled():
                watch.at_end(world, ())
            if number == last:  # the hints are judged where nothing is under way
                for broken, wrong in WholeState().broken(world.allocator):
                    result.enter(broken, wrong, ())
            found = {
                broken: violation.first_message
                for broken, violation in monitor.violations.items()
                if violation.count > counts.get(broken, 0)
            }
            found |= {f.clause: f.message for f in result.findings.values()}
            yield self._step(number, step, left, state, found, locked=locked)
            if endless:
                return

    def _step(
        self,
        number: int,
        step: int,
        left: Gap | None,
        state: State,
        broken: dict[str, str],
        *,
        locked: bool,
    ) -> Step:
        actor = actor_of(step)
        runner = self._world.runners[actor]
        before = self._places.get(actor, ModelPlace())
        if runner.done:
            place = ModelPlace(_entry(runner))
        else:
            place = self._places[actor] = place_of(runner.steps)
        return Step(
            number,
            actor - self._first,
            self._cpu(actor),
            self._names.words(runner.operation),
            text_of(runner.operation),
            left is None,
            "memory" if step < 0 else "",
            before.function,
            before.where,
            place.function,
            place.where,
            *self._stands(runner, locked=locked),
            runner.done,
            locked,
            "begins" if left is None else left.name,
            "done" if runner.gap is None else runner.gap.name,
            state,
            tuple(broken.items()),
        )

    def _cpu(self, actor: int) -> str:
        is_work = self._world.runners[actor].operation[0] in "bB"
        return WORK if is_work else f"CPU {actor - self._first}"

    def _stands(self, runner: Runner, *, locked: bool) -> tuple[str, str, str]:
        """Return where an actor stands after its step, what it does next, and what came of it."""
        if not runner.done:
            assert runner.gap is not None
            return *standing(runner.gap, locked=locked), ""
        kind, handle, *_ = runner.operation
        result = ""
        if kind in WRONG and self._world.errors:
            result = f"the caller's error (API-2), {self._world.errors[-1]}"
        elif kind == "a" and runner.result is None:
            result = f"{self._names.of(handle)} gets no memory"
        elif kind == "a":
            chunk, off = runner.result
            result = f"{self._names.of(handle)} is at byte {off} of chunk {chunk.id}"
        return "ends", "", result


def _left(world: World, step: int) -> Gap | None:
    """Return the gap that a step leaves."""
    actor = actor_of(step)
    return world.runners[actor].gap if actor < len(world.runners) else None


def _entry(runner: Runner) -> str:
    """Return the kernel function that an operation is."""
    source = origin(_ENTRY.get(runner.operation[0], "free_percpu"))
    return source.function if source is not None else ""


def _refined(token: Token, names: Names) -> tuple[State, Iterator[Step]]:
    """Return the state behind a token's setup, and its steps, followed by the abstract machine."""
    world = World(token.scenario.start(token.variant))
    allocator = world.allocator
    machine = machine_of(type(allocator), allocator.geometry.backing)
    follower = None if machine is None else Follower(machine, world)
    walk = Walk(world, names)
    return walk.state(), walk.steps(Replay(token.schedule), follower, last=len(token.schedule))


def _under_contracts(token: Token, names: Names) -> tuple[State, Iterator[Step]]:
    """Return the state behind a token's setup, and its steps, all under contracts at full.

    Without a schedule the actors run one after the other.
    """
    scenario = token.scenario
    prepared, actors = scenario.prepared, scenario.concurrent
    allocator = build(token.variant, scenario.sizes, contracts="full", strict=False)
    start = Start(
        allocator,
        {},
        prepared + actors,
        scenario.works,
        scenario.waiting,
        scenario.failures,
    )
    world = ContractedWorld(start)
    first = len(prepared)
    world.history.concurrent = False
    for step in scheduled(world, InTurn(range(first))):
        with suppress(ClauseViolation):
            world.step(step)
    world.history.concurrent = bool(token.schedule)
    order: Scheduler = InTurn(range(len(start.operations)))
    if token.schedule:
        order = Replay([s + first if s >= 0 else ~(~s + first) for s in token.schedule])
    walk = Walk(world, names, first=first)
    return walk.state(), walk.steps(order)


def of_token(text: str, bound: str = "") -> Counterexample:
    """Return what the token of a schedule of the model shows.

    bound: how far was searched where it was found. Raises InputError for a token that is damaged,
    of a variant that has changed, or of a schedule that is not possible.
    """
    return of_schedule(read_token(text), bound)


def of_schedule(token: Token, bound: str = "") -> Counterexample:
    """Return what a token shows. Raises InputError for a schedule that is not possible."""
    scenario = token.scenario
    names = Names([*scenario.prepared, *scenario.concurrent])
    try:
        with guard():
            run = _refined if token.clause == REFINE else _under_contracts
            before, taken = run(token, names)
            steps = tuple(taken)
    except (ImpossibleStepError, KeyError) as error:
        raise InputError("token", None, f"a schedule of its actors ({error})") from None
    shown = token.clause
    return Counterexample(
        token.variant,
        shown,
        title_of(shown),
        sentence_of(shown),
        kernel_of(shown),
        variant_class(token.variant).EXPECTED.get(shown, ""),
        next((wrong for s in reversed(steps) for c, wrong in s.broken if c == shown), ""),
        token.geometry,
        tuple(map(names.spoken, scenario.prepared)),
        tuple(map(names.spoken, scenario.concurrent)),
        before,
        steps,
        bound,
        str(token),
    )

