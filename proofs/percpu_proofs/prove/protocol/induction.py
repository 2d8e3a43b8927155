"""Proving, action by action, that a machine's invariant is kept.

Every query is free of quantifiers: the invariant is assumed at the terms that an action and a goal
speak of, which is sound, and a goal is denied of an arbitrary chunk, page and actor. What is not
proved within the time limit is unknown, never proved.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

from percpu_proofs.prove.protocol.worlds import ActorSort, Before, ChunkSort, PageSet, Session, z3
from percpu_spec.protocol.design import DESIGN
from percpu_spec.protocol.machine import ClauseFunction, Machine, Sort, parameters
from percpu_spec.protocol.operators import And, Implies, Not, Truth, within
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import State, start_state

Outcome = Literal["proved", "failed", "unknown"]

SECONDS = 600.0  # for one query: a guard, the limit is of steps
LIMITS: dict[str, int] = {"rlimit": 100_000_000}  # z3's own count of its steps for one query


@dataclass(slots=True)
class InductionQuery:
    """One query: that an action keeps a clause. model: a case in which it does not."""

    action: str
    clause: str
    state: Outcome
    seconds: float
    model: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.action}, {self.clause}: {self.state} ({self.seconds:.2f} s)"


def new_solver(seconds: float) -> Any:
    """Return a solver that gives up on a query after so many steps; the seconds are a guard."""
    solver = z3.SolverFor("QF_UFLIA")
    solver.set(timeout=int(seconds * 1000), **LIMITS)
    return solver


class Proof:
    """An arbitrary state in which the invariant holds, and questions about it."""

    def __init__(self, machine: Machine, seconds: float) -> None:
        self.machine = machine
        self.session = Session()
        self.before = Before(self.session)
        self.chunk = z3.Const("some_chunk", ChunkSort)
        self.actor = z3.Const("some_actor", ActorSort)
        self.page = z3.Int("some_page")
        self.solver = new_solver(seconds)
        self.named: dict[str, Any] = {}

    @property
    def state(self) -> State:
        """The state before the action."""
        return self.before.state

    def parameters(self, function: Callable[..., Any]) -> tuple[Any, ...]:
        """Return arbitrary values for an action's parameters."""
        values: list[Any] = []
        for name, sort in parameters(function):
            value: Any
            if sort == "span":
                value = Span(z3.Int(f"{name}.lo"), z3.Int(f"{name}.hi"))
                self.solver.add(And(value.lo >= 0, value.lo < value.hi))
                self.named |= {f"{name}.lo": value.lo, f"{name}.hi": value.hi}
            elif sort == "flag":
                value = self.named[name] = z3.Bool(name)
            else:
                actor, world = sort == "actor", self.state.world
                value = self.named[name] = z3.Const(name, ActorSort if actor else ChunkSort)
                self.solver.add(value != (world.nobody if actor else world.nowhere))
            values.append(value)
        return tuple(values)

    def assume(self, given: Iterable[Any] = ()) -> None:
        """Assume the invariant, and what is true of finite sets, at every term in play."""
        s, session = self.state, self.session
        actors = [self.actor, s.mutex]
        chunks = [self.chunk, s.world.first, s.world.reserved]
        pages = [self.page, *session.witnesses] if session.sizes_differences else [self.page]
        for value in given:
            if isinstance(value, Span):
                pages += [value.lo, value.hi, value.hi - 1]
            elif z3.is_expr(value) and value.sort() == ActorSort:
                actors.append(value)
            elif z3.is_expr(value) and value.sort() == ChunkSort:
                chunks.append(value)
        holders, named = actors[1:], [self.chunk, *chunks[3:]]
        chunks += [s.actors[a].at for a in actors]
        for a in holders:
            here = s.actors[a]
            pages += [here.start, here.end, here.hi - 1]
        actors += [s.world.nobody, *[s.chunks[c].owner for c in named]]
        pages += [self.before.witness(c) for c in chunks]
        session.actors, session.chunks, session.pages = actors, chunks, pages
        self.add(self.before.world.assumptions(chunks))
        self.add(self.before.counts())
        self.add(session.facts)
        session.facts.clear()
        for clause in self.machine.clauses.values():
            self.add(clause(s, *values) for values in self._instances(clause))

    def _instances(self, clause: ClauseFunction) -> Iterable[tuple[Any, ...]]:
        terms: dict[Sort, list[Any]] = {
            "chunk": self.session.chunks,
            "actor": self.session.actors,
            "page": self.session.pages,
        }
        return itertools.product(*(terms[sort] for _, sort in parameters(clause)))

    def add(self, truths: Iterable[Truth]) -> None:
        """Assume truths."""
        for truth in truths:
            if truth is not True:
                self.solver.add(truth)

    def take(self, name: str) -> Callable[[], State]:
        """Assume the invariant, and that an action can be taken; return what takes it."""
        action = self.machine.actions[name]
        given = self.parameters(action)
        self.assume(given)
        when, then = action(self.state, *given)
        self.add(when.values())
        return then

    def goal(self, clause: ClauseFunction, s: State) -> Truth:
        """Return a clause about the arbitrary chunk, page and actor in a state."""
        terms = {"chunk": self.chunk, "actor": self.actor, "page": self.page}
        return clause(s, *[terms[sort] for _, sort in parameters(clause)])

    def ask_all(
        self, action: str, clauses: Mapping[str, ClauseFunction], s: State
    ) -> list[InductionQuery]:
        """Return of each clause whether a state keeps it."""
        return [self.ask(action, name, self.goal(clause, s)) for name, clause in clauses.items()]

    def ask(self, action: str, clause: str, goal: Truth) -> InductionQuery:
        """Return whether a goal follows from what is assumed."""
        began = perf_counter()
        if goal is True:
            return InductionQuery(action, clause, "proved", perf_counter() - began)
        self.solver.push()
        self.add(self.session.facts)
        self.solver.add(Not(goal))
        answer = self.solver.check()
        outcome: Outcome = "unknown"
        model: dict[str, str] = {}
        if answer == z3.unsat:
            outcome = "proved"
        elif answer == z3.sat:
            outcome = "failed"
            model = self._model()
        self.solver.pop()
        return InductionQuery(action, clause, outcome, perf_counter() - began, model)

    def counts(self, action: str) -> list[InductionQuery]:
        """Return whether the sizes that an action's effect states are right.

        They rest on ranges being new or there, of any page; sizes made on the way are not used.
        """
        goals: dict[str, list[Truth]] = {}
        for what, demand in self.session.demands:
            goals.setdefault(what, []).append(demand(self.page))
        facts, self.session.facts = self.session.facts, []
        queries = [self.ask(action, f"COUNT: {what}", And(*parts)) for what, parts in goals.items()]
        self.session.facts = facts
        return queries

    def _model(self) -> dict[str, str]:
        """Return the case that the solver found: parameters, and what they name."""
        model = self.solver.model()
        s = self.state
        terms: dict[str, Any] = dict(self.named)
        terms |= {"some_chunk": self.chunk, "some_page": self.page, "mutex": s.mutex}
        terms["float"], terms["HIGH"] = s.floating, s.world.high
        for table, name, key in (
            (s.chunks, "c", self.named.get("c")), (s.chunks, "some_chunk", self.chunk),
            (s.actors, "a", self.named.get("a")), (s.actors, "mutex", s.mutex),
        ):  # fmt: skip
            for part, value in table[key]._asdict().items() if key is not None else ():
                if not isinstance(value, PageSet):
                    terms[f"{name}.{part}"] = value
        return {name: str(model.eval(term, model_completion=True)) for name, term in terms.items()}


def prove_action(machine: Machine, name: str, seconds: float = SECONDS) -> list[InductionQuery]:
    """Return whether an action keeps each clause, and the sums and counts it relies on."""
    proof = Proof(machine, seconds)
    after = proof.take(name)()
    queries = [*proof.counts(name), *proof.ask_all(name, machine.clauses, after)]
    if name in machine.steps:
        clause, keeps = machine.steps[name]
        queries.append(proof.ask(name, f"{clause} (step)", keeps(proof.state, after)))
    return queries


def is_enabled_somewhere(machine: Machine, name: str, seconds: float = SECONDS) -> bool:
    """Return whether an action's guard can hold with the invariant: else all is proved of it."""
    proof = Proof(machine, seconds)
    proof.take(name)
    return bool(proof.solver.check() == z3.sat)


def prove_initial(machine: Machine, seconds: float = SECONDS) -> list[InductionQuery]:
    """Return whether the state at boot keeps each clause."""
    proof = Proof(machine, seconds)
    session, world = proof.session, proof.before.world
    proof.assume()
    # start afresh: nothing is assumed of this state but what sets and worlds are
    proof.solver = new_solver(seconds)
    proof.add(world.assumptions(session.chunks))
    proof.add(proof.before.counts())
    proof.add(session.facts)
    session.facts.clear()
    maps = []
    for c in (world.first, world.reserved):
        used = proof.state.chunks[c].used
        maps.append(used)
        proof.add(Implies(used.has(p), within(0, p, world.pages(c))) for p in session.pages)
    start = start_state(world, *maps)
    return [*proof.counts("boot"), *proof.ask_all("boot", machine.clauses, start)]


def prove_implications(machine: Machine, seconds: float = SECONDS) -> list[InductionQuery]:
    """Return whether the invariant implies each clause of the design that a machine is to keep."""
    proof = Proof(machine, seconds)
    proof.session.sizes_differences = True
    proof.assume()
    clauses = {name: clause for name, clause in DESIGN.items() if name in machine.clauses}
    return proof.ask_all("invariant", clauses, proof.state)
