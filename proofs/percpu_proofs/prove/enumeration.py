"""The plain engine: every case of an obligation in turn, at whatever size there is time for."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from percpu_proofs.choices import Replay, VacuousError, every_case
from percpu_proofs.prove.claim import Result, State
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
    bugged class, stands in place of the variant's own. A case in which the function raises refutes
    it, as CrossHair has it; one that does not end leaves it open.
    """
    asked = cls or variant_class(obligation.variant)
    began = time.process_time()
    said = 0
    case = Replay()

    def result(state: State, message: str = "") -> Result:
        return Result(state, time.process_time() - began, said, message)

    try:
        with time_limit(timeout):
            for case in every_case():
                if time.process_time() - began > timeout:
                    raise TimeUpError
                try:
                    wrong = obligation.judge(asked, case, size)
                except VacuousError:
                    pass
                except Exception as error:
                    return result("refuted", f"raises {error!r} (inputs {case.numbers})")
                else:
                    said += 1
                    if twin and wrong is None:
                        wrong = "a case that says something, and nothing is wrong in it"
                    if wrong is not None:
                        return result("refuted", f"{wrong} (inputs {case.numbers})")
    except TimeUpError:
        tried = f"{said} were; then {case.numbers}"
        message = f"not every case was tried within {timeout:.0f} s: {tried}"
        return result("not confirmed", message)
    return result("confirmed")


class TimeUpError(BaseException):
    """The time is over; no code under proof may take it for an error of its own."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeUpError when so much CPU time has passed, even in a loop without end.

    Only a main thread can be stopped there: the processes of `spread` have one, a worker of dask
    runs its tasks beside it and looks at the time between cases.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(number: int, frame: object) -> None:
        raise TimeUpError

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


_MOST_BITS: dict[str, int] = {}


def most_bits(obligation: Obligation) -> int:
    """Return how many bools the cases of the small size take at most."""
    if obligation.id not in _MOST_BITS:
        most = 0
        for case in every_case():
            with suppress(VacuousError):
                obligation.judge(variant_class(obligation.variant), case, obligation.small)
            most = max(most, sum((count - 1).bit_length() for _, count in case.taken))
        _MOST_BITS[obligation.id] = most
    return _MOST_BITS[obligation.id]
