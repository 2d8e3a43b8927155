"""By which of the findings that a variant declares a schedule breaks its clause."""

from __future__ import annotations

import re

from percpu_proofs.explore.rerun import broken_by
from percpu_proofs.explore.token import Token
from percpu_reference.variants import Allocator, fixes, variant_class
from percpu_reference.variants.reference import with_fixes
from percpu_spec.catalogue import Finding, findings


def mechanism(token: Token) -> str:
    """Return what a variant declares of a clause, in words; empty where it declares nothing.

    Of several findings those are named without which the same steps do not break it: each with its
    fix on the variant, as far as the steps are then possible.
    """
    reason = variant_class(token.variant).EXPECTED.get(token.clause, "")
    known = [findings()[name] for name in re.findall(r"\b[LR]\d+\b", reason) if name in findings()]
    if len(known) > 1:
        known = [finding for finding in known if _mends(finding, token)] or known
    return "; ".join(f"{finding.id}, {finding.title}" for finding in known) or reason


_MENDED: dict[tuple[type[Allocator], str], type[Allocator]] = {}
"""Variants with the fixes of a finding: contracts are put on each once."""


def _mends(finding: Finding, token: Token) -> bool:
    base = variant_class(token.variant)
    if (base, finding.id) not in _MENDED:
        chosen = [getattr(fixes, name) for name in finding.fixes]
        _MENDED[base, finding.id] = with_fixes(*chosen, base=base)
    return token.clause not in broken_by(token, _MENDED[base, finding.id], lenient=True)
