"""The allocator as a small abstract machine at page level.

Each action and each clause is written once, over `operators`: it runs on plain values
(`instances`, the refinement check) and builds formulas on z3 terms (the induction).
"""

from percpu_spec.protocol.machine import Machine
from percpu_spec.protocol.variants import MACHINES, on_km

__all__ = ["MACHINES", "Machine", "on_km"]
