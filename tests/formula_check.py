"""The tie between a lemma's formulas and the function: both are run on the same cases.

On terms a function yields paths: conditions, and what is left at the end. They are evaluated on
the numbers of a case, and the imported function is run on the same. Exactly one path must be that
of the case, and both must leave the same.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from percpu_proofs.prove.any_size.code import TextChange
from percpu_proofs.prove.any_size.lemma import QUERY, Lemma, case_text
from percpu_proofs.prove.any_size.paths import Path, PathContext, all_paths
from percpu_proofs.prove.any_size.scene import (
    LemmaScene,
    SymbolicScene,
    plain_scene,
    replay,
    small_cases,
)
from percpu_proofs.prove.any_size.terms import z3


@dataclass(frozen=True, slots=True)
class Derived:
    """A term that stands for what a primitive returned: how to compute it."""

    term: Any
    kind: str  # "find", "rfind", "div", "mod", "bits"
    given: tuple[Any, ...]
    has: Callable[[Any], Any] | None = None
    bit: bool = False


class TracedPath(Path):
    """A path that keeps its conditions, and what primitives returned on it."""

    def __init__(self, prefix: tuple[bool, ...], shared: PathContext) -> None:
        super().__init__(prefix, 5.0, None, shared)
        self.conditions: list[tuple[Any, bool]] = []
        self.derived: list[Derived] = []

    def decide(self, term: Any) -> bool:
        choice = super().decide(term)
        self.conditions.append((term, choice))
        return choice

    def search(self, has: Callable[[Any], Any], bit: bool, lo: Any, hi: Any, last: bool) -> Any:
        at = super().search(has, bit, lo, hi, last)
        self.derived.append(Derived(at, "rfind" if last else "find", (lo, hi), has, bit))
        return at

    def divide(self, term: Any, by: Any) -> tuple[Any, Any]:
        quotient, remainder = super().divide(term, by)
        self.derived.append(Derived(quotient, "div", (term, by)))
        self.derived.append(Derived(remainder, "mod", (term, by)))
        return quotient, remainder

    def bit_length(self, term: Any) -> Any:
        bits = super().bit_length(term)
        self.derived.append(Derived(bits, "bits", (term,)))
        return bits


_KINDS = {
    z3.Z3_OP_AND: " and ", z3.Z3_OP_OR: " or ", z3.Z3_OP_EQ: " == ", z3.Z3_OP_LE: " <= ",
    z3.Z3_OP_LT: " < ", z3.Z3_OP_GE: " >= ", z3.Z3_OP_GT: " > ", z3.Z3_OP_ADD: " + ",
    z3.Z3_OP_SUB: " - ", z3.Z3_OP_MUL: " * ",
}  # fmt: skip


def python_of(term: Any) -> str:
    """Return a z3 term as a Python expression over `E`, which maps names to values."""
    if not z3.is_expr(term):
        return repr(term)
    if z3.is_int_value(term):
        return str(term.as_long())
    kind = term.decl().kind()
    parts = [python_of(part) for part in term.children()]
    if kind == z3.Z3_OP_TRUE or kind == z3.Z3_OP_FALSE:
        return str(kind == z3.Z3_OP_TRUE)
    if kind == z3.Z3_OP_NOT:
        return f"(not {parts[0]})"
    if kind == z3.Z3_OP_ITE:
        return f"({parts[1]} if {parts[0]} else {parts[2]})"
    if kind == z3.Z3_OP_UMINUS:
        return f"(-{parts[0]})"
    if kind == z3.Z3_OP_IMPLIES:
        return f"(not {parts[0]} or {parts[1]})"
    if kind == z3.Z3_OP_DISTINCT:
        return f"({' != '.join(parts)})"
    if kind in _KINDS:
        return f"({_KINDS[kind].join(parts)})"
    if kind != z3.Z3_OP_UNINTERPRETED:
        raise TypeError(f"no Python expression is known for the term {term}")
    name = repr(term.decl().name())
    return f"E[{name}]({', '.join(parts)})" if parts else f"E[{name}]"


def _compiled(term: Any) -> Callable[[Any], Any]:
    made: Callable[[Any], Any] = eval(f"lambda E: {python_of(term)}")
    return made


class _Values(dict[str, Any]):
    """The values of a case; those of what primitives returned are computed when asked for."""

    def __init__(self, known: dict[str, Any], derived: dict[str, Callable[[Any], Any]]) -> None:
        super().__init__(known)
        self.derived = derived

    def __missing__(self, name: str) -> Any:
        value = self[name] = self.derived[name](self)
        return value


def _primitive(derived: Derived) -> Callable[[Any], Any]:
    """Return how to compute what a primitive returned."""
    given = [_compiled(term) for term in derived.given]
    if derived.kind in ("find", "rfind"):
        assert derived.has is not None
        has = _compiled(derived.has(z3.Int("?")))
        bit, last = derived.bit, derived.kind == "rfind"

        def found(values: Any) -> int:
            lo, hi = given[0](values), given[1](values)
            for i in reversed(range(lo, hi)) if last else range(lo, hi):
                values["?"] = i
                if bool(has(values)) == bit:
                    return i
            return -1

        return found
    if derived.kind == "bits":
        return lambda values: given[0](values).bit_length()
    place = 0 if derived.kind == "div" else 1
    return lambda values: divmod(given[0](values), given[1](values))[place]


class FormulaPath:
    """One path of a lemma's functions, to be evaluated on numbers."""

    def __init__(self, scene: SymbolicScene) -> None:
        path: Any = scene.path
        self.scene = scene
        self.conditions = [(_compiled(term), choice) for term, choice in path.conditions]
        self.derived = {d.term.decl().name(): _primitive(d) for d in path.derived}
        self.outcome = {name: _outcome(value) for name, value in scene.outcome.items()}

    def takes(self, values: dict[str, Any]) -> Any:
        """Return what the path leaves if it is the case's, else None."""
        known = _Values(values, self.derived)
        if all(bool(holds(known)) == choice for holds, choice in self.conditions):
            return {name: value(known) for name, value in self.outcome.items()}
        return None


def _outcome(value: Any) -> Callable[[Any], Any]:
    if isinstance(value, tuple):
        parts = [_outcome(part) for part in value]
        return lambda values: tuple(part(values) for part in parts)
    if z3.is_expr(value):
        return _compiled(value)
    return lambda values: value


def formula(lemma: Lemma, bug: TextChange | None = None) -> list[FormulaPath]:
    """Return a lemma's functions as formulas, path by path."""
    scenes: list[SymbolicScene] = []
    shared = PathContext(QUERY)

    def run(path: Path) -> None:
        scenes.append(SymbolicScene(path, bug))
        lemma.scenario(scenes[-1])

    for _ in all_paths(run, lambda prefix: TracedPath(prefix, shared)):
        pass
    return [FormulaPath(scene) for scene in scenes]


@dataclass(slots=True)
class FormulaCheck:
    """What came of a tie."""

    enumerated: int = 0
    drawn: int = 0
    chosen: int = 0  # one for each path that small sizes can take
    paths: int = 0  # of the formula
    taken: set[int] = field(default_factory=set)  # paths that some case took
    wrong: list[str] = field(default_factory=list)


def drawn_cases(
    lemma: Lemma, tries: int, seed: int, bug: TextChange | None, largest: int = 8
) -> Iterator[LemmaScene]:
    """Yield plain scenes drawn at random."""
    chance = random.Random(f"{lemma.id}/{seed}")
    for _ in range(tries):
        scene = plain_scene(lemma.scenario, lambda _, values: chance.choice(values), bug, largest)
        if scene is not None:
            yield scene


def path_cases(lemma: Lemma, paths: list[FormulaPath]) -> Iterator[LemmaScene]:
    """Yield a plain scene for each path that has one of small size."""
    for path in paths:
        found = lemma.case_of(path.scene, None, lambda s: True)
        if found is not None:
            yield found


def check_formula(
    lemma: Lemma,
    *,
    tries: int = 1500,
    seed: int = 1,
    most_paths: int | None = None,
    function_bug: TextChange | None = None,
    formula_bug: TextChange | None = None,
) -> FormulaCheck:
    """Compare a lemma's formula and function: on enumerated cases, random ones, one for each path.

    most_paths: of at most so many. With a bug in one of the two the case that
    refutes the lemma is compared too. A claim that the function breaks is wrong where the lemma is
    expected to hold.
    """
    paths = formula(lemma, formula_bug)
    check = FormulaCheck(paths=len(paths))
    bug = function_bug or formula_bug
    if bug is not None:
        _, refuting = lemma.search(bug, QUERY)
        if refuting is not None:  # run again, on the function with the bug or without
            again = replay(lemma.scenario, refuting.inputs, function_bug, refuting.largest)
            if again is not None:
                _compare(lemma, paths, again, check)
    elif paths[0].outcome:
        for scene in itertools.islice(path_cases(lemma, paths), most_paths):
            check.chosen += 1
            _compare(lemma, paths, scene, check)
    for scene in small_cases(lemma.scenario, 2, tries, function_bug):
        check.enumerated += 1
        _compare(lemma, paths, scene, check)
    for scene in drawn_cases(lemma, tries, seed, function_bug):
        check.drawn += 1
        _compare(lemma, paths, scene, check)
    return check


def _compare(
    lemma: Lemma, paths: list[FormulaPath], scene: LemmaScene, check: FormulaCheck
) -> None:
    if lemma.expected == "confirmed" and scene.broken:
        check.wrong.append(f"{scene.broken[0]}: not so at {case_text(scene.inputs)}")
    if not scene.outcome:
        return  # a function of which only what is proved of it is known
    values = _values(scene)
    left = [
        (number, outcome) for number, path in enumerate(paths) if (outcome := path.takes(values))
    ]
    if len(left) != 1:
        check.wrong.append(f"{len(left)} paths at {case_text(scene.inputs)}")
        return
    number, outcome = left[0]
    check.taken.add(number)
    if outcome != scene.outcome:
        check.wrong.append(f"{outcome}, the function {scene.outcome}, at {case_text(scene.inputs)}")


def _values(scene: LemmaScene) -> dict[str, Any]:
    """Return a case's numbers by the names that its terms have; maps are functions."""
    values: dict[str, Any] = {"low_bit": lambda i: i & -i}
    fields: dict[str, list[Any]] = {}
    for name, value in scene.inputs.items():
        if isinstance(value, list):
            values[name] = _member(value)
        elif name.endswith("]"):
            base = name[: name.index("[")].replace(".", "_")
            fields.setdefault(base, []).append(value)
        else:
            values[name] = value
    for name, members in fields.items():
        if name not in values:
            values[name] = _member(members)
    return values


def _member(members: list[Any]) -> Callable[[int], Any]:
    none = False if members and isinstance(members[0], bool) else 0
    return lambda i: members[i] if 0 <= i < len(members) else none
