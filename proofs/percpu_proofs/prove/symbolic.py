"""The symbolic engine: CrossHair runs an obligation on symbols and covers every path, or says so.

An obligation becomes a function of a fixed tuple of bools (and one of ints), with an icontract
postcondition. `crosshair check percpu_proofs.prove.targets` finds the same functions.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import crosshair.core_and_libs  # noqa: F401
import icontract
from crosshair.condition_parser import ConditionParser, condition_parser
from crosshair.core import analyze_function, run_checkables
from crosshair.fnutil import FunctionInfo
from crosshair.options import AnalysisKind, AnalysisOptionSet
from crosshair.statespace import MessageType
from crosshair.tracers import NoTracing

from percpu_proofs.choices import Symbols, VacuousError
from percpu_proofs.prove.claim import Result, State
from percpu_proofs.prove.enumeration import TimeUpError, most_bits, time_limit
from percpu_proofs.prove.obligation import Obligation
from percpu_reference.variants import Allocator, variant_class

Harness = Callable[..., Any]

_PATH = 30.0  # seconds for one path
_MORE_BITS = 6  # bools that a bugged function may ask for beyond those of the right one


def nothing_is_wrong(result: str | None) -> bool:
    """Nothing is wrong in this case."""
    return result is None


def says_nothing(result: str | None) -> bool:
    """This case is vacuous."""
    return result == VACUOUS


VACUOUS = "vacuous"


def target(obligation: Obligation) -> Harness:
    """Return the obligation as a function with a contract for CrossHair."""
    cls = variant_class(obligation.variant)
    return _harness(obligation, cls, obligation.symbols, twin=False)


def check(
    obligation: Obligation,
    timeout: float,
    *,
    cls: type[Allocator] | None = None,
    twin: bool = False,
) -> Result:
    """Check an obligation, its twin, or it with another class, a bugged one, in place of its own.

    Confirmed only if every condition is, by CrossHair's own message, and there is one. Inputs on
    which the function raises refute it. A timeout is not confirmed.
    """
    stats = Counter[str]()
    options = AnalysisOptionSet(
        analysis_kind=(AnalysisKind.icontract,),
        per_condition_timeout=timeout,
        per_path_timeout=_PATH,
        max_uninteresting_iterations=None,
        report_all=True,
        stats=stats,
    )
    bits, wholes = obligation.symbols
    if not wholes:  # each symbol has its price
        bits = most_bits(obligation) + _MORE_BITS
    asked = cls or variant_class(obligation.variant)
    harness = _harness(obligation, asked, (bits, wholes), twin=twin)
    began = time.process_time()
    messages = []
    late = f"not every path was covered within {timeout:.0f} s"
    try:
        # CrossHair looks at the time where it asks the solver, which an endless loop may never do
        with time_limit(timeout + _PATH), condition_parser((AnalysisKind.icontract,)) as parser:
            _remember_contracts(parser)
            for checkable in analyze_function(harness, options):
                messages += run_checkables([checkable])
    except TimeUpError:
        return Result("not confirmed", time.process_time() - began, stats["num_paths"], late)
    seconds = time.process_time() - began
    states = {message.state for message in messages}
    text = " ".join(f"{m.message.splitlines()[0]}" for m in messages if m.message)
    state: State = "not confirmed"
    if states == {MessageType.CONFIRMED}:
        state = "confirmed"
    elif states & {MessageType.POST_FAIL, MessageType.EXEC_ERR}:
        state = "refuted"
    elif not messages:
        text = "CrossHair found no condition to check"
    elif states == {MessageType.CANNOT_CONFIRM}:
        text = f"{late}: {stats['num_paths']} were"
    return Result(state, seconds, stats["num_paths"], text)


def _remember_contracts(parser: ConditionParser) -> None:
    """Have CrossHair look up the contract of a function once, not at every call of it.

    It remembers those of methods itself; looking for one is half of the cost of a short path.
    """
    functions: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
    built_in: dict[Any, Any] = {}  # built-in functions, and methods of built-in types: they stay
    look_up = parser.get_fn_conditions

    def get_fn_conditions(fn: FunctionInfo) -> Any:
        called: Any = fn.descriptor
        if fn.context is None and isinstance(called, FunctionType):
            known: Any = functions
        elif fn.context is None and (
            isinstance(called, MethodDescriptorType)
            or (isinstance(called, BuiltinFunctionType) and isinstance(called.__self__, ModuleType))
        ):
            known = built_in
        else:
            return look_up(fn)
        if called not in known:
            known[called] = look_up(fn)
        return known[called]

    parser.get_fn_conditions = get_fn_conditions  # type: ignore[method-assign]


def _harness(
    obligation: Obligation, cls: type[Allocator], symbols: tuple[int, int], *, twin: bool
) -> Harness:
    """Return a function of (bools, ints) whose one postcondition is the obligation, or its twin."""
    bits, wholes = symbols

    def harness(bits: Any, wholes: Any) -> str | None:
        given, symbols = iter(bits), iter(wholes)
        choose = Symbols(lambda: bool(next(given)), lambda: next(symbols), NoTracing)
        try:
            wrong = obligation.judge(cls, choose, obligation.small)
        except VacuousError:
            return VACUOUS if twin else None
        return wrong

    harness.__name__ = harness.__qualname__ = obligation.id.replace("-", "_")
    harness.__doc__ = obligation.says
    harness.__annotations__ = {
        "bits": tuple[(bool,) * bits],  # type: ignore[misc]
        "wholes": tuple[(int,) * wholes] if wholes else tuple[()],  # type: ignore[misc]
        "return": str | None,
    }
    condition = says_nothing if twin else nothing_is_wrong
    wrapped: Harness = icontract.ensure(condition)(harness)
    return wrapped
