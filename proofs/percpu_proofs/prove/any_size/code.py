"""Numbers and maps of z3 terms, on which the allocator's own functions run.

A function meets them in place of integers and bytearrays. Arithmetic builds terms; a branch asks
the path (see paths) which way to go, so that one run of the function is one of its paths.

What is proved is thereby the function itself and no copy of it. Only contracts are left out, and
the builtins `len` and `bytes` accept terms.
"""

from __future__ import annotations

import ast
import inspect
import operator
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from percpu_proofs.bugs import NoSuchTextError, source_of
from percpu_reference.gaps import run
from percpu_spec.protocol.operators import And, If, Implies, Not, Or, Truth, within

if TYPE_CHECKING:
    from percpu_proofs.prove.any_size.paths import Path

z3: Any = import_module("z3")

LOW_BIT = z3.Function("low_bit", z3.IntSort(), z3.IntSort())
"""x & -x; nothing is assumed of it, so what is proved holds however alignments compare."""


def raw(value: Any) -> Any:
    """Return the term or plain value that a function's value stands for."""
    return value.term if isinstance(value, PathTerm) else value


class PathTerm:
    """A term in place of a value of the function that runs."""

    __slots__ = ("path", "term")

    def __init__(self, path: Path, term: Any) -> None:
        self.path = path
        self.term = term


class Condition(PathTerm):
    """A truth that a function branches on."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return self.path.decide(self.term)


def _arithmetic(of_terms: Callable[[Any, Any], Any]) -> Any:
    """Return the method of an operator whose result is a number."""
    return lambda self, other: Number(self.path, of_terms(self.term, raw(other)))


def _comparison(of_terms: Callable[[Any, Any], Any]) -> Any:
    """Return the method of an operator whose result is a truth."""
    return lambda self, other: Condition(self.path, of_terms(self.term, raw(other)))


class Number(PathTerm):
    """An integer of any size."""

    __slots__ = ()

    __add__ = __radd__ = _arithmetic(operator.add)
    __sub__ = _arithmetic(operator.sub)
    __rsub__ = _arithmetic(lambda term, other: other - term)
    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)
    __eq__ = _comparison(operator.eq)
    __ne__ = _comparison(operator.ne)

    def _number(self, term: Any) -> Number:
        return Number(self.path, term)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, bytes):  # b"\1" * n
            return Fill(bool(other[0]))
        return self._number(self.term * raw(other))

    __rmul__ = __mul__

    def __neg__(self) -> Number:
        return self._number(-self.term)

    def __bool__(self) -> bool:
        return self.path.decide(self.term != 0)

    def __rshift__(self, by: Any) -> Any:
        return self._number(self.path.divide(self.term, by.divisor)[0])

    def __lshift__(self, by: Any) -> Any:
        return self._number(self.path.multiple(self.term, by.divisor))

    def __and__(self, other: Any) -> Any:
        if isinstance(other, Mask):
            return self._number(self.path.divide(self.term, other.divisor)[1])
        if raw(other).eq(-self.term):
            return self._number(LOW_BIT(self.term))
        raise TypeError(f"{self.term} & {raw(other)}: only a mask or the lowest bit is known")

    def bit_length(self) -> Number:
        """Return how many bits the number has; what is known of it see paths."""
        return self._number(self.path.bit_length(self.term))


@dataclass(slots=True, eq=False)
class Mask:
    """The block size in the guise of a mask or a shift, of whatever power of two it is."""

    divisor: Any

    def __rlshift__(self, number: int) -> Any:
        return number * self.divisor if number else 0


@dataclass(slots=True)
class Fill:
    """A bytes object of any length, all of whose elements are the same."""

    bit: bool


class Bits:
    """A map with an element per bit or page, of any length."""

    def __init__(self, path: Path, length: Any, has: Callable[[Any], Truth]) -> None:
        self.path = path
        self.length = length
        self.has = has

    def find(self, bit: int, start: Any = 0, end: Any = None) -> Number:
        """Return the first index in [start, end) whose element is `bit`, or -1."""
        return self._search(bit, start, end, last=False)

    def rfind(self, bit: int, start: Any = 0, end: Any = None) -> Number:
        """Return the last index in [start, end) whose element is `bit`, or -1."""
        return self._search(bit, start, end, last=True)

    def _search(self, bit: int, start: Any, end: Any, *, last: bool) -> Number:
        lo, hi = raw(start), self.length if end is None else raw(end)
        return Number(self.path, self.path.search(self.has, bool(bit), lo, hi, last))

    def __getitem__(self, index: Any) -> Condition:
        return Condition(self.path, self.has(raw(index)))

    def __setitem__(self, index: slice, value: Fill) -> None:
        lo, hi, old, bit = raw(index.start), raw(index.stop), self.has, value.bit
        self.has = lambda i: If(within(lo, i, hi), bit, old(i))


def is_match(has: Callable[[Any], Truth], bit: bool, i: Any) -> Truth:
    """Return whether an element is `bit`."""
    return has(i) if bit else Not(has(i))


def search_facts(
    has: Callable[[Any], Truth], bit: bool, lo: Any, hi: Any, at: Any, last: bool
) -> tuple[Truth, Callable[[Any], Truth]]:
    """Return what is true of a search's result `at`: as such, and at every index."""
    hit = And(within(lo, at, hi), is_match(has, bit, at))

    def passed(i: Any) -> Truth:
        beyond = i > at if last else i < at
        return Implies(And(within(lo, i, hi), Or(at == -1, beyond)), Not(is_match(has, bit, i)))

    return Or(at == -1, And(at >= 0, hit)), passed


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
