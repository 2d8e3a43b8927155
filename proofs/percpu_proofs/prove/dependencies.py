"""What a result depends on, as one hash: it is good for as long as that stays the same.

The functions under proof, every method of the variant that they can reach, the obligation with the
code that asks it, the contracts and definitions that judge, and the versions of the solvers.
"""

from __future__ import annotations

import hashlib
import inspect
import platform
import types
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import percpu_contracts
import percpu_reference
import percpu_spec
from percpu_proofs.prove import (
    adversary,
    choices,
    enumeration,
    history,
    invariant,
    judging,
    scene,
    states,
    symbolic,
)
from percpu_proofs.prove.obligation import Obligation
from percpu_reference import chunk, environment, gaps
from percpu_reference.variants import variant_class, with_backing

TOOLS = ("crosshair-tool", "z3-solver", "icontract", "hypothesis")


def source_hash(sources: Iterable[Any]) -> str:
    """Return a hash of the source of modules, packages, classes and functions, and of the tools.

    A package counts with every module in it.
    """
    digest = hashlib.sha256(platform.python_version().encode())
    for tool in TOOLS:
        digest.update(version(tool).encode())
    for source in sources:
        for text in _texts(source):
            digest.update(text)
    return digest.hexdigest()[:16]


_READ: dict[str, bytes] = {}


def _texts(source: Any) -> Iterator[bytes]:
    if isinstance(source, types.ModuleType) and hasattr(source, "__path__"):
        for path in sorted(Path(source.__path__[0]).rglob("*.*")):
            if path.suffix in (".py", ".md"):
                if str(path) not in _READ:
                    _READ[str(path)] = path.read_bytes()
                yield _READ[str(path)]
    else:
        yield inspect.getsource(source).encode()


def sources_of(obligation: Obligation) -> tuple[Any, ...]:
    """Return everything that an obligation's result depends on."""
    backing = "km" if any("KmBacking" in name for name in obligation.functions) else "vm"
    cls = with_backing(variant_class(obligation.variant), backing)
    judge = inspect.getmodule(obligation.judge)
    return (
        percpu_spec,
        percpu_contracts,
        chunk,
        environment,
        gaps,
        judge,
        *_ASKING,
        *reachable(cls, obligation.functions),
    )


_ASKING = (adversary, choices, enumeration, history, invariant, judging, scene, states, symbolic)
"""The modules that ask and judge."""


def reachable(cls: type, functions: Iterable[str]) -> list[Any]:
    """Return every method of a class that methods named `module.Class.function` can call.

    By name: a method counts as reached where its name occurs in the code of one reached before, in
    every class that defines it. That may be too many, never too few.
    """
    methods: dict[str, list[Any]] = {}
    for base in cls.__mro__:
        if base.__module__.startswith(percpu_reference.__name__):
            for name, value in vars(base).items():
                function = value.fget if isinstance(value, property) else value
                if isinstance(function, types.FunctionType):
                    methods.setdefault(name, []).append(function)
    found: dict[str, list[Any]] = {}
    wanted = [name.rsplit(".", 1)[-1] for name in functions]
    wanted += ["__init__", "setup_slots"]
    while wanted:
        name = wanted.pop()
        if name in methods and name not in found:
            found[name] = methods[name]
            for function in methods[name]:
                wanted += _names(function.__code__)
    return [function for name in sorted(found) for function in found[name]]


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
