"""The random engine: Hypothesis draws cases of an obligation, the same ones every time."""

from __future__ import annotations

import time

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from percpu_proofs.choices import Drawn, VacuousError
from percpu_proofs.prove.claim import Result
from percpu_proofs.prove.obligation import Obligation, Size
from percpu_reference.variants import Allocator, variant_class


class _WrongError(Exception):
    """A case that refutes the obligation."""


def sample_cases(
    obligation: Obligation, size: Size, examples: int, *, cls: type[Allocator] | None = None
) -> Result:
    """Ask an obligation in so many random cases. It is refuted, or nothing is known.

    paths counts the cases that say something.
    """
    asked = cls or variant_class(obligation.variant)
    began = time.process_time()
    said = 0

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def sampled(data: st.DataObject) -> None:
        nonlocal said

        def draw(count: int) -> int:
            return data.draw(st.integers(0, count - 1))

        try:
            wrong = obligation.judge(asked, Drawn(draw), size)
        except VacuousError:
            return
        said += 1
        if wrong is not None:
            raise _WrongError(wrong)

    try:
        sampled()
    except _WrongError as error:
        return Result("refuted", time.process_time() - began, said, str(error))
    return Result("not confirmed", time.process_time() - began, said, "a sample of the cases")
