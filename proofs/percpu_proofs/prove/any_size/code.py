"""The allocator's own functions, compiled again so that they run on terms (see terms).

What is proved is thereby the function itself and no copy of it. Only contracts are left out, and
the builtins `len` and `bytes` accept terms. A function is compiled whole, or one turn of a loop of
it, or what lies between two loops; a change of its text gives one with a bug.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from percpu_proofs.bugs import NoSuchTextError, source_of
from percpu_proofs.prove.any_size.terms import Fill, Number
from percpu_reference.gaps import run


@dataclass(frozen=True, slots=True)
class TextChange:
    """A change of a function's text; `old` occurs in it once."""

    owner: type
    function: str
    old: str
    new: str

    def is_in(self, owner: type, name: str) -> bool:
        """Return whether it is of this function."""
        return (self.owner, self.function) == (owner, name)


def _len(value: Any) -> Any:
    length = getattr(value, "length", None)
    return len(value) if length is None else Number(value.path, length)


def _bytes(value: Any) -> Any:
    return Fill(False) if isinstance(value, Number) else bytes(value)


def syntax_of(owner: type, name: str, bug: TextChange | None = None) -> ast.FunctionDef:
    """Return a function's syntax, its decorators left out. Raises NoSuchTextError.

    `super()` names its class, which is looked up in the class of the object.
    """
    texts = (bug.old, bug.new) if bug is not None and bug.is_in(owner, name) else ()
    base = f"super(type(self).twins[{owner.__name__!r}], self)"
    return _parsed(source_of(owner, name, *texts).replace("super()", base))


def _parsed(text: str) -> ast.FunctionDef:
    """Return the syntax of a function's text."""
    (function,) = ast.parse(text).body
    assert isinstance(function, ast.FunctionDef)
    return function


def compile_function(owner: type, function: ast.FunctionDef) -> Callable[..., Any]:
    """Return the function of a syntax tree, among the globals of its class."""
    module = ast.fix_missing_locations(ast.Module([function], []))
    names = {**vars(sys.modules[owner.__module__]), "len": _len, "bytes": _bytes}
    exec(compile(module, f"<{owner.__name__}.{function.name}>", "exec"), names)
    made: Callable[..., Any] = names[function.name]
    return made


@cache
def _recompiled(owner: type, name: str, bug: TextChange | None) -> Callable[..., Any]:
    return compile_function(owner, syntax_of(owner, name, bug))


@cache
def twin_of(cls: type, bug: TextChange | None = None) -> type:
    """Return a class that is the allocator's class, every function compile_function again."""
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
                seeded = bug if bug is not None and bug.is_in(base, name) else None
                namespace[name] = _recompiled(base, name, seeded)
            elif name.isupper():  # what a variant says of itself
                namespace[name] = value
        twin = type(base.__name__, tuple(made[b] for b in base.__bases__), namespace)
        made[base] = twins[base.__name__] = twin
    if bug is not None and bug.owner not in made:
        raise NoSuchTextError(f"{bug.owner.__name__} is no base of {cls.__name__}")
    return made[cls]


def _loops(node: ast.AST) -> Iterator[ast.While]:
    """Yield the loops in a function; loops inside one are part of its turn."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.While):
            yield part
        else:
            yield from _loops(part)


class _Returns(ast.NodeTransformer):
    """A turn that returns says so, with the value."""

    def visit_Return(self, node: ast.Return) -> Any:
        """Replace `return x` by `return "return", {**locals(), "": x}`."""
        value = "None" if node.value is None else ast.unparse(node.value)
        new = ast.parse(f'return "return", {{**locals(), "": {value}}}').body[0]
        return ast.copy_location(new, node)


def turn_of(
    owner: type, name: str, number: int, given: tuple[str, ...], bug: TextChange | None = None
) -> Callable[..., Any]:
    """Return one turn of a function's while loop, the number-th, as a function of its locals.

    It returns how the turn ends (`exit`: the test fails; `next`, `break`, `return`) and the locals
    then. In a function with gaps it is a generator that returns that.
    """
    loop = list(_loops(syntax_of(owner, name, bug)))[number]
    body = [_Returns().visit(statement) for statement in loop.body]
    turn = _parsed(
        f"def {name}({', '.join(given)}):\n"
        f"    if not ({ast.unparse(loop.test)}):\n        return 'exit', locals()\n"
        "    for _once in (None,):\n        pass\n"
        "    else:\n        return 'next', locals()\n"
        "    return 'break', locals()\n"
    )
    once = turn.body[1]
    assert isinstance(once, ast.For)
    once.body = body
    return compile_function(owner, turn)


def entry_of(
    owner: type, name: str, number: int, given: tuple[str, ...], bug: TextChange | None = None
) -> Callable[..., Any]:
    """Return what a function does between its loops number - 1 and number, as one of its locals.

    Both loops are statements of the function's body; number 0 gives what comes before any loop. It
    returns `entry` and the locals then.
    """
    function = syntax_of(owner, name, bug)
    loops = [n for n, statement in enumerate(function.body) if isinstance(statement, ast.While)]
    first = loops[number - 1] + 1 if number else 0
    entry = _parsed(f"def {name}({', '.join(given)}):\n    return 'entry', locals()")
    entry.body = [*function.body[first : loops[number]], *entry.body]
    return compile_function(owner, entry)


def run_to_end(steps: Any) -> Any:
    """Run a generator to its end, nothing else running; return its result."""
    is_generator: bool = inspect.isgenerator(steps)
    return run(steps) if is_generator else steps
