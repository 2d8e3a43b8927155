"""What clauses, and what stands in the place of one, say and where the kernel says so."""

from __future__ import annotations

from percpu_proofs.kernel.search.judge import CRASH
from percpu_spec.catalogue import clause, clauses, findings, title


def title_of(clause_id: str) -> str:
    """Return a clause's title."""
    return "The kernel stops, or warns of itself" if clause_id == CRASH else title(clause_id)


def sentence_of(clause_id: str) -> str:
    """Return a clause's statement."""
    if clause_id in clauses():
        return clause(clause_id).statement
    found = findings().get(clause_id)
    return found.what if found is not None else ""


def kernel_of(clause_id: str) -> str:
    """Return the kernel functions and comments that a clause is about."""
    return clause(clause_id).kernel if clause_id in clauses() else ""
