"""What became of the contracts in a run: which clauses were asked, which were broken, and when.

A variant declares the clauses it is expected to break. Those are counted; any other one raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from percpu_contracts.history import History
from percpu_contracts.lock_guard import LockGuard
from percpu_contracts.registry import When, state_clauses
from percpu_contracts.violations import Breach, ClauseViolation, Violation
from percpu_contracts.whole_state import WholeState
from percpu_spec.views import AllocatorView

if TYPE_CHECKING:
    from percpu_contracts.operation_steps import Actor


class Monitor:
    """Collects verdicts during a run; `operation` is set by whoever drives the allocator.

    With strict an unexpected violation raises ClauseViolation at once; otherwise it is recorded,
    like an expected one. Clauses in not_applicable are not judged.
    """

    def __init__(
        self,
        expected: Iterable[str] = (),
        not_applicable: Iterable[str] = (),
        *,
        strict: bool = True,
    ) -> None:
        self.expected = frozenset(expected)
        self.not_applicable = frozenset(not_applicable)
        self.strict = strict
        self.operation = 0
        self.evaluated: Counter[str] = Counter()  # how often each condition was, by its clauses
        self.violations: dict[str, Violation] = {}
        self.not_asked: Counter[str] = Counter()  # of these, how often no question arose
        self.last = ("", "")  # the violation entered last
        self.asking = False  # a contract is evaluated; what it calls is not asked for its own
        self.history = History()
        self.whole_state = WholeState(self.not_applicable)
        self.guard = LockGuard(self.misused)
        self.actors: list[Actor] = []  # operations under contracts that are under way
        self.holder: Actor | None = None  # of these, of pcpu_alloc_mutex
        self.alone = True  # no other was under way since the one that took the last step began
        self._counted: set[str] = set()
        self._counted_at = -1

    def begin(self, history: History) -> None:
        """Begin anew with a history, and with no violation entered; counts of questions go on."""
        self.history = history
        self.last = ("", "")
        self.alone = True
        self.actors = []
        self.holder = None
        self.violations.clear()
        self._counted.clear()

    def broken(self, clause: str, message: str) -> bool:
        """Enter a violation; return whether the run may go on.

        Counted once per clause and operation, so a count is a number of operations.
        """
        if clause in self.not_applicable:
            return True
        self.last = (clause, message)
        if self.operation != self._counted_at:
            self._counted.clear()
            self._counted_at = self.operation
        expected = clause in self.expected
        violation = self.violations.get(clause)
        if violation is None:
            violation = self.violations[clause] = Violation(
                clause, expected, 0, self.operation, message
            )
        if clause not in self._counted:
            self._counted.add(clause)
            violation.count += 1
        return expected or not self.strict

    def misused(self, clause: str, message: str) -> None:
        """Enter what a step broke; raise if it is unexpected."""
        if not self.broken(clause, message):
            raise ClauseViolation(clause, message, self.operation)

    def broken_state(self, allocator: AllocatorView, *, quiescent: bool) -> Iterator[Breach]:
        """Yield the clauses that the present state breaks."""
        return self.whole_state.broken(
            allocator,
            quiescent=quiescent,
            unsettled=self.history.unsettled,
        )

    def judge(self, allocator: AllocatorView, *, quiescent: bool) -> None:
        """Ask every clause about the present state; raise for an unexpected violation."""
        for clause, wrong in self.broken_state(allocator, quiescent=quiescent):
            if not self.broken(clause, wrong):
                raise ClauseViolation(clause, wrong, self.operation)

    def asked(self) -> Counter[str]:
        """Return how often each clause was evaluated."""
        total: Counter[str] = Counter()
        for names, count in self.evaluated.items():
            for clause in names.split():
                total[clause] += count
        total.subtract(self.not_asked)
        for clause in state_clauses(When.ALWAYS, When.SETTLED, When.ISOLATED):
            total[clause] += self.whole_state.evaluations
        for clause in state_clauses(When.QUIESCENT):
            total[clause] += self.whole_state.quiescent_evaluations
        for clause in self.not_applicable:
            total.pop(clause, None)
        return total

    def missing(self) -> frozenset[str]:
        """Return the expected violations that did not show."""
        return self.expected - self.violations.keys()
