"""Tokens of schedules of compiled code: one string that replays one on a tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import groupby
from typing import Any, Final

from percpu_proofs.explore import short_form
from percpu_proofs.explore.packing import (
    TREE,
    DamagedError,
    TokenReader,
    Writer,
    damaged,
    no_token,
    tidy,
)
from percpu_proofs.kernel.search.compiled import FAULTS, REFUSED, RUNS, SearchPlan
from percpu_proofs.kernel.search.plans import DRAWN, QUICK, UNNAMED, TreeSearch
from percpu_proofs.run.inputs import InputError
from percpu_spec.geometry import Geometry

_DIGITS: Final = "0123456789.-rc"
"""What releases are mostly written with."""
_MARKS: Final = 3  # groups of a search's mark
_COMMON: Final = (0, 1, 2, 32, 64, 65, 66, 67)
"""Labels with the shortest code; of any other it is itself and 8."""
_ACTORS: Final = 32  # labels below are of actors that go on, often several times


@dataclass(frozen=True, slots=True)
class TreeToken:
    """A schedule of a plan, the clause that it breaks, and the release that it was found on."""

    clause: str
    release: str
    plan: SearchPlan
    labels: tuple[int, ...]

    def __str__(self) -> str:
        out = Writer()
        short_form.put_clause(out, self.clause)
        _put_release(out, self.release)
        _put_plan(out, self.plan)
        _put_labels(out, self.labels)
        return out.string(TREE, repr(replace(self, plan=_replayable(self.plan))))


def read_tree_token(text: str) -> TreeToken:
    """Return the token that a string stands for. Raises InputError if it is damaged."""
    text = tidy(text)
    if not text.startswith(TREE):
        raise no_token(text)
    try:
        source = TokenReader(TREE, text)
        token = TreeToken(
            short_form.clause(source), _release(source), _plan(source), tuple(_labels(source))
        )
        source.end(repr(token))
    except (DamagedError, InputError):
        raise damaged(text) from None
    Geometry().with_changes(token.plan.sizes).require_kernel()
    return token


def bound_of(plan: SearchPlan) -> str:
    """Return what the search of a plan tries, in words; empty if it is none that has a name."""
    plan = _replayable(plan)
    search = next((s for s in _searches() if _replayable(s.plan) == plan), None)
    return "" if search is None else found_by(search.name, search.bound)


def found_by(search: str, bound: str) -> str:
    """Return the words for a search by its name, and for how far it came."""
    order = "made small" if search in {one.name for one in DRAWN} else "the shortest first"
    return f"search {search} of the compiled code, {order}: {bound}"


@cache
def _searches() -> tuple[TreeSearch, ...]:
    """Return the searches whose plans tokens name."""
    return (*QUICK, *DRAWN, UNNAMED)


def _replayable(plan: SearchPlan) -> SearchPlan:
    """Return a plan without what bounds a search only."""
    return replace(plan, programs=0, most_states=SearchPlan("", ()).most_states)


def _mark(search: TreeSearch) -> int:
    return short_form.mark(search.name, _MARKS)


def _put_release(out: Writer, release: str) -> None:
    usual = bool(release) and set(release) <= set(_DIGITS)
    out.number(len(release) if usual else 0)
    if usual:
        for letter in release:
            out.groups(_DIGITS.index(letter), 1)
    else:
        out.text(release)


def _release(source: TokenReader) -> str:
    count = source.number()
    if not count:
        return source.text()
    digits = [source.groups(1) for _ in range(count)]
    if max(digits) >= len(_DIGITS):
        raise DamagedError("no release")
    return "".join(_DIGITS[digit] for digit in digits)


def _put_plan(out: Writer, plan: SearchPlan) -> None:
    """Write in what a plan differs from the search's that is nearest to it."""
    plan = _replayable(plan)
    bases = [(SearchPlan("", ()), 0), *((_replayable(s.plan), _mark(s)) for s in _searches())]
    base, mark = min(bases, key=lambda entry: len(_differences(plan, entry[0])))
    differences = _differences(plan, base)
    out.groups(mark, _MARKS)
    out.number(len(differences))
    operations = short_form.OperationCoder()
    for number in differences:
        out.number(number)
        put, _ = _coder(_FIELDS[number], operations)
        put(out, getattr(plan, _FIELDS[number]))


_FIELDS: Final = tuple(field.name for field in fields(SearchPlan))
_FLAGS: Final = frozenset({"waiting", "merge", "raw", "refuses"})


def _differences(plan: SearchPlan, base: SearchPlan) -> list[int]:
    return [n for n, name in enumerate(_FIELDS) if getattr(plan, name) != getattr(base, name)]


def _coder(
    name: str, operations: short_form.OperationCoder
) -> tuple[Callable[[Writer, Any], None], Callable[[TokenReader], Any]]:
    """Return what writes and what reads a field of a plan."""
    if name == "sizes":
        return short_form.put_sizes, short_form.sizes
    if name in ("operations", "setup"):
        return operations.put, operations.take
    if name == "faults":
        return _put_faults, _faults
    if name in ("points", "stops_at"):
        return _put_numbers, lambda source: source.numbers(source.number())
    kind = bool if name in _FLAGS else int
    return lambda out, value: out.number(int(value)), lambda source: kind(source.number())


def _put_numbers(out: Writer, numbers: Sequence[int]) -> None:
    out.number(len(numbers))
    out.numbers(numbers)


def _put_faults(out: Writer, faults: Sequence[str]) -> None:
    _put_numbers(out, [FAULTS.index(fault) for fault in faults])


def _faults(source: TokenReader) -> tuple[str, ...]:
    numbers = source.numbers(source.number())
    if max(numbers, default=0) >= len(FAULTS):
        raise DamagedError("a fault that there is none of")
    return tuple(FAULTS[number] for number in numbers)


def _plan(source: TokenReader) -> SearchPlan:
    mark = source.groups(_MARKS)
    bases = [_replayable(s.plan) for s in _searches() if _mark(s) == mark]
    base = bases[0] if bases else SearchPlan("", ())
    operations = short_form.OperationCoder()
    changes: dict[str, Any] = {}
    for _ in range(source.number()):
        number = source.number()
        if number >= len(_FIELDS):
            raise DamagedError("a number that no table has")
        _, read = _coder(_FIELDS[number], operations)
        changes[_FIELDS[number]] = read(source)
    return replace(base, **changes)


def _put_labels(out: Writer, labels: Sequence[int]) -> None:
    """Write labels, those of actors that go on with how often."""
    runs = [(label, len(list(run))) for label, run in groupby(labels)]
    if any(count > 1 and label % REFUSED >= _ACTORS for label, count in runs):
        runs = [(label, 1) for label in labels]
    out.number(len(runs))
    for label, count in runs:
        if label < 0:
            out.numbers((_NEGATIVE, ~label))
            continue
        what, more = label % REFUSED, label // REFUSED
        usual = more == RUNS // REFUSED  # nothing refused, its actor ran once
        code = _COMMON.index(what) if what in _COMMON else what + len(_COMMON)
        out.number(code if usual else _UNUSUAL)
        if not usual:
            out.numbers((code, more))
        if what < _ACTORS:
            out.number(count - 1)


_UNUSUAL: Final = REFUSED + len(_COMMON)
_NEGATIVE: Final = _UNUSUAL + 1


def _labels(source: TokenReader) -> Iterator[int]:
    for _ in range(source.number()):
        code, more = source.number(), RUNS // REFUSED
        if code == _NEGATIVE:
            yield ~source.number()
            continue
        if code == _UNUSUAL:
            code, more = source.numbers(2)
        what = _COMMON[code] if code < len(_COMMON) else code - len(_COMMON)
        count = source.number() + 1 if what < _ACTORS else 1
        if count > short_form.MOST:
            raise DamagedError("more steps than any schedule has")
        yield from [what + more * REFUSED] * count
