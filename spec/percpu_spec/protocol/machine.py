"""A machine: named actions, the clauses of its invariant, and what single actions must keep."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from percpu_spec.protocol.operators import Truth
from percpu_spec.protocol.pages import Span
from percpu_spec.protocol.state import State
from percpu_spec.protocol.transitions import Transition

ActionFunction = Callable[..., Transition]
ClauseFunction = Callable[..., Truth]
StepFunction = Callable[[State, State], Truth]
Sort = Literal["actor", "chunk", "page", "span", "flag"]

SORTS: dict[str, Sort] = {
    "a": "actor",
    "c": "chunk",
    "p": "page",
    "pages": "span",
    "hole": "span",
    "left": "flag",
    "right": "flag",
    "to_free": "flag",
}


@functools.cache
def parameters(function: Callable[..., Any]) -> tuple[tuple[str, Sort], ...]:
    """Return the parameters of an action or clause behind the state, with their sorts."""
    names = list(inspect.signature(function).parameters)[1:]
    return tuple((name, SORTS[name]) for name in names)


class Domain(NamedTuple):
    """The values that parameters range over in a run on plain values."""

    actors: tuple[Any, ...]
    chunks: tuple[Any, ...]
    pages: int  # the most that a chunk has

    def values(self, sort: Sort) -> list[Any]:
        """Return all values of a sort; a span is a nonempty range."""
        if sort == "actor":
            return list(self.actors)
        if sort == "chunk":
            return list(self.chunks)
        if sort == "page":
            return list(range(self.pages))
        if sort == "flag":
            return [False, True]
        return [Span(*ends) for ends in itertools.combinations(range(self.pages + 1), 2)]

    def instances(
        self, function: Callable[..., Any], s: State | None = None
    ) -> tuple[tuple[Any, ...], ...]:
        """Return every choice of an action's or a clause's parameters.

        With a state only those whose actor stands where the action says.
        """
        phases = getattr(function, "phases", None)
        if s is None or phases is None:
            return _instances(self, parameters(function))
        able = tuple(a for a in self.actors if s.actors[a].phase in phases)
        return _instances(self._replace(actors=able), parameters(function)) if able else ()


@functools.cache
def _instances(domain: Domain, named: tuple[tuple[str, Sort], ...]) -> tuple[tuple[Any, ...], ...]:
    return tuple(itertools.product(*(domain.values(sort) for _, sort in named)))


class InvariantBreach(NamedTuple):
    """A clause that does not hold, and for which chunk, page or actor."""

    clause: str
    at: dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """Actions by name, the clauses of the invariant by id, and for an action what it must keep."""

    name: str
    actions: Mapping[str, ActionFunction]
    clauses: Mapping[str, ClauseFunction]
    steps: Mapping[str, tuple[str, StepFunction]]

    def changed(
        self,
        name: str,
        actions: Mapping[str, ActionFunction] | None = None,
        without: tuple[str, ...] = (),
        clauses: Mapping[str, ClauseFunction] | None = None,
        steps: Mapping[str, tuple[str, StepFunction]] | None = None,
        unkept: tuple[str, ...] = (),
    ) -> Machine:
        """Return a machine with some actions replaced or added and some left out.

        clauses and steps add to what it must keep; unkept: clauses that it no longer must.
        """
        known = {**self.actions, **(actions or {})}
        kept = {name: clause for name, clause in self.clauses.items() if name not in unkept}
        kept_steps = {name: step for name, step in self.steps.items() if step[0] not in unkept}
        return Machine(
            name,
            {key: action for key, action in known.items() if key not in without},
            {**kept, **(clauses or {})},
            {**kept_steps, **(steps or {})},
        )

    def weakened(self, action: str, condition: str) -> Machine:
        """Return a machine whose action does without one of its conditions."""
        original = self.actions[action]

        @functools.wraps(original)
        def weaker(s: State, *given: Any) -> Transition:
            when, then = original(s, *given)
            others = {name: holds for name, holds in when.items() if name != condition}
            return Transition(others, then)

        return self.changed(f"{self.name}, {action} without «{condition}»", {action: weaker})

    def successors(self, s: State, domain: Domain) -> Iterator[tuple[str, tuple[Any, ...], State]]:
        """Yield every enabled action with its parameters and the state it leads to."""
        for name, action in self.actions.items():
            for given in domain.instances(action, s):
                when, then = action(s, *given)
                if False not in when.values():
                    yield name, given, then()

    def broken(self, s: State, domain: Domain) -> Iterator[InvariantBreach]:
        """Yield the clauses that do not hold in a state."""
        for name, clause in self.clauses.items():
            for given in domain.instances(clause):
                if not clause(s, *given):
                    yield InvariantBreach(
                        name,
                        dict(zip((n for n, _ in parameters(clause)), given, strict=True)),
                    )

    def step_breach(self, action: str, before: State, after: State) -> str | None:
        """Return the clause about single steps that an action breaks, None if none."""
        clause, keeps = self.steps.get(action, ("", None))
        return clause if keeps is not None and not keeps(before, after) else None
