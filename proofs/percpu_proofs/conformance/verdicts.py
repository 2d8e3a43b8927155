"""What the contracts said while a trace was replayed."""

from __future__ import annotations

from collections.abc import Callable

from percpu_contracts.monitor import Monitor
from percpu_proofs.runs import ClauseVerdict
from percpu_spec.catalogue import clauses


def verdicts(monitor: Monitor, line_of: Callable[[int], int]) -> list[ClauseVerdict]:
    """Return a verdict for every clause of the catalogue.

    Counts are of events; `line_of` gives the line of one by its number, from 1.
    """
    asked = monitor.asked()
    found = []
    for clause in clauses():
        evaluations = asked.get(clause, 0)
        violation = monitor.violations.get(clause)
        if violation is not None:
            verdict = ClauseVerdict(
                clause,
                "violated",
                violation.expected,
                evaluations,
                violation.count,
                violation.first_operation,
                line_of(violation.first_operation) or None,
                violation.first_message,
            )
        elif clause in monitor.not_applicable:
            verdict = ClauseVerdict(clause, "not applicable", False)
        else:
            word = "holds" if evaluations else "unchecked"
            verdict = ClauseVerdict(clause, word, clause in monitor.expected, evaluations)
        found.append(verdict)
    return found
