"""What words name beside clauses, findings and functions; `lookup` asks each module.

An explanation has plain values: texts, lists of texts or of records, maps of names to texts; `id`,
`title`.
"""

from __future__ import annotations

import re
from typing import Any

Explanation = dict[str, Any]


def unwrapped(found: Explanation) -> Explanation:
    """Return an explanation whose texts have a line a paragraph; code stays as it is.

    >>> unwrapped({"says": "One\\nline.\\n\\nAnother.", "code": "a\\nb"})
    {'says': 'One line.\\n\\nAnother.', 'code': 'a\\nb'}
    """
    return {
        name: re.sub(r"(?<!\n)\n(?=[^\s|*-])", " ", value)
        if isinstance(value, str) and name != "code" else value
        for name, value in found.items()
    }  # fmt: skip
