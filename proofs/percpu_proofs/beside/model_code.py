"""The steps of a model function, with those cut out of the same kernel function in their place."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from percpu_proofs.beside.alignment import FunctionStep, Role, weigh_words
from percpu_proofs.run.inputs import InputError
from percpu_reference.environment import Environment
from percpu_reference.kernel_names import PART_OF, origin
from percpu_reference.stats import Stats

_JUMPS: Final = (ast.Break, ast.Continue, ast.Pass)
_HELD: Final = "LOCK-1"  # what lockdep_assert_held asks


@dataclass(frozen=True, slots=True)
class Definition:
    """A function of a class: its syntax tree, with lines as in its file."""

    owner: type
    name: str
    tree: ast.FunctionDef
    file: str


def definitions(variant: type, name: str) -> list[Definition]:
    """Return the definitions of a function that a variant has, the one that runs first.

    Raises InputError for one that is no function of its file, but made otherwise.
    """
    for cls in (variant, Stats, Environment):
        found = [
            _definition(base, name, vars(base)[name])
            for base in cls.__mro__
            if inspect.isfunction(vars(base).get(name))
        ]
        if found:
            return found
    return []


@cache
def _definition(owner: type, name: str, function: Callable[..., Any]) -> Definition:
    lines, begin = inspect.getsourcelines(function)
    found = [
        node for node in ast.walk(_parsed("".join(lines)))
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__
    ]  # fmt: skip
    if not found:
        where = inspect.getsourcefile(function)
        raise InputError(where, begin, f"{name} written as a function, to put it beside the kernel")
    tree = found[0]
    return Definition(owner, name, ast.increment_lineno(tree, begin - 1), function.__module__)


def _parsed(source: str) -> ast.AST:
    """Return the syntax tree of a piece of a file; an empty one if it does not stand alone."""
    try:
        return ast.parse(textwrap.dedent(source))
    except SyntaxError:
        return ast.Module([], [])


def steps(variant: type, name: str, kernel_function: str) -> list[FunctionStep]:
    """Return the steps of a function of a variant.

    Where it first calls a function that is cut out of the same kernel function, or the definition
    that it overrides, the steps of that one follow.
    """
    running, *overridden = definitions(variant, name)
    return _Reading(variant, kernel_function).steps(running, overridden, "")


class _Reading:
    """One function, with what has been read of it."""

    def __init__(self, variant: type, kernel_function: str) -> None:
        self._variant = variant
        self._kernel_function = kernel_function
        self._read: set[str] = set()

    def steps(self, one: Definition, overridden: list[Definition], part: str) -> list[FunctionStep]:
        found: list[FunctionStep] = [
            FunctionStep(d.lineno, d.end_lineno or d.lineno, weigh_words([("locked", Role.CALLED)]))
            for d in one.tree.decorator_list
            if isinstance(d, ast.Call) and isinstance(d.args[0], ast.Constant)
            if d.args[0].value == _HELD
        ]
        body = one.tree.body[1:] if ast.get_docstring(one.tree) else one.tree.body
        for made in self._block(body, overridden):
            if isinstance(made, FunctionStep):
                found.append(made)
            elif found:  # a jump: it belongs to the step before it
                found[-1] = replace(found[-1], last=max(found[-1].last, made))
        return [replace(s, part=s.part or part, file=s.file or one.file) for s in found]

    def _block(
        self, body: list[ast.stmt], overridden: list[Definition]
    ) -> Iterator[FunctionStep | int]:
        for statement in body:
            yield from self._statement(statement, overridden)

    def _statement(
        self, statement: ast.stmt, overridden: list[Definition]
    ) -> Iterator[FunctionStep | int]:
        end = statement.end_lineno or statement.lineno
        if isinstance(statement, _JUMPS) or _is_gap(statement):
            yield end
            return
        if isinstance(statement, ast.AnnAssign) and statement.value is None:
            return
        kind, head, blocks = _head_and_blocks(statement)
        called = [
            inlined for expression in head for node in ast.walk(expression)
            if (inlined := self._inlined(node, overridden)) is not None
        ]  # fmt: skip
        last = max((e.end_lineno or e.lineno for e in head), default=statement.lineno)
        found = [pair for expression in head for pair in _words(expression)]
        yield FunctionStep(statement.lineno, last, weigh_words(found, kind))
        for definition, more in called:
            overrides = bool(overridden) and definition == overridden[0]
            whole = f"{definition.owner.__name__}.{definition.name}"
            part = whole if overrides else definition.name
            yield from self.steps(definition, more, part)
        for block in blocks:
            yield from self._block(block, overridden)

    def _inlined(
        self, node: ast.AST, overridden: list[Definition]
    ) -> tuple[Definition, list[Definition]] | None:
        """Return what a call stands for here, None for one that is a step."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            return None
        name, of = node.func.attr, node.func.value
        if isinstance(of, ast.Call) and isinstance(of.func, ast.Name) and of.func.id == "super":
            if overridden and overridden[0].name == name:
                return overridden[0], overridden[1:]
            return None
        of_its_own = origin(name) is None  # a function that the variant alone has
        if not (of_its_own or PART_OF.get(name) == self._kernel_function) or name in self._read:
            return None
        self._read.add(name)
        found = definitions(self._variant, name)
        return (found[0], found[1:]) if found else None


def _is_gap(statement: ast.stmt) -> bool:
    """Return whether a statement only lets others run."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(value, ast.YieldFrom):
        return isinstance(value.value, ast.Tuple)
    return isinstance(value, ast.Yield)


def _head_and_blocks(
    statement: ast.stmt,
) -> tuple[str, list[ast.expr | ast.stmt], list[list[ast.stmt]]]:
    """Return the kind of a statement, what stands in its head, and its blocks."""
    if isinstance(statement, ast.If):
        return "if", [statement.test], [statement.body, statement.orelse]
    if isinstance(statement, ast.While):
        return "loop", [statement.test], [statement.body, statement.orelse]
    if isinstance(statement, ast.For):
        return "loop", [statement.target, statement.iter], [statement.body, statement.orelse]
    if isinstance(statement, ast.With):
        return "", [i.context_expr for i in statement.items], [statement.body]
    if isinstance(statement, ast.Try):
        return "", [], [statement.body, *(h.body for h in statement.handlers), statement.finalbody]
    return ("return" if isinstance(statement, ast.Return) else ""), [statement], []


def words_of(tree: ast.AST) -> dict[str, Role]:
    """Return the words of any piece of Python."""
    return weigh_words(_words(tree))


def _words(tree: ast.AST) -> Iterator[tuple[str, Role]]:
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    changed = {
        id(target.value) for target in ast.walk(tree)
        if isinstance(target, ast.Subscript) and isinstance(target.ctx, ast.Store)
    }  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name: str = node.attr
        elif isinstance(node, ast.Name) and node.id not in ("self", "super"):
            name = node.id
        else:
            continue
        if id(node) in called:
            yield name, Role.CALLED
        elif id(node) in changed or isinstance(node.ctx, ast.Store):
            yield name, Role.ASSIGNED
        else:
            yield name, Role.READ
