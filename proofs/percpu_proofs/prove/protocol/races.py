"""From an action that breaks a clause to a race on the allocator itself.

z3's models of the failing action say where its chunk and the holder of the mutex stand. A
breadth-first run of the machine leads to a state of that kind, and its actions to the operations
that a race needs. The explorer then looks for a setup and a schedule of them in which the allocator
breaks the clause; the machine follows the schedule, and its last action must be the failing one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any, NamedTuple

from percpu_proofs.explore.modes import search
from percpu_proofs.explore.scenario import KERNEL_32K, Scenario
from percpu_proofs.explore.schedulers.fixed import ScheduleReplay
from percpu_proofs.explore.system import scheduled
from percpu_proofs.explore.token import Token
from percpu_proofs.explore.world import World
from percpu_proofs.prove.protocol.induction import SECONDS, Proof
from percpu_proofs.prove.protocol.worlds import z3
from percpu_proofs.refine.checker import RefinementChecker
from percpu_spec.protocol.instances import INSTANCES, Firing
from percpu_spec.protocol.machine import Machine, parameters
from percpu_spec.protocol.operators import Not, Or
from percpu_spec.protocol.state import Phase, Place, State
from percpu_spec.protocol.variants import MACHINES

PAGE = 4096
MODELS = 12  # kinds of states asked of z3
MOST_STATES = 3_000  # of the machine
MOST_STEPS = 3_000  # of the explorer, for one setup


class RaceKind(NamedTuple):
    """What kind of state an action finds: where its chunk is, and the mutex's holder."""

    place: Place
    phase: Phase

    def __str__(self) -> str:
        return f"chunk {self.place.name}, holder of the mutex {self.phase.name}"


@dataclass(frozen=True, slots=True)
class Race:
    """A clause broken by an action, on the machine and on the allocator."""

    clause: str
    kind: RaceKind
    run: tuple[Firing, ...]  # of the machine, the failing action last
    token: Token  # replays it on the allocator
    actions: tuple[str, ...]  # the machine's actions along the schedule
    message: str

    def __str__(self) -> str:
        steps = " ".join(step.action for step in self.run)
        return f"{self.clause}: {self.message} ({self.kind}; {steps}; {self.token})"


class NoRaceError(LookupError):
    """No race was found; the message says where the search ended."""


def kinds_of_failure(machine: Machine, action: str, clause: str) -> list[RaceKind]:
    """Return the kinds of states in which z3 finds that an action breaks a clause.

    A clause about single steps is that of the action. Empty if it is kept, or not decided.
    """
    proof = Proof(machine, SECONDS)
    after = proof.take(action)()
    step = machine.steps.get(action)
    goals = [proof.goal(machine.clauses[clause], after)] if clause in machine.clauses else []
    if step is not None and step[0] == clause:
        goals.append(step[1](proof.state, after))
    if not goals:
        return []
    proof.add(proof.session.facts)
    proof.solver.add(Or(*[Not(goal) for goal in goals]))
    s = proof.state
    holder = s.actors[s.mutex]
    chunk = s.chunks[proof.named.get("c", holder.at)]
    kinds: list[RaceKind] = []
    while len(kinds) < MODELS and proof.solver.check() == z3.sat:
        model = proof.solver.model()
        place = model.eval(chunk.place, model_completion=True)
        phase = model.eval(holder.phase, model_completion=True)
        kinds.append(RaceKind(Place(place.as_long()), Phase(phase.as_long())))
        proof.solver.add(Not(z3.And(chunk.place == place, holder.phase == phase)))
    return kinds


def kind_of(machine: Machine, s: State, step: Firing) -> RaceKind:
    """Return the kind of a state of the machine, as a step finds it."""
    holder = s.actors[s.mutex]
    names = [name for name, _ in parameters(machine.actions[step.action])]
    c = step.given[names.index("c")] if "c" in names else holder.at
    return RaceKind(Place(s.chunks[c].place), Phase(holder.phase))


def runs_to(
    machine: Machine, action: str, clause: str, kinds: list[RaceKind]
) -> Iterator[tuple[RaceKind, tuple[Firing, ...]]]:
    """Yield shortest runs of the machine in which an action breaks a clause.

    One run for each of the kinds of states that is reached, shortest first.
    """
    left = set(kinds)
    for instance in INSTANCES.values():
        start = instance.start()
        runs: dict[State, tuple[Firing, ...]] = {start: ()}
        layer = [start]
        while layer and left and len(runs) < MOST_STATES:
            next_layer: list[State] = []
            for s in layer:
                for name, given, after in machine.successors(s, instance.domain):
                    step = Firing(name, given)
                    kind = kind_of(machine, s, step) if name == action else None
                    if kind in left and _breaks(machine, instance.domain, clause, name, s, after):
                        left.discard(kind)
                        yield kind, (*runs[s], step)
                        continue
                    if after not in runs:
                        runs[after] = (*runs[s], step)
                        next_layer.append(after)
            layer = next_layer


def _breaks(machine: Machine, domain: Any, clause: str, name: str, s: State, after: State) -> bool:
    alone = replace(machine, clauses={k: v for k, v in machine.clauses.items() if k == clause})
    if next(alone.broken(after, domain), None) is not None:
        return next(alone.broken(s, domain), None) is None
    return machine.step_breach(name, s, after) == clause


def setups() -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Yield operations that fill chunks with areas of a page and free some, and handles still held.

    The first chunk has 7 pages, others 8. One or two chunks have empty pages, from their first on.
    """
    for chunks, freed, both in product((1, 2, 3), (4, 3, 2, 1), (False, True)):
        bases = [1, *(8 * n for n in range(1, chunks))]
        emptied = bases[-2:] if both else bases[-1:]
        if both and chunks < 3:
            continue
        gone = [base + page for base in emptied for page in range(freed)]
        held = tuple(base + freed + page for base in emptied for page in range(2))
        areas = range(1, 8 * chunks)
        yield (*(f"a {area} {PAGE} 4 -" for area in areas), *(f"f {area}" for area in gone)), held


def operations_of(run: tuple[Firing, ...], held: tuple[int, ...]) -> Iterator[tuple[str, ...]]:
    """Yield what callers do at the same time in a run: as many frees and atomic allocations.

    A run that begins with empty pages has taken areas first; those are part of the setup.
    """
    names = [step.action for step in run]
    begun = names.index("release_begin") if "release_begin" in names else 0
    frees = sum(name.startswith("free") for name in names[begun:])
    areas = sum(name.startswith("area") for name in names[begun:])
    for handles in product(held, repeat=frees):
        if len(set(handles)) < frees:
            continue
        for pages in (1, 2):
            for first in held if not frees else (0,):
                asks = (f"f {first}",) if first else ()
                takes = tuple(f"a {900 + n} {pages * PAGE} 4 A" for n in range(areas))
                yield (*asks, *(f"f {handle}" for handle in handles), *takes)


@cache
def race(variant: str, action: str, clause: str) -> Race:
    """Return a race in which a variant breaks a clause by an action of its machine.

    Raises NoRaceError.
    """
    machine = MACHINES[variant]
    kinds = kinds_of_failure(machine, action, clause)
    if not kinds:
        raise NoRaceError(f"{variant}, {action}: z3 has no case in which it breaks {clause}")
    tried = ""
    for kind, run in runs_to(machine, action, clause, kinds):
        found = race_on_allocator(variant, clause, kind, run)
        if found is not None:
            return found
        tried = tried or " ".join(step.action for step in run)
    if tried:
        raise NoRaceError(
            f"{variant}, {action}: {clause} is broken on the machine alone, by {tried}"
        )
    raise NoRaceError(
        f"{variant}, {action}: {clause} is broken only from states that the machine does not reach "
        f"in its small instances: {'; '.join(map(str, kinds))}"
    )


def race_on_allocator(
    variant: str, clause: str, kind: RaceKind, run: tuple[Firing, ...]
) -> Race | None:
    """Return a race like a run of the machine, None if none of the setups has one."""
    for setup, held in setups():
        tried: set[tuple[str, ...]] = set()
        for actors in operations_of(run, held):
            if actors in tried:
                continue
            tried.add(actors)
            scenario = Scenario("a race", clause, setup, actors, KERNEL_32K, 1)
            start = scenario.start(variant)
            found = search(start, max_steps=MOST_STEPS, stop=lambda found: clause in found.findings)
            finding = found.findings.get(clause)
            if finding is None:
                continue
            last, whole, seen = follow(World(start), variant, finding.schedule)
            if run[-1].action in last and seen == kind:
                token = Token(variant, clause, KERNEL_32K, setup, actors, 1, finding.schedule)
                return Race(clause, kind, run, token, tuple(whole), finding.message)
    return None


def follow(
    world: World, variant: str, schedule: tuple[int, ...]
) -> tuple[list[str], list[str], RaceKind | None]:
    """Return the actions of a schedule's last stretch, those of all, and the kind it found."""
    checker = RefinementChecker(MACHINES[variant], world.allocator, world.history)
    last: list[str] = []
    whole: list[str] = []
    kind: RaceKind | None = None
    for actor in scheduled(world, ScheduleReplay(schedule)):
        runners = world.runners
        freed = None
        if (
            actor < len(runners)
            and runners[actor].gap is None
            and runners[actor].operation[0] == "f"
        ):
            freed = world.handles.get(runners[actor].operation[1])
        checker.before(actor)
        s = checker.state
        runner = world.step(actor)
        actions = checker.after(actor, runner.gap)
        last = actions or last
        whole += actions
        holder = s.actors[s.mutex]
        c = freed[0].id if freed is not None else holder.at
        if actions:
            kind = RaceKind(Place(s.chunks[c].place), Phase(holder.phase))
    return last, whole, kind
