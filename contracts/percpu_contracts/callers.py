"""Who does something: the function of the allocator that runs, and where a reviewer wrote it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Final

_WATCHERS: Final = frozenset(("icontract", "percpu_contracts", "percpu_proofs"))
_OURS: Final = _WATCHERS | {"percpu_reference"}


def caller(allocator: object) -> str:
    """Return the function that runs, and whose call it is: the allocator's functions, inside out.

    Up to the first that is none of ours, with its file and line.
    """
    names: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        own = code.co_argcount and frame.f_locals.get(code.co_varnames[0]) is allocator
        if package not in _WATCHERS and (own or not names):
            if package not in _OURS:
                file = Path(code.co_filename).name
                names.append(f"{code.co_name} ({file}:{frame.f_lineno})")
                break
            names.append(code.co_name)
        frame = frame.f_back
    return ", called from ".join([names[0], ", ".join(names[1:])] if names[1:] else names)
