"""Parts of tokens in few digits: clauses, sizes, operations, schedules.

The tables here only grow at their ends, or tokens that are about would mean something else. What no
table has is written out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from percpu_proofs.explore.packing import DamagedError, TokenReader, Writer
from percpu_proofs.run.operations import FLAG_LETTERS, HANDLES, Operation, flags_of, parse_texts

_CHAPTERS: Final = (
    "FLT", "HINT", "ISO", "LIST", "POP", "RCL", "BAL", "COST", "TLB", "MAP", "LOCK", "FIT", "ACC",
    "API", "SLOT", "STAT", "GFP",
)  # fmt: skip
_SMALL: Final = "unit=32768,static=4096,reserved=0,dyn=28672,cpus=2"
_SIZES: Final = (
    _SMALL, f"{_SMALL},memcg=1", f"{_SMALL},backing=km",
    "unit=32768,static=4096,reserved=8192,dyn=20480,cpus=2",
    f"{_SMALL},static=100,reserved=8192,dyn=20480",
)  # fmt: skip
_NAMES: Final = (
    "unit", "static", "reserved", "dyn", "cpus", "groups", "spare", "memcg", "async", "backing",
    "page", "granule", "empty_low", "empty_high", "relegation_slot", "slot_base_shift",
    "reclaim_divisor", "least_unit", "early", "async_enabled",
)  # fmt: skip
_BACKINGS: Final = ("vm", "km")
_KINDS: Final = "afb=*+PBMQmCZKHUEdws"
"""Kinds of operations, and: `=` an allocation into a handle that is not the one behind the last,
`*` the last allocation again, so many times, `+` a free of the handle behind the last one freed."""
_LETTERS: Final = "AGRFNOSWYos"
_USUAL: Final = 4  # alignment, in bytes
MOST: Final = 1 << 20  # steps or operations


def mark(name: str, groups: int) -> int:
    """Return a number in so many groups of four bits that stands for a name; never 0."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:groups], 16) or 1


def put_choice(out: Writer, value: str, known: Sequence[str]) -> None:
    """Write one of some texts, or any other."""
    out.number(known.index(value) + 1 if value in known else 0)
    if value not in known:
        out.text(value)


def choice(source: TokenReader, known: Sequence[str]) -> str:
    """Return one of some texts, or any other."""
    number = source.number()
    return _entry(known, number - 1) if number else source.text()


def _entry(table: Sequence[str], number: int) -> str:
    if number >= len(table):
        raise DamagedError("a number that no table has")
    return table[number]


def put_clause(out: Writer, clause: str) -> None:
    """Write a clause's id, or any other text."""
    chapter, _, number = clause.rpartition("-")
    plain = number.isdecimal() and str(int(number)) == number
    whole = chapter in _CHAPTERS and plain
    put_choice(out, chapter if whole else clause, _CHAPTERS)
    if whole:
        out.number(int(number))


def clause(source: TokenReader) -> str:
    """Return a clause's id."""
    chapter = choice(source, _CHAPTERS)
    return f"{chapter}-{source.number()}" if chapter in _CHAPTERS else chapter


def put_sizes(out: Writer, sizes: str) -> None:
    """Write a geometry: one that is known, by names and numbers, or any other text."""
    pairs = [part.partition("=") for part in sizes.split(",")]
    if sizes in _SIZES:
        out.number(_SIZES.index(sizes) + 2)
    elif all(name in _NAMES and _value(value) is not None for name, _, value in pairs):
        out.number(1)
        out.number(len(pairs))
        for name, _, text in pairs:
            out.number(_NAMES.index(name))
            _put_round(out, _value(text) or 0)
    else:
        out.number(0)
        out.text(sizes)


def _value(text: str) -> int | None:
    """Return the number that stands for a size; None for one that is not written as usual."""
    if text in _BACKINGS:
        return _BACKINGS.index(text)
    return int(text) if text.isdecimal() and str(int(text)) == text else None


def sizes(source: TokenReader) -> str:
    """Return a geometry."""
    number = source.number()
    if number == 0:
        return source.text()
    if number == 1:
        return ",".join(_size(source) for _ in range(source.number()))
    return _entry(_SIZES, number - 2)


def _size(source: TokenReader) -> str:
    number, value = source.number(), _round(source)
    name = _entry(_NAMES, number)
    return f"{name}={_BACKINGS[value & 1] if name == 'backing' else value}"


def _put_round(out: Writer, value: int) -> None:
    """Write a number that often ends in zero bits."""
    shift = (value & -value).bit_length() - 1 if value else 0
    out.number(shift)
    out.number(value >> shift)


def _round(source: TokenReader) -> int:
    shift = source.number()
    if shift > 64:
        raise DamagedError("a number beyond all sizes")
    return source.number() << shift


Request = tuple[int, int, str]
"""Size, alignment, flags as the operation language writes them."""


class OperationCoder:
    """Writes and reads operations of one token, one list or several in order.

    Requests that come again are told by their number, handles by the one before.
    """

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._handle = 0  # the highest that was allocated into
        self._freed = 0  # the last that was freed

    def put(self, out: Writer, operations: Sequence[Operation]) -> None:
        """Write a list of operations."""
        codes: list[tuple[str, Operation, int]] = []
        for before, operation in zip([None, *operations], operations, strict=False):
            code = self._code(operation)
            if code == "a" and before is not None and _request(before) == _request(operation):
                if codes[-1][0] == "*":
                    codes[-1] = "*", operation, codes[-1][2] + 1
                else:
                    codes.append(("*", operation, 1))
            else:
                codes.append((code, operation, 0))
        out.number(len(codes))
        for code, operation, times in codes:
            self._put(out, code, operation, times)

    def _code(self, operation: Operation) -> str:
        """Return what stands for an operation's kind, and keep its handle in mind."""
        kind, arg, *_ = operation
        if kind == "a":
            code = "a" if arg == self._handle + 1 else "="
            self._handle = max(self._handle, arg)
            return code
        if kind == "f":
            code = "+" if arg == self._freed + 1 else "f"
            self._freed = arg
            return code
        return kind

    def _put(self, out: Writer, code: str, operation: Operation, times: int) -> None:
        _, arg, size, align, _, _ = operation
        out.number(_KINDS.index(code))
        if code == "*":
            out.number(times)
        elif code not in "a+bBE":
            out.number(arg)
        if code in "a=":
            self._put_request(out, (size, align, flags_of(operation)))
        elif code == "w":
            out.number(size)

    def _put_request(self, out: Writer, request: Request) -> None:
        if request in self._requests:
            out.number(self._requests.index(request))
            return
        size, align, flags = request
        out.number(len(self._requests))
        self._requests.append(request)
        _put_round(out, size)
        out.number(0 if align == _USUAL else align + 1)
        out.number(sum(1 << _LETTERS.index(letter) for letter in flags if letter != "-"))

    def take(self, source: TokenReader) -> tuple[Operation, ...]:
        """Return a list of operations."""
        lines: list[str] = []
        for _ in range(source.number()):
            lines += self._lines(source, lines)
        return parse_texts("token", lines)

    def _lines(self, source: TokenReader, before: Sequence[str]) -> list[str]:
        """Return the operations that the next code stands for."""
        code = _entry(_KINDS, source.number())
        if code in "bBE":
            return [code]
        if code == "*":
            again, times = " ".join(before[-1].split()[2:]) if before else "", source.number()
            if times > MOST:
                raise DamagedError("more operations than any token has")
            self._handle += times
            return [f"a {self._handle - times + n} {again}" for n in range(1, times + 1)]
        if code == "+":
            self._freed += 1
            return [f"f {self._freed}"]
        arg = self._handle + 1 if code == "a" else source.number()
        if code in "a=":
            self._handle = max(self._handle, arg)
            return [f"a {arg} {self._request(source)}"]
        if code == "f":
            self._freed = arg
        return [f"w {arg} {source.number()}" if code == "w" else f"{code} {arg}"]

    def _request(self, source: TokenReader) -> str:
        number = source.number()
        if number > len(self._requests):
            raise DamagedError("a request that there is none of")
        if number == len(self._requests):
            size, align, mask = _round(source), source.number(), source.number()
            letters = {letter for n, letter in enumerate(_LETTERS) if mask >> n & 1}
            flags = "".join(letter for letter in FLAG_LETTERS if letter in letters) or "-"
            self._requests.append((size, align - 1 if align else _USUAL, flags))
        return " ".join(map(str, self._requests[number]))


def _request(operation: Operation) -> tuple[object, ...]:
    """Return an operation but for its handle."""
    kind, _, *request = operation
    return kind, *request


def put_schedule(out: Writer, schedule: Sequence[int]) -> None:
    """Write the steps of a schedule, equal ones counted."""
    runs = [(step, len(list(run))) for step, run in groupby(schedule)]
    out.number(len(runs))
    for step, count in runs:
        out.numbers((2 * step if step >= 0 else 2 * ~step + 1, count - 1))


def schedule(source: TokenReader) -> tuple[int, ...]:
    """Return the steps of a schedule."""
    steps: list[int] = []
    for _ in range(source.number()):
        step, more = source.numbers(2)
        if more > MOST:
            raise DamagedError("more steps than any schedule has")
        steps += [~(step // 2) if step % 2 else step // 2] * (more + 1)
    return tuple(steps)


assert set(_LETTERS) == set(FLAG_LETTERS) and set(HANDLES) <= set(_KINDS)
