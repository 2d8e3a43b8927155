"""The allocator's functions compiled again from their source: with a bug, for terms, loops cut.

What is proved is thereby the function itself and no copy of it. Only contracts are left out, and
the builtins `len` and `bytes` accept terms.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from percpu_proofs.prove.any_size.terms import Fill, Number
from percpu_reference.gaps import run


@dataclass(frozen=True, slots=True)
class TextChange:
    """A change of a function's text; `old` occurs in it once."""

    owner: type
    function: str
    old: str
    new: str


def changes(
    owner: type, function: str, texts: Mapping[str, tuple[str, str]]
) -> dict[str, TextChange]:
    """Return changes of one function by their names, from what it says and what stands instead."""
    return {name: TextChange(owner, function, old, new) for name, (old, new) in texts.items()}


def names_of(*functions: Callable[..., Any]) -> tuple[str, ...]:
    """Return functions by their full names, from the package on."""
    return tuple(f"{function.__module__}.{function.__qualname__}" for function in functions)


class NoSuchTextError(ValueError):
    """The text that a seeded bug replaces is not there once: the function has changed."""


def _len(value: Any) -> Any:
    length = getattr(value, "length", None)
    return len(value) if length is None else Number(value.path, length)


def _bytes(value: Any) -> Any:
    return Fill(False) if isinstance(value, Number) else bytes(value)


class _Super(ast.NodeTransformer):
    """`super()` names its class, which is looked up in the class of the object."""

    def __init__(self, owner: str) -> None:
        self.owner = owner

    def visit_Call(self, node: ast.Call) -> Any:
        """Replace `super()`."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
            text = f"super(type(self).twins[{self.owner!r}], self)"
            return ast.copy_location(ast.parse(text, mode="eval").body, node)
        return node


def source_of(owner: type, name: str, bug: TextChange | None = None) -> ast.FunctionDef:
    """Return a function's syntax, its decorators left out. Raises NoSuchTextError."""
    text = textwrap.dedent(inspect.getsource(owner.__dict__[name]))
    if bug is not None and (bug.owner, bug.function) == (owner, name):
        if text.count(bug.old) != 1:
            raise NoSuchTextError(f"{owner.__name__}.{name}: {bug.old!r} is not there once")
        text = text.replace(bug.old, bug.new)
    tree = ast.parse(text)
    function = next(n for n in tree.body if isinstance(n, ast.FunctionDef))
    function.decorator_list = []
    changed: ast.FunctionDef = _Super(owner.__name__).visit(function)
    return changed


def compiled(owner: type, function: ast.FunctionDef) -> Callable[..., Any]:
    """Return the function of a syntax tree, among the globals of its class."""
    module = ast.fix_missing_locations(ast.Module([function], []))
    names = {**vars(sys.modules[owner.__module__]), "len": _len, "bytes": _bytes}
    exec(compile(module, f"<{owner.__name__}.{function.name}>", "exec"), names)
    made: Callable[..., Any] = names[function.name]
    return made


@cache
def _recompiled(owner: type, name: str) -> Callable[..., Any]:
    return compiled(owner, source_of(owner, name))


@cache
def twin_of(cls: type, bug: TextChange | None = None) -> type:
    """Return a class that is the allocator's class, every function compiled again."""
    twin: type = new_twin(cls, bug)
    return twin


def new_twin(cls: type, bug: TextChange | None = None) -> Any:
    """Return a twin of its own, whose `twins` are its bases by name; see twin_of."""
    twins: dict[str, type] = {}
    made: dict[type, type] = {object: object}
    for base in reversed(cls.__mro__[:-1]):
        namespace: dict[str, Any] = {"twins": twins}
        for name, value in base.__dict__.items():
            if inspect.isfunction(value) and not name.startswith("__"):
                seeded = bug is not None and (bug.owner, bug.function) == (base, name)
                namespace[name] = (
                    compiled(base, source_of(base, name, bug))
                    if seeded
                    else _recompiled(base, name)
                )
            elif name.isupper():  # what a variant says of itself
                namespace[name] = value
        twin = type(base.__name__, tuple(made[b] for b in base.__bases__), namespace)
        made[base] = twins[base.__name__] = twin
    if bug is not None and bug.owner not in made:
        raise NoSuchTextError(f"{bug.owner.__name__} is no base of {cls.__name__}")
    return made[cls]


class _Loops(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[ast.While] = []

    def visit_While(self, node: ast.While) -> None:
        """Keep a loop; loops inside it are part of its turn."""
        self.found.append(node)


class _Returns(ast.NodeTransformer):
    """A turn that returns says so, with the value."""

    def visit_Return(self, node: ast.Return) -> Any:
        """Replace `return x` by `return "return", {"": x, **locals()}`."""
        text = 'return "return", {**locals(), "": None}'
        new = ast.parse(text).body[0]
        assert isinstance(new, ast.Return) and isinstance(new.value, ast.Tuple)
        assert isinstance(new.value.elts[1], ast.Dict)
        if node.value is not None:
            new.value.elts[1].values[1] = node.value
        return ast.copy_location(new, node)


def turn_of(
    owner: type, name: str, number: int, given: tuple[str, ...], bug: TextChange | None = None
) -> Callable[..., Any]:
    """Return one turn of a function's while loop, the number-th, as a function of its locals.

    It returns how the turn ends (`exit`: the test fails; `next`, `break`, `return`) and the locals
    then. In a function with gaps it is a generator that returns that.
    """
    function = source_of(owner, name, bug)
    loops = _Loops()
    loops.visit(function)
    loop = loops.found[number]
    body = [_Returns().visit(statement) for statement in loop.body]
    turn = ast.parse(
        f"def {name}({', '.join(given)}):\n"
        "    if not ():\n        return 'exit', locals()\n"
        "    for _once in (None,):\n        pass\n"
        "    else:\n        return 'next', locals()\n"
        "    return 'break', locals()\n"
    ).body[0]
    assert isinstance(turn, ast.FunctionDef)
    test, once = turn.body[0], turn.body[1]
    assert isinstance(test, ast.If) and isinstance(once, ast.For)
    test.test = ast.UnaryOp(ast.Not(), loop.test)
    once.body = body
    return compiled(owner, turn)


def entry_of(
    owner: type, name: str, number: int, given: tuple[str, ...], bug: TextChange | None = None
) -> Callable[..., Any]:
    """Return what a function does between its loops number - 1 and number, as one of its locals.

    Both loops are statements of the function's body; number 0 gives what comes before any loop. It
    returns `entry` and the locals then.
    """
    function = source_of(owner, name, bug)
    places = [n for n, statement in enumerate(function.body) if isinstance(statement, ast.While)]
    first = places[number - 1] + 1 if number else 0
    entry = ast.parse(f"def {name}({', '.join(given)}):\n    return 'entry', locals()").body[0]
    assert isinstance(entry, ast.FunctionDef)
    entry.body = [*function.body[first : places[number]], *entry.body]
    return compiled(owner, entry)


def finished(steps: Any) -> Any:
    """Run a generator to its end, nothing else running; return its result."""
    is_generator: bool = inspect.isgenerator(steps)
    return run(steps) if is_generator else steps
