"""Every obligation as a function with a contract, for CrossHair's own command.

    crosshair check --analysis_kind icontract --per_condition_timeout 60 percpu_proofs.prove.targets

A target's arguments are the inputs of a case. It builds the state, calls the real function under
proof without its contracts, and evaluates those, precondition and promise, as plain predicates: so
a broken promise of a callee cannot hide a path. Its own one contract is that nothing is wrong.
"""

from __future__ import annotations

from percpu_proofs.prove.catalogue import all_obligations
from percpu_proofs.prove.symbolic import target

for _obligation in all_obligations():
    if not _obligation.refuted:
        _made = target(_obligation)
        _made.__module__ = __name__
        globals()[_made.__name__] = _made
del _obligation, _made, all_obligations, target
