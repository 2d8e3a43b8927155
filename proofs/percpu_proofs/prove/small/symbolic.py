"""The symbolic engine: CrossHair runs an annotated function on symbols, over every path.

It asks icontract's own conditions, found on a checked class, of what `subjects` makes for the
function. What the function calls runs without contracts, but for what a callee requires: where
CrossHair enforces a callee's contract itself, it leaves aside a path on which that is broken.
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Any
from unittest.mock import patch

import crosshair.core_and_libs  # noqa: F401  (registers what CrossHair knows of the library)
from crosshair import statespace
from crosshair.condition_parser import Conditions, condition_parser
from crosshair.core import ConditionCheckable, proxy_for_type, register_type
from crosshair.enforce import EnforcedConditions
from crosshair.fnutil import FunctionInfo
from crosshair.options import DEFAULT_OPTIONS, AnalysisKind
from crosshair.statespace import AnalysisMessage, MessageType, context_statespace
from crosshair.tracers import NoTracing, ResumedTracing
from crosshair.util import IgnoreAttempt

from percpu_contracts.contract import marks_of
from percpu_contracts.evaluate import Contract, without_contract
from percpu_contracts.functions.operations import counts_pages
from percpu_contracts.lock_guard import gap_misuse
from percpu_proofs.prove.claim import ProofAttempt, Result, State
from percpu_proofs.prove.small.case import BrokenError, TimeUpError, ask, time_limit, walk
from percpu_proofs.prove.small.state_clauses import judge_state
from percpu_proofs.prove.small.subjects import ENTRIES, CallSubject
from percpu_proofs.run.choices import ChoiceTape, Symbols, VacuousError, assume
from percpu_reference.gaps import Gap
from percpu_reference.variants import Allocator

MOST_PATHS = 20_000
"""Paths of one condition, after which it is not confirmed."""
SOLVER_STEPS = 50_000_000
"""z3's own count of its work (rlimit) for one question, after which it is not confirmed."""
GUARD = 1800.0
"""CPU seconds of one condition: a guard, far from what any takes, that says so when it bites."""

_of_statespace: Any = statespace
_of_statespace.CROSSHAIR_SMT_RLIMIT = SOLVER_STEPS  # which it does not export

_ICONTRACT = (AnalysisKind.icontract,)

LIMITS: dict[str, Any] = {
    "max_iterations": MOST_PATHS,
    "per_condition_timeout": GUARD,
    "per_path_timeout": GUARD,
    "report_all": True,
}
"""What stands in place of CrossHair's own defaults, which count seconds, or stop after a few paths
that find nothing."""


def sample(cls: type[Allocator], name: str, tries: int) -> str | None:
    """Return what the evaluator of contracts finds wrong in cases drawn of the same arguments."""
    entry = ENTRIES[name]
    function = _with_state_judge(without_contract(getattr(cls, name)), entry.settled)
    contract = Contract(function, [mark for mark in marks_of(cls, name) if mark.level == "full"])
    for seed in range(tries):
        with suppress(VacuousError):
            allocator, given = entry.given(cls, ChoiceTape(draw=Random(seed).randrange))
            monitor = allocator.monitor
            old = contract.enter((allocator, *given))
            assume(not monitor.violations)
            try:
                result = function(allocator, *given)
            except Exception as error:
                return str(error)
            contract.leave((allocator, *given), old, result)
            undeclared = [v for v in monitor.violations.values() if not v.expected]
            if undeclared or monitor.last[0] not in {"", *monitor.expected}:
                return ": ".join(monitor.last)
    return None


def check(cls: type, name: str, guard: float = GUARD, *, twin: bool = False) -> Result:
    """Judge all that a function of a checked class promises; the twin, that no case says anything.

    Confirmed only by CrossHair's own message. A case on which the function raises refutes it.
    """
    conditions = conditions_of(cls)[name]
    if twin:
        never = replace(conditions.post[0], evaluate=lambda bindings: False)
        conditions = replace(conditions, post=[never])
    options = replace(
        DEFAULT_OPTIONS, analysis_kind=_ICONTRACT, **{**LIMITS, "per_condition_timeout": guard}
    )
    promises = Promises(FunctionInfo.from_class(cls, name), options, subject(cls, name, conditions))
    attempt = ProofAttempt()
    try:
        # CrossHair looks at the time where it asks the solver, which an endless loop may never do
        with time_limit(guard) as limit:
            (message,) = promises.analyze()
            limit.check()  # within a path CrossHair takes the error for one of the function
    except TimeUpError:
        state, text = MessageType.CANNOT_CONFIRM, f"a path took more than {guard:g} CPU seconds"
    else:
        state, text = message.state, message.message
    attempt.paths = promises.stats["num_paths"]
    text = "" if state == MessageType.CONFIRMED else text
    return attempt.result(_STATES.get(state, "not confirmed"), text)


_STATES: dict[MessageType, State] = {
    MessageType.CONFIRMED: "confirmed",
    MessageType.POST_FAIL: "refuted",
    MessageType.POST_ERR: "refuted",
    MessageType.EXEC_ERR: "refuted",
}


def conditions_of(cls: type) -> Mapping[str, Conditions]:
    """Return the contracts of a class as CrossHair reads them, by function."""
    with condition_parser(_ICONTRACT) as parser:
        return parser.get_class_conditions(cls).methods


class _World:
    """What the arguments of one path are taken from; it lives as long as the path."""

    def __init__(self, solver: object) -> None:
        self.values: tuple[Any, ...] = ()

    def fill(self, cls: type, entry: CallSubject) -> None:
        """Make an allocator and arguments, if that has not been done on this path."""
        if not self.values:
            space = context_statespace()

            def fork() -> bool:
                with NoTracing():
                    return bool(space.smt_fork())

            def symbol() -> Any:
                with NoTracing():
                    return proxy_for_type(int, f"n{space.uniq()}")

            try:
                with ResumedTracing():
                    allocator, given = entry.given(cls, Symbols(fork, symbol, NoTracing))
            except VacuousError:
                raise IgnoreAttempt("no case") from None
            self.values = (allocator, *given)


def _argument(name: str, place: int, cls: type, entry: CallSubject) -> type:
    """Return a type that stands for one argument: CrossHair makes a value of it on each path."""

    def create(factory: object) -> Any:
        world = context_statespace().extra(_World)
        world.fill(cls, entry)
        return world.values[place]

    made = type(name, (), {})
    register_type(made, create)
    return made


def subject(cls: type, name: str, conditions: Conditions) -> Conditions:
    """Return a function's contract with arguments that CrossHair can make."""
    entry = ENTRIES[name]
    parameters = [
        parameter.replace(annotation=_argument(parameter.name, place, cls, entry))
        for place, parameter in enumerate(conditions.sig.parameters.values())
    ]
    return replace(
        conditions,
        fn=_with_state_judge(without_contract(conditions.fn), entry.settled),
        sig=conditions.sig.replace(parameters=parameters),
        counterexample_description_maker=lambda given, result, _: (
            f"{name}({_description(given.arguments)})", str(result)
        ),
    )


def _description(given: Mapping[str, Any]) -> str:
    """Return a call's arguments, and the state of the allocator, in a line."""
    allocator, *others = given.values()
    lists = {chunk: head.slot for head in allocator.chunk_lists for chunk in head}
    state = [f"float {allocator.nr_empty_pop_pages}", f"HIGH {allocator.geometry.empty_high}"]
    for chunk in allocator.chunks():
        pages = "".join(
            "-e#"[bool(up) + bool(up and block.left_free < block.nr_bits)]
            for up, block in zip(chunk.populated, chunk.md_blocks, strict=False)
        )
        place = f"on list {lists[chunk]}" if chunk in lists else "on no list"
        state.append(f"{chunk!r} {pages} {place}, {chunk.nr_empty_pop_pages} counted empty")
    return ", ".join([*map(repr, others), "; ".join(state)])


def _with_state_judge(function: Callable[..., Any], settled: bool) -> Callable[..., Any]:
    """Return a function run to its end, the clauses about states asked in every gap.

    If settled they are asked at its return too.
    """

    @functools.wraps(function)
    def judged(self: Any, *given: Any) -> Any:
        def in_gap(gap: Gap) -> None:
            if self.lock:
                ask(*gap_misuse(gap.last))
            judge_now(self)

        result = function(self, *given)
        if inspect.isgeneratorfunction(function):
            result = walk(result, in_gap)
        if settled:
            judge_now(self)
            ask("POP-4", counts_pages(self))
        return result

    return judged


def judge_now(allocator: Any) -> None:
    """Ask the clauses about states. Raises BrokenError."""
    judge_state(allocator, list(allocator.monitor.history.unsettled))


@dataclass
class Promises(ConditionCheckable):
    """Promises of one function, which CrossHair is to judge as one."""

    def __post_init__(self) -> None:
        self.asked = self.conditions.post
        self.wrong = ""  # what was found
        self.failed = False  # whether a promise does not hold, not the state or what a callee needs
        self.stats = Counter[str]()
        self.conditions = replace(
            self.conditions, post=[replace(self.asked[0], evaluate=self._hold)]
        )
        self.options = replace(self.options, stats=self.stats)

    def _hold(self, bindings: Mapping[str, Any]) -> bool:
        clause, owed = bindings["self"].monitor.last
        wrong = f"{clause}: {owed}" if clause else ""
        for condition in self.asked:
            if wrong:
                break
            assert condition.evaluate is not None
            found = condition.evaluate(bindings)
            wrong = "" if found else str(found)
            self.failed = bool(wrong)
        self.wrong = wrong
        return not wrong

    def analyze(self) -> list[AnalysisMessage]:
        """Run the search; say what is wrong, or why the question is open."""
        with _alone():
            (message,) = super().analyze()
        return [replace(message, message=self._text(message))]

    def _text(self, message: AnalysisMessage) -> str:
        if message.state > MessageType.PRE_UNSAT:
            wrong, _, case = message.message.partition(" when calling ")
            raised = wrong.rpartition(" yields ")[2]
            wrong = self.wrong or raised.removeprefix(f"{BrokenError.__name__}: ")
            return f"{wrong} when calling {case}"
        if message.state == MessageType.CANNOT_CONFIRM:
            return f"{message.message} {self._why_open()}"
        return message.message

    def _why_open(self) -> str:
        paths, limit = self.stats["num_paths"], self.options.per_condition_timeout
        if self.stats["exhaustion"]:
            return f"The solver left some of {paths} paths open, or none says anything."
        if paths < self.options.max_iterations:
            return f"The guard of {limit:g} CPU seconds ended the search after {paths} paths."
        return f"The search ended after {paths} paths, as many as it may try."


def _alone() -> AbstractContextManager[Any]:
    """Let CrossHair enforce no contract: it asks the one that it judges, and looks for no other."""
    return patch.object(EnforcedConditions, "enabled_enforcement", lambda enforced: nullcontext())
