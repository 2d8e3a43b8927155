"""What the hints of a block say, as statements that a lemma assumes and claims again.

All of a block of n bits with map `used`; offsets in bits from its start.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

from percpu_proofs.prove.any_size.scene import LemmaScene
from percpu_proofs.prove.any_size.terms import raw
from percpu_reference.chunk import Block
from percpu_spec.definitions.runs import free_runs
from percpu_spec.protocol.operators import And, Iff, Implies, Not, Or, Truth, within
from percpu_spec.views import HINTS

Used = Callable[[Any], Truth]
HintClaim = Callable[[Any], None]


class HintTerms(SimpleNamespace):
    """Hints as facts speak of them: terms or integers."""

    def __init__(self, block: Any) -> None:
        super().__init__(**{name: raw(getattr(block, name)) for name in (*HINTS, "nr_bits")})

    @property
    def runs(self) -> tuple[tuple[Any, Any], ...]:
        """First bit and length of contig_hint and of scan_hint."""
        return (
            (self.contig_hint_start, self.contig_hint), (self.scan_hint_start, self.scan_hint),
        )  # fmt: skip

    def by_name(self) -> dict[str, Any]:
        """Return the seven hints by name."""
        return {name: getattr(self, name) for name in HINTS}


class Invariant(NamedTuple):
    """A statement about hints: to assume it, and to claim it of hints still to come.

    To claim it is to name arbitrary bits and runs first, and to say of them what is to hold.
    """

    assume: Callable[[LemmaScene, Any, Used, Any], None]
    claim: Callable[[LemmaScene, Used, Any], HintClaim]


def run_is_free(s: LemmaScene, used: Used, n: Any, start: Any, length: Any) -> None:
    """Assume that a hint is a free run within the block."""
    s.assume(And(length >= 0, Implies(length > 0, And(start >= 0, start + length <= n))))
    s.everywhere(start, start + length, lambda i: Not(used(i)))


def _claim_run(s: LemmaScene, used: Used, n: Any, what: str) -> HintClaim:
    p = s.number(f"bit of {what}", 0, n)

    def claim(h: Any) -> None:
        start, length = getattr(h, f"{what}_start"), getattr(h, what)
        inside = And(length >= 0, Implies(length > 0, And(start >= 0, start + length <= n)))
        s.claim(f"{what} lies in the block", inside)
        s.claim(f"{what} is free", Not(used(p)), given=within(start, p, start + length))

    return claim


def _assume_sound(s: LemmaScene, h: Any, used: Used, n: Any) -> None:
    for start, length in h.runs:
        run_is_free(s, used, n, start, length)


def _claim_sound(s: LemmaScene, used: Used, n: Any) -> HintClaim:
    claims = [_claim_run(s, used, n, what) for what in ("contig_hint", "scan_hint")]

    def claim(h: Any) -> None:
        for one in claims:
            one(h)

    return claim


def _exact(name: str, run: Callable[[Any, Any], tuple[Any, Any, Any]], *, free: bool) -> Invariant:
    """Return that a hint tells exactly how far bits are alike at an edge of the block.

    run: of the hint's value and n, the range [lo, hi) of these bits and the bit beyond. free: they
    are free, and the bit beyond is used.
    """

    def is_like(used: Used, i: Any) -> Truth:
        return Not(used(i)) if free else used(i)

    def assume(s: LemmaScene, h: Any, used: Used, n: Any) -> None:
        value = getattr(h, name)
        lo, hi, beyond = run(value, n)
        s.point(beyond)
        s.assume(And(within(0, value, n + 1), Implies(value < n, Not(is_like(used, beyond)))))
        s.everywhere(lo, hi, lambda i: is_like(used, i))

    def claim(s: LemmaScene, used: Used, n: Any) -> HintClaim:
        p = s.number(f"bit of {name}", 0, n)

        def claimed(h: Any) -> None:
            value = getattr(h, name)
            lo, hi, beyond = run(value, n)
            s.claim(f"{name} is no more than the block", within(0, value, n + 1))
            s.claim(f"bits up to {name} are alike", is_like(used, p), given=within(lo, p, hi))
            s.point(beyond)
            s.claim(f"{name} ends there", Not(is_like(used, beyond)), given=value < n)

        return claimed

    return Invariant(assume, claim)


def order(h: Any) -> Truth:
    """HINT-4: scan_hint lies behind contig_hint exactly if as long."""
    return Implies(
        And(h.scan_hint > 0, h.contig_hint > 0),
        Iff(h.scan_hint_start > h.contig_hint_start, h.scan_hint == h.contig_hint),
    )


def _assume_longest(s: LemmaScene, h: Any, used: Used, n: Any) -> None:
    s.every_run(0, n, lambda x, y: Implies(y - x > h.contig_hint, s.some(used, x, y)))


def any_free_run(s: LemmaScene, used: Used, n: Any, name: str) -> tuple[Any, Any]:
    """Return an arbitrary free run [x, y), not empty, within n bits."""
    x = s.number(f"{name} begins", 0, n)
    y = s.number(f"{name} ends", 1, n + 1)
    s.assume(x < y)
    s.everywhere(x, y, lambda i: Not(used(i)))
    s.run(x, y)
    s.point(x - 1, y - 1)
    return x, y


def _claim_longest(s: LemmaScene, used: Used, n: Any) -> HintClaim:
    x, y = any_free_run(s, used, n, "a run")
    return lambda h: s.claim("no run is longer than contig_hint", y - x <= h.contig_hint)


def _assume_passes_nothing(s: LemmaScene, h: Any, used: Used, n: Any) -> None:
    s.every_run(
        0,
        n,
        lambda x, y: Implies(
            And(h.scan_hint > 0, y <= h.scan_hint_start, y - x > h.scan_hint), s.some(used, x, y)
        ),
    )


def _claim_passes_nothing(s: LemmaScene, used: Used, n: Any) -> HintClaim:
    x, y = any_free_run(s, used, n, "a run before")
    return lambda h: s.claim(
        "no run before scan_hint is longer",
        y - x <= h.scan_hint,
        given=And(h.scan_hint > 0, y <= h.scan_hint_start),
    )


def is_whole(used: Used, n: Any, start: Any, length: Any) -> Truth:
    """A run of which no neighbour is free."""
    bounded = And(Or(start <= 0, used(start - 1)), Or(start + length >= n, used(start + length)))
    return Implies(length > 0, bounded)


def _whole_of(h: Any, used: Used, n: Any) -> Truth:
    return And(*[is_whole(used, n, start, length) for start, length in h.runs])


SOUND = Invariant(_assume_sound, _claim_sound)
"""Both hints are free runs in the block."""
LEFT = _exact("left_free", lambda length, n: (0, length, length), free=True)
RIGHT = _exact("right_free", lambda length, n: (n - length, n, n - length - 1), free=True)
FIRST = _exact("first_free", lambda first, n: (0, first, first), free=False)
ORDER = Invariant(
    lambda s, h, used, n: s.assume(order(h)),
    lambda s, used, n: lambda h: s.claim("HINT-4", order(h)),
)
LONGEST = Invariant(_assume_longest, _claim_longest)
PASSES_NOTHING = Invariant(_assume_passes_nothing, _claim_passes_nothing)
WHOLE = Invariant(
    lambda s, h, used, n: s.assume(_whole_of(h, used, n)),
    lambda s, used, n: lambda h: s.claim("hints are whole runs", _whole_of(h, used, n)),
)
EXACT = (SOUND, LEFT, RIGHT, FIRST, ORDER, LONGEST, PASSES_NOTHING, WHOLE)
"""What `reference` keeps of every block, all of it together."""


def arbitrary_block(s: LemmaScene, used: Used, n: Any, *, ends: bool = True) -> Any:
    """Return a block with arbitrary hints; plain ones are drawn from what they may well be.

    ends: facts about every bit and run are used where the hints begin and end.
    """
    plain = isinstance(n, int)

    def runs() -> list[tuple[int, int]]:
        return list(free_runs(s.map_of(n, used)))

    def edge(first: bool) -> list[int]:
        bits = s.map_of(n, used)
        length = bits.find(1) if first else n - 1 - bits.rfind(1)
        return [0, n if length < 0 else length]

    block = Block.__new__(Block)
    block.nr_bits = s.code(n)
    lengths = {b - a for a, b in runs()} if plain else set()
    starts = {a for a, _ in runs()} if plain else set()
    among: dict[str, Callable[[], Any]] = {
        "contig_hint": lambda: {0} | lengths,
        "scan_hint": lambda: {0} | lengths,
        "contig_hint_start": lambda: {0} | starts,
        "scan_hint_start": lambda: {0} | starts,
        "left_free": lambda: edge(True),
        "right_free": lambda: edge(False),
        "first_free": lambda: [min(starts, default=n)],
    }
    for name in HINTS:
        setattr(block, name, s.code(s.number(name, 0, n + 1, among[name])))
    for start, length in HintTerms(block).runs if ends else ():
        s.point(start, start - 1, start + length, start + length - 1)
        s.run(start, start + length)
    return block
