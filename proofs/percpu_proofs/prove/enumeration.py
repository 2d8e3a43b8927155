"""The plain engine: every case of an obligation in turn, at whatever size there is time for."""

from __future__ import annotations

import time
from contextlib import suppress

from percpu_proofs.prove.choices import Fixed, VacuousError, following
from percpu_proofs.prove.claim import Result
from percpu_proofs.prove.obligation import Obligation, Size
from percpu_reference.variants import Allocator, variant_class


def enumerate_cases(
    obligation: Obligation,
    size: Size,
    timeout: float,
    *,
    cls: type[Allocator] | None = None,
    twin: bool = False,
) -> Result:
    """Ask an obligation in every case; stop at the first that refutes it, or when time is up.

    paths counts the cases that say something. The twin is refuted by the first of these. cls, a
    bugged class, stands in place of the variant's own.
    """
    asked = cls or variant_class(obligation.variant)
    began = time.process_time()
    numbers: list[int] | None = []
    said = 0
    while numbers is not None:
        seconds = time.process_time() - began
        if seconds > timeout:
            message = f"not every case was tried within {timeout:.0f} s: {said} were"
            return Result("not confirmed", seconds, said, message)
        case = Fixed(numbers)
        try:
            wrong = obligation.judge(asked, case, size)
        except VacuousError:
            pass
        else:
            said += 1
            if twin and wrong is None:
                wrong = "a case that says something, and nothing is wrong in it"
            if wrong is not None:
                taken = [value for value, _ in case.taken]
                message = f"{wrong} (inputs {taken})"
                return Result("refuted", time.process_time() - began, said, message)
        numbers = following(case.taken)
    return Result("confirmed", time.process_time() - began, said)


_MOST_BITS: dict[str, int] = {}


def most_bits(obligation: Obligation) -> int:
    """Return how many bools the cases of the small size take at most."""
    if obligation.id not in _MOST_BITS:
        most = 0
        numbers: list[int] | None = []
        while numbers is not None:
            case = Fixed(numbers)
            with suppress(VacuousError):
                obligation.judge(variant_class(obligation.variant), case, obligation.small)
            most = max(most, sum((count - 1).bit_length() for _, count in case.taken))
            numbers = following(case.taken)
        _MOST_BITS[obligation.id] = most
    return _MOST_BITS[obligation.id]
