"""Seeded bugs: one line of a method is changed in a subclass, everything else stays.

A row is (method, text, text in its place, clauses); a method of the km backing has `km.` in front.
The rows stand in bug_rows and more_bug_rows.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from functools import cache
from typing import NamedTuple, cast

from workloads import Scene, play, scenes

from percpu_contracts.attach import checked
from percpu_contracts.contract import Level
from percpu_contracts.monitor import ClauseViolation, Monitor
from percpu_reference.backing import KmBacking
from percpu_reference.variants import Allocator, with_backing
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.reference import FIXES

KM = "km."

Row = tuple[str, str, str, str]
"""Method, text of its source, what stands there instead, clauses that may name the bug."""


class Caught(NamedTuple):
    """How a seeded bug was caught."""

    clause: str
    scene: str
    operation: int
    message: str


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


def cast_for(scene: Scene, bugged: type[Allocator]) -> type[Allocator] | None:
    """Return the class that plays a scene, None if the bug has no part in it."""
    if not issubclass(bugged, KmBacking):
        return with_backing(bugged, scene.geometry.backing)
    return bugged if scene.geometry.backing == "km" else None


def hunt(
    bugged: type[Allocator], level: Level = "full", among: tuple[Scene, ...] | None = None
) -> Caught | None:
    """Return how the contracts catch a bug in the scenes (all unless given), None if they do not.

    Only a violation counts that the variant does not declare. Anything else that is raised passes
    through: a Python error, or a caller's error, catches nothing.
    """
    for scene in scenes() if among is None else among:
        cls = cast_for(scene, bugged)
        if cls is None:
            continue
        monitor = Monitor(cls.EXPECTED, cls.NOT_APPLICABLE)
        try:
            play(checked(cls, level), scene, monitor)
        except ClauseViolation as found:
            return Caught(found.clause, scene.name, found.operation, found.message)
    return None
