"""Checked classes with a bug planted in one function each, for CrossHair's own command.

`PLANTED` says in which function, and which clause names it.
"""

from __future__ import annotations

from percpu_contracts.attach import checked
from percpu_proofs.bugs import BUGS
from percpu_proofs.prove.catalogue import claims
from percpu_proofs.prove.small.claims import SymbolicClaim

PLANTED: dict[str, str] = {}

for _claim in claims():
    if isinstance(_claim, SymbolicClaim) and _claim.bugs and _claim.variant == "linux_6_12":
        _class = checked(BUGS[_claim.bugs[0]].planted(_claim.variant), "full")
        _name = "".join(word.title() for word in _claim.function.split("_"))
        _class.__name__ = _class.__qualname__ = _name
        _class.__module__ = __name__
        globals()[_name] = _class
        PLANTED[_name] = _claim.function
