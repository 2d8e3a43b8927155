"""What a result depends on, as one hash: it is good for as long as that stays the same.

The functions under proof, every method of the variant that they can reach with the constants and
helpers that it names, what the variant declares, the obligation with the code that asks it, the
contracts and definitions that judge, the seeded bugs, and the versions of the solvers.
"""

from __future__ import annotations

import hashlib
import inspect
import platform
import types
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import percpu_contracts
import percpu_reference
import percpu_spec
from percpu_proofs import bugs
from percpu_proofs.prove.claim import Claim
from percpu_proofs.run import choices
from percpu_reference import chunk, environment, gaps
from percpu_reference.backing import KmBacking
from percpu_reference.variants import variant_class, with_backing
from percpu_reference.variants.reference import Reference

TOOLS = ("crosshair-tool", "z3-solver", "icontract")


OWNERS = {cls.__name__: cls for cls in (*Reference.__mro__, KmBacking)}
"""The classes of functions under proof, by name; linux_6_12 has all but the fixes."""


def full_names(functions: str) -> tuple[str, ...]:
    """Return functions under proof by their full names.

    They are written `Class.function`, with blanks between; one without a class is of the same class
    as the one before.

    >>> full_names("Hints.block_update block_update_scan")
    ('percpu_reference.hints.Hints.block_update', 'percpu_reference.hints.Hints.block_update_scan')
    """
    full = []
    owner = ""
    for name in functions.split():
        of_class, _, function = name.rpartition(".")
        owner = of_class or owner
        full.append(f"{OWNERS[owner].__module__}.{owner}.{function}")
    return tuple(full)


def short_names(functions: str) -> tuple[str, ...]:
    """Return functions under proof as `module.Class.function`; see full_names."""
    return tuple(".".join(name.split(".")[-3:]) for name in full_names(functions))


def source_hash(sources: Iterable[Any]) -> str:
    """Return a hash of the source of modules, packages, classes and functions, and of the tools.

    A package counts with every module in it, a text as it is.
    """
    digest = hashlib.sha256(platform.python_version().encode())
    for tool in TOOLS:
        digest.update(version(tool).encode())
    for source in sources:
        for text in _texts(source):
            digest.update(text)
    return digest.hexdigest()[:16]


@cache
def _read(path: Path) -> bytes:
    return path.read_bytes()


def _texts(source: Any) -> Iterator[bytes]:
    if isinstance(source, types.ModuleType) and hasattr(source, "__path__"):
        for path in sorted(Path(source.__path__[0]).rglob("*.*")):
            if path.suffix in (".py", ".md"):
                yield _read(path)
    elif isinstance(source, str):
        yield source.encode()
    else:
        yield inspect.getsource(source).encode()


def sources_of(claim: Claim, *judges: Any) -> tuple[Any, ...]:
    """Return everything that the result of a claim about functions depends on.

    judges: modules that ask it.
    """
    backing = "km" if any("KmBacking" in name for name in claim.functions) else "vm"
    cls = with_backing(variant_class(claim.variant), backing)
    return (
        percpu_spec,
        percpu_contracts,
        chunk,
        environment,
        gaps,
        bugs,
        choices,
        *_modules_behind(*judges),
        *_declarations(cls),
        *reachable(cls, claim.functions),
        *(str(bugs.BUGS[bug]) for bug in claim.bugs),
    )


def _modules_behind(*modules: Any) -> list[types.ModuleType]:
    """Return modules, and those of this package from which they have a name, and so on."""
    ours = __package__ or ""
    found: dict[str, types.ModuleType] = {}
    wanted = list(modules)
    while wanted:
        module = wanted.pop()
        if module.__name__ in found:
            continue
        found[module.__name__] = module
        for value in vars(module).values():
            home = inspect.getmodule(value)
            if home is not None and home.__name__.startswith(f"{ours}."):
                wanted.append(home)
    return [found[name] for name in sorted(found)]


def _declarations(cls: type) -> list[str]:
    """Return the plain attributes of a variant's classes, as text: what it declares of itself."""
    return [
        f"{base.__name__}.{name} = {_text(value)}"
        for base in cls.__mro__
        if base.__module__.startswith(percpu_reference.__name__)
        for name, value in sorted(vars(base).items())
        if isinstance(value, _PLAIN) and not name.startswith("__")
    ]


_PLAIN = (bool, int, str, bytes, tuple, frozenset, dict)


def _text(value: Any) -> str:
    """Return a value as text, the same in every process."""
    return repr(sorted(value) if isinstance(value, frozenset) else value)


def reachable(cls: type, functions: Iterable[str]) -> list[Any]:
    """Return every method of a class that methods named `module.Class.function` can call.

    By name: a method counts as reached where its name occurs in the code of one reached before, in
    every class that defines it. That may be too many, never too few. Behind each come the constants
    and the functions of its module, and of ours, that it names.
    """
    methods: dict[str, list[Any]] = {}
    for base in cls.__mro__:
        if base.__module__.startswith(percpu_reference.__name__):
            for name, value in vars(base).items():
                function = value.fget if isinstance(value, property) else value
                if isinstance(function, types.FunctionType):
                    methods.setdefault(name, []).append(function)
    by_name: dict[str, list[Any]] = {}
    waiting = [name.rsplit(".", 1)[-1] for name in functions]
    waiting += ["__init__", "setup_slots"]
    while waiting:
        name = waiting.pop()
        if name in methods and name not in by_name:
            by_name[name] = methods[name]
            for function in methods[name]:
                waiting += _names(function.__code__)
    every = [function for name in sorted(by_name) for function in by_name[name]]
    return [*every, *dict.fromkeys(g for function in every for g in _globals_of(function))]


def _globals_of(function: Any) -> Iterator[Any]:
    """Yield what a function names outside itself: our functions, and constants as text."""
    for name in sorted(set(_names(function.__code__))):
        value = function.__globals__.get(name)
        if isinstance(value, types.FunctionType):
            if value.__module__.startswith(percpu_reference.__name__):
                yield value
                yield from _globals_of(value)
        elif isinstance(value, _PLAIN):
            yield f"{name} = {_text(value)}"


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)
