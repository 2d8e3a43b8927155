"""What is claimed of functions by symbols: that they keep their contracts."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from percpu_contracts.attach import checked
from percpu_contracts.contract import marks_of
from percpu_proofs.bugs import BUGS
from percpu_proofs.prove.claim import Claim, Result
from percpu_proofs.prove.dependencies import sources_of
from percpu_proofs.prove.small.subjects import ENTRIES
from percpu_proofs.run.inputs import InputError
from percpu_reference.variants import Allocator, variant_class

SAMPLES = 30
"""Cases drawn of what CrossHair is given, to see that the evaluator of contracts agrees."""

VARIANTS = ("linux_6_12", "reference")
"""The variants whose contracts are judged by symbols."""

_DECLARED = {("linux_6_12", "enter_populated")}
"""Functions whose one promise the variant declares to break."""


def _symbolic() -> Any:
    """Return the symbolic engine, loaded when it is first asked. Raises InputError without it."""
    try:
        return import_module("percpu_proofs.prove.small.symbolic")
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] != "crosshair":
            raise
        raise InputError("prove", None, "CrossHair: pip install crosshair-tool") from None


@dataclass(frozen=True)
class SymbolicClaim(Claim):
    """The contract of one function, judged by CrossHair as `crosshair check` judges it.

    It says that the function keeps its contract, and that its callees get what they require.
    """

    function: str
    engine = "crosshair"

    @property
    def sources(self) -> tuple[Any, ...]:
        """What the result depends on."""
        return (inspect.getmodule(type(self)), *sources_of(self, _symbolic()))

    def check(self, timeout: float) -> Result:
        """Judge the contract; where the evaluator finds a drawn case wrong nothing is confirmed."""
        cls = variant_class(self.variant)
        result = self._judge(cls, timeout)
        wrong = _symbolic().sample(checked(cls, "full"), self.function, SAMPLES)
        if result.state == "confirmed" and wrong is not None:
            message = f"engines disagree: symbols confirmed, a case refuted: {wrong}"
            return replace(result, state="not confirmed", message=message)
        return result

    def check_twin(self, timeout: float) -> Result:
        """Judge it as if every case were wrong."""
        return self._judge(variant_class(self.variant), timeout, twin=True)

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Judge it with one bug seeded."""
        return self._judge(BUGS[bug].planted(self.variant), timeout)

    def _judge(self, cls: type[Allocator], timeout: float, *, twin: bool = False) -> Result:
        engine = _symbolic()
        result: Result = engine.check(checked(cls, "full"), self.function, timeout, twin=twin)
        return result


def symbolic_claim(function: str, variant: str) -> SymbolicClaim:
    """Return the claim about a function of a variant, where it is first defined."""
    cls = variant_class(variant)
    clauses = dict.fromkeys(
        mark.clause
        for kind in ("ensure", "require")
        for mark in marks_of(cls, function)
        if mark.kind == kind and mark.clause and mark.level == "full"
    )
    owner = [base for base in cls.__mro__ if function in base.__dict__][-1]
    return SymbolicClaim(
        f"{function.replace('_', '-')}-by-symbols"
        + ("" if variant == "linux_6_12" else f"-{variant}"),
        ", ".join(clauses),
        (f"{owner.__module__.rsplit('.', 1)[-1]}.{owner.__name__}.{function}",),
        ENTRIES[function].words,
        function,
        variant=variant,
        expected="refuted" if (variant, function) in _DECLARED else "confirmed",
    )
