"""What words name beside clauses, findings and functions; `percpu_proofs.explain` asks each module.

An explanation has plain values: texts, lists of texts or of records, maps of names to texts; `id`,
`title`.
"""

from __future__ import annotations

from typing import Any

Explanation = dict[str, Any]
