"""The kernel's functions as the model has them, and what speaks of each."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from percpu_proofs.explain import docstring
from percpu_proofs.explain.lookup import explain
from percpu_proofs.prove.ledger import committed
from percpu_proofs.report.places import followed_functions, kernel_names, model_functions
from percpu_proofs.run.inputs import InputError
from percpu_reference.kernel_names import OURS
from percpu_spec import definitions
from percpu_spec.catalogue import clauses, findings


@dataclass(frozen=True, slots=True)
class ModelFunction:
    """A function of the model: its contract, what overrides it, and the claims about it."""

    name: str
    signature: str  # Class.name(...)
    module: str
    title: str
    says: str
    kernel: str  # where it comes from, in words
    requires: tuple[Mapping[str, str], ...]
    ensures: tuple[Mapping[str, str], ...]
    overridden: tuple[Mapping[str, str], ...]
    claims: tuple[str, ...]
    function: Callable[..., Any]

    @property
    def clauses(self) -> list[str]:
        """Ids of the clauses that its contract asks."""
        heads = [line["says"].partition(":")[0] for line in (*self.requires, *self.ensures)]
        asked = {clause for head in heads for clause in head.split()}
        return [clause for clause in clauses() if clause in asked]


@dataclass(frozen=True, slots=True)
class KernelFunction:
    """A kernel function that the model follows."""

    name: str
    files: tuple[str, ...]
    functions: tuple[ModelFunction, ...]
    clauses: tuple[str, ...]  # that name it, or that contracts of its functions ask
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlainDefinition:
    """A derived quantity in plain code, straight from the bitmaps."""

    name: str
    module: str
    title: str
    function: Callable[..., Any]


def model_function(name: str, claims: Mapping[str, tuple[str, ...]]) -> ModelFunction | None:
    """Return a function of the model; None where a variant alone has it, or a view of a state."""
    try:
        found = explain(name)
    except InputError:
        return None
    if "(" not in found["id"] or "file" not in found:
        return None
    owner, _, _ = found["id"].partition("(")[0].rpartition(".")
    cls = getattr(importlib.import_module(found["file"]), owner)
    return ModelFunction(
        name, found["id"], found["file"], found["title"], found["says"], found["kernel"],
        tuple(found["requires"]), tuple(found["ensures"]), tuple(found["overridden"]),
        claims.get(name, ()), _plain(inspect.getattr_static(cls, name)),
    )  # fmt: skip


def _plain(member: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(member, "__func__", member)
    return function


def claims_by_function() -> dict[str, tuple[str, ...]]:
    """Return the claims of the ledger about each function of the model, by its name."""
    found: dict[str, tuple[str, ...]] = {}
    for claim, line in committed().items():
        for function in line["functions"]:
            name = function.rpartition(".")[2]
            found[name] = (*found.get(name, ()), claim)
    return found


def kernel_functions() -> list[KernelFunction]:
    """Return the kernel functions that the model follows, by name."""
    claims = claims_by_function()
    found = []
    for name, files in followed_functions().items():
        made = [model_function(one, claims) for one in model_functions(name)]
        functions = tuple(one for one in made if one is not None)
        asked = {c for one in functions for c in one.clauses}
        found.append(
            KernelFunction(
                name, files, functions, tuple(clauses_naming(name, asked)), findings_naming(name)
            )
        )
    return found


def own_functions() -> list[ModelFunction]:
    """Return the functions of the model that the kernel has none of."""
    claims = claims_by_function()
    made = (model_function(name, claims) for name in sorted(OURS))
    return [one for one in made if one is not None]


def clauses_naming(name: str, asked: Collection[str] = ()) -> Iterator[str]:
    """Yield the clauses that speak of a kernel name, and those asked of it."""
    speaking = entries_by_name().get(name, set()) | set(asked)
    return (clause for clause in clauses() if clause in speaking)


def findings_naming(name: str) -> tuple[str, ...]:
    """Return the findings that speak of a kernel name."""
    return tuple(finding for finding in findings() if finding in entries_by_name().get(name, ()))


@cache
def entries_by_name() -> dict[str, set[str]]:
    """Return the clauses and findings that speak of each kernel name."""
    texts = {c.id: f"{c.statement} {c.formal} {c.kernel} {c.since}" for c in clauses().values()}
    texts |= {f.id: f"{f.what} {f.function or ''}" for f in findings().values()}
    found: dict[str, set[str]] = {}
    for entry, text in texts.items():
        for name in kernel_names(text):
            found.setdefault(name, set()).add(entry)
    return found


def plain_definitions() -> list[PlainDefinition]:
    """Return the definitions of percpu_spec.definitions, by module and in their order."""
    found = [
        PlainDefinition(name, one.__module__.rpartition(".")[2], docstring(one)[0], one)
        for name, one in vars(definitions).items()
        if inspect.isfunction(one)
    ]
    return sorted(found, key=lambda one: (one.module, one.function.__code__.co_firstlineno))
