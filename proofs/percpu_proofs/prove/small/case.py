"""Cases of an obligation: their sizes, what is wrong in one, and all of them in a time limit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from percpu_proofs.prove.claim import ProofAttempt, Result
from percpu_proofs.run.choices import Choices, ChoiceTape, VacuousError, every_case
from percpu_reference.gaps import Gap, Steps

_MOST_GAPS = 200  # in one call at the sizes searched; the right ones pass through fewer than 30


class Size(NamedTuple):
    """How large a case is: pages of a chunk, map bits of a page, moves of an adversary."""

    pages: int
    bits: int
    moves: int = 0


class BrokenError(AssertionError):
    """A clause is broken in this case; the message names it and says what is wrong."""


def claim(clause: str, holds: object, otherwise: str) -> None:
    """Claim what a clause asks. Raises BrokenError with what is so otherwise."""
    if not holds:
        raise BrokenError(f"{clause}: {otherwise}")


def ask(clause: str, wrong: str | None) -> None:
    """Take the answer of a clause's predicate, None if it holds. Raises BrokenError."""
    if wrong:
        raise BrokenError(f"{clause}: {wrong}")


def walk(steps: Steps[Any], in_gap: Callable[[Gap], None] = lambda gap: None) -> Any:
    """Run steps to their end, asking in every gap; return their result.

    What waits for a lock that nobody else holds would never end, and no solver would ask the time.
    """
    for _ in range(_MOST_GAPS):
        try:
            gap = next(steps)
        except StopIteration as stop:
            return stop.value
        in_gap(gap)
    raise BrokenError(f"BAL-3: it has not ended after {_MOST_GAPS} gaps")


def enumerate_cases(
    judge: Callable[[Choices, Size], None],
    sizes: Sequence[Size],
    timeout: float,
    *,
    twin: bool = False,
) -> Result:
    """Ask in every case of these sizes, until one is refuted or the time, a guard, is up.

    paths counts the cases that say something. The twin is refuted by the first of these. A case in
    which the function raises refutes what is asked, as CrossHair has it; one that does not end
    leaves it open.
    """
    attempt = ProofAttempt()
    case = ChoiceTape()
    try:
        with time_limit(timeout) as limit:
            for size, case in ((size, case) for size in sizes for case in every_case()):
                if attempt.seconds > timeout:
                    raise TimeUpError
                wrong = ""
                try:
                    judge(case, size)
                except VacuousError:
                    continue
                except BrokenError as broken:
                    wrong = str(broken)
                except Exception as error:
                    limit.check()
                    return attempt.result("refuted", f"raises {error!r} (inputs {case.numbers})")
                limit.check()
                attempt.paths += 1
                if twin and not wrong:
                    wrong = "a case that says something, and nothing is wrong in it"
                if wrong:
                    return attempt.result("refuted", f"{wrong} (inputs {case.numbers})")
    except TimeUpError:
        guard = f"the guard of {timeout:.0f} CPU seconds ended it"
        message = f"{guard} after {attempt.paths} cases, at {case.numbers}"
        return attempt.result("not confirmed", message)
    return attempt.result("confirmed")


class TimeUpError(BaseException):
    """The time is over; no code under proof may take it for an error of its own."""


@dataclass(slots=True)
class TimeLimit:
    """Whether a time limit was passed, whatever became of its TimeUpError in what it ended."""

    over: bool = False

    def check(self) -> None:
        """Raise TimeUpError if it was."""
        if self.over:
            raise TimeUpError


_AGAIN = 0.2  # seconds until it is said again, as callbacks of the collector swallow errors


@contextmanager
def time_limit(seconds: float) -> Iterator[TimeLimit]:
    """Raise TimeUpError when so much CPU time has passed, even in a loop without end.

    Only a main thread can be stopped there: the processes of `spread` have one, a worker of dask
    runs its tasks beside it and looks at the time between cases.
    """
    limit = TimeLimit()
    if threading.current_thread() is not threading.main_thread():
        yield limit
        return

    def give_up(number: int, frame: object) -> None:
        limit.over = True
        raise TimeUpError

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, seconds, _AGAIN)
    try:
        yield limit
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
