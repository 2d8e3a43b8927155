"""The public API, as `import percpu_spec as ps` has it: functions whose results show themselves.

Every result has a plain repr and, for notebooks, `_repr_html_`. What is wrong with what was given
is said by InputError or one of its siblings (percpu_proofs.run.variant_errors.BAD_INPUT):
ValueErrors, but for UnknownClauseError, a KeyError.
"""

from __future__ import annotations

from percpu_proofs.api.model import Allocation, AllocatorRun, allocator
from percpu_proofs.api.results import Meaning, explain
from percpu_proofs.api.reviews import Review, TreeReview, review
from percpu_proofs.api.state import Answer, Drawing, StateReport, Verdicts, check, draw, read_state

__all__ = [
    "Allocation", "AllocatorRun", "Answer", "Drawing", "Meaning", "Review", "StateReport",
    "TreeReview", "Verdicts", "allocator", "check", "draw", "explain", "read_state", "review",
]  # fmt: skip
