"""Seeded bugs: one line of a method is changed in a subclass, everything else stays.

A row is (method, text, text in its place, clauses); a method of the km backing has `km.` in front.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from functools import cache
from typing import cast

from percpu_reference.variants import Allocator, with_backing
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.reference import FIXES

KM = "km."

Row = tuple[str, str, str, str]
"""Method, text of its source, what stands there instead, clauses that may name the bug."""


@cache
def plant(name: str, text: str, bug: str) -> type[Allocator]:
    """Return linux_6_12 with a method in whose source `text`, which occurs once, reads `bug`.

    The override has no contract of its own: decorators are left out.
    """
    base: type[Allocator] = Linux612
    if name.startswith(KM):
        name, base = name.removeprefix(KM), with_backing(base, "km")
    owner = next(cls for cls in base.__mro__ if name in cls.__dict__)
    method = owner.__dict__[name]
    lines = textwrap.dedent(inspect.getsource(method)).splitlines(keepends=True)
    source = "".join(lines[next(i for i, line in enumerate(lines) if line[:4] == "def ") :])
    found = source.count(text)
    assert found == 1, f"{owner.__name__}.{name}: {text!r} occurs {found} times"
    # outside its class, super() must be told where it stands
    source = source.replace(text, bug).replace("super()", f"super({owner.__name__}, self)")
    names = dict(vars(sys.modules[method.__module__]))
    exec(compile(source, f"<{owner.__name__}.{name} with a bug>", "exec"), names)
    return type(f"Bugged{base.__name__}", (base,), {"__slots__": (), name: names[name]})


def repaired(bugged: type[Allocator]) -> type[Allocator]:
    """Return the variant with the fixes of `reference` on top, held to every clause."""
    namespace: dict[str, object] = {"__slots__": (), "EXPECTED": {}, "NOT_APPLICABLE": {}}
    return cast("type[Allocator]", type("Repaired", (*FIXES, bugged), namespace))
