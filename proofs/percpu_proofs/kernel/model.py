"""Which model a compiled kernel is held to: a variant, and what its version does by design.

What a kernel does is found by trying, and declared in every report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from percpu_proofs.kernel.changes import (
    FILLED,
    GIVES,
    HAS,
    SCOPE,
    SCOPED,
    SLEEPABLE,
    WORDS,
    BetweenError,
    Probe,
    between,
    changes_of,
    nearest,
    on_kernel,
    on_model,
    with_changes,
)
from percpu_proofs.kernel.instance import Library
from percpu_proofs.recorded.vectors import VERSIONS
from percpu_proofs.run.inputs import InputError
from percpu_reference.environment import Task
from percpu_reference.operations import Operations
from percpu_reference.state import UNLIMITED_WORK
from percpu_reference.variants import MERGED, Allocator, variant_class, variant_name
from percpu_reference.variants.fixes import ChunkRelativeEnd
from percpu_reference.variants.reference import FIXES, with_fixes
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import (
    DIRECT_RECLAIM,
    KERNEL,
    NOFAIL,
    NOIO,
    NORETRY,
    NOWARN,
    denied,
    flag_words,
)
from percpu_spec.steps import MemoryRequest

_SMALL: Final = Geometry(unit=32768, static=4096, reserved=0, dyn=28672, cpus=2)
_PRINTED: Final = Probe(
    (FILLED, "a 2 8192 4 A"), "failures printed", lambda seen: seen.state.env.printed > 0
)
_UNMAPPED: Final = Probe(
    (FILLED, "M 1", "a 2 4096 4 -"), "ranges unmapped", lambda seen: seen.state.env.unmaps > 0
)
_SLEPT: Final = Probe((FILLED, "a 2 8192 4 O"), "requests served", lambda seen: seen.ok)


@dataclass(frozen=True, slots=True)
class ModelVariant:
    """A variant, perhaps with fixes, and the declared differences of a kernel from it."""

    name: str = MERGED
    fixes: tuple[str, ...] = ()  # names of fixes, on top of the variant
    prints_atomic: bool = True  # failed atomic allocations are printed
    unmaps_failing: bool = True  # after a map failure the failing unit is unmapped too
    noio_sleeps: bool = True  # requests without I/O may sleep
    asks: str = ""  # how memory is asked for where that is not as in 6.12, one of FORMS
    backports: frozenset[str] = frozenset()  # releases of later changes that the kernel has too
    has: frozenset[str] | None = None  # releases of the changes found, where these chose the name

    @property
    def skip(self) -> frozenset[str]:
        """Counters that are not compared."""
        return VERSIONS[self.version]

    @property
    def version(self) -> str:
        """The version that vectors carry: how printed failures count."""
        return "6.12" if self.prints_atomic else "6.1"

    @property
    def declared(self) -> list[str]:
        """The declared differences, in words."""
        said = {
            "failed atomic allocations are not printed": not self.prints_atomic,
            "after a map failure the failing unit is not unmapped": not self.unmaps_failing,
            f"a caller's memory is asked for {self.asks}": self.asks not in ("", SCOPED),
            f"{WORDS[SCOPE]} ({SCOPE}, by backport)": self.asks == SCOPED,
        }
        found = [what for what, so in said.items() if so]
        if self.noio_sleeps != (variant_class(self.name).BLOCKING == DIRECT_RECLAIM):
            found.append(
                f"{WORDS[SLEEPABLE]} ({SLEEPABLE}, by backport)"
                if self.noio_sleeps
                else "requests without I/O count as atomic"
            )
        return found + [f"{WORDS[r]} ({r}, by backport)" for r in sorted(self.backports)]

    @property
    def changes(self) -> frozenset[str]:
        """The releases of the changes that the model has."""
        asked = {SLEEPABLE: self.noio_sleeps, SCOPE: self.asks == SCOPED}
        others = (HAS.get(self.name, frozenset()) | self.backports) - asked.keys()
        return others | {release for release, so in asked.items() if so}

    @property
    def because(self) -> str:
        """Why the variant was chosen: the newest change that the kernel has, the first it lacks."""
        if self.has is None:
            return ""
        mine = [f"{what} ({r})" for r, what in WORDS.items() if r in HAS[self.name]]
        lacks = [f"not: {what} ({r})" for r, what in WORDS.items() if r not in self.has]
        return "; ".join([*mine[-1:], *lacks[:1]])

    def variant(self) -> type[Allocator]:
        """Return the model's class. Raises UnknownVariantError, InputError for an unknown fix."""
        return _variant(self)


class LimitsInScope(Operations):
    """A tree that creates chunks and populates pages in a scope of the caller's limits (GFP-1).

    Its flags then limit all that is asked for on its behalf, as a scope of its own would: linux-mm,
    May 2026, "preserve NOFS/NOIO scope during chunk create and populate".
    """

    __slots__ = ()

    def task_of(self, gfp: int) -> Task:
        """Return how a caller asks for memory: within its limits, in all that it asks for."""
        return super().task_of(gfp)._replace(forbids=denied(gfp))


_LIMITED: Final = NOIO | NORETRY | NOWARN | NOFAIL
FORMS: Final[dict[str, dict[str, Any]]] = {
    "": {},
    SCOPED: {},
    "with its own flags throughout": {"INNER": None},
    "without I/O and file systems": {"HANDED_ON": _LIMITED, "INNER": None},
    "without I/O and file systems, but for areas and page tables": {"HANDED_ON": _LIMITED},
}
"""How trees ask for memory on a caller's behalf, with what of a variant that changes."""


SLEEPS_NOT: Final = {"BLOCKING": KERNEL, "WORK": UNLIMITED_WORK}
"""What a tree has in which a request without I/O may not sleep."""


@cache
def _variant(model: ModelVariant) -> type[Allocator]:
    """Return a model's class: a variant with fixes, and what its tree does by design."""
    base = variant_class(model.name)
    if model.fixes:
        known = {fix.NAME: fix for fix in (*FIXES, ChunkRelativeEnd)}
        for name in model.fixes:
            if name not in known:
                raise InputError("fix", None, f"one of {', '.join(known)}", name)
        base = with_fixes(*(f for n, f in known.items() if n in model.fixes), base=base)
    base = with_changes(base, model.backports)
    names = dict(FORMS[model.asks])
    if model.noio_sleeps != (base.BLOCKING == DIRECT_RECLAIM):
        names |= GIVES[SLEEPABLE] if model.noio_sleeps else SLEEPS_NOT
    scoped = model.asks == SCOPED
    if not names and not scoped:
        return base
    bases = (LimitsInScope, base) if scoped else (base,)
    return cast("type[Allocator]", type(base.__name__, bases, {"__slots__": (), **names}))


def probe(library: Library, name: str | None = None, fixes: tuple[str, ...] = ()) -> ModelVariant:
    """Return the model for a library with vm backing: the variant named, or what its probes say.

    Raises KernelStopped, and InputError for a kernel between two known behaviours.
    """
    seen = [on_kernel(library, one, _SMALL) for one in (_PRINTED, _UNMAPPED, _SLEPT)]
    model = ModelVariant(name or MERGED, fixes, *seen)
    if name is not None:
        model = replace(model, name=variant_name(name))
    else:
        found = changes_of(library)
        chosen = nearest(found)
        more = found - HAS[chosen] - {SLEEPABLE}
        model = replace(model, name=chosen, backports=more, has=found)
    asked = [on_kernel(library, requests_behind(lines), _SMALL) for lines in ASKING]
    try:
        asks = form_of(asked, model, library.source)
    except BetweenError:
        if name is None:
            raise
        asks = ""  # a variant that is named is compared all the same
    if model.has is not None and asks == SCOPED:
        model = replace(model, has=model.has | {SCOPE})
    return replace(model, asks=asks)


ASKING: Final = tuple((FILLED, f"a 2 4096 4 {flags}") for flags in ("Y", "SY", "OY"))
"""Each creates a chunk and populates a page: without limits, without file systems, without I/O."""
Requests = Mapping[MemoryRequest, int]


def requests_behind(lines: tuple[str, ...]) -> Probe[Requests]:
    """Return the probe of what was asked for behind operations."""
    return Probe(lines, "requests for memory", lambda seen: seen.requests)


def form_of(seen: Sequence[Requests], model: ModelVariant, source: Path | None = None) -> str:
    """Return how a kernel asks for a caller's memory, the one of FORMS that all of ASKING show.

    seen: what it asked for in each. Raises InputError if there is none, with what the nearest two
    would ask for.
    """
    wanted = {
        form: [
            on_model(replace(model, asks=form).variant(), requests_behind(lines), _SMALL)
            for lines in ASKING
        ]
        for form in FORMS
    }
    for form, asked in wanted.items():
        if asked == [*seen]:
            return form

    def distance(form: str) -> tuple[int, int]:
        apart = [len(ours.items() ^ asked.items())
                 for ours, asked in zip(wanted[form], seen, strict=True)]
        return sum(map(bool, apart)), sum(apart)

    first, second = sorted(FORMS, key=distance)[:2]
    at = next(n for n, asked in enumerate(seen) if asked != wanted[first][n])
    expected = [
        f"{_more(wanted[form][at], seen[at])} ({form or 'as in 6.12'})"
        for form in (first, second)
        if wanted[form][at] != seen[at]
    ]
    if len(expected) == 1:  # which the second does: it does not where the first does
        like = next(n for n, asked in enumerate(seen)
                    if asked == wanted[first][n] != wanted[second][n])
        expected[0] += f", as after {ASKING[like][-1]}"
    raise between(
        source, "; ".join(ASKING[at]), " or ".join(expected),
        _more(seen[at], wanted[first][at]),
    )  # fmt: skip


def _more(asked: Requests, other: Requests) -> str:
    """Return in words what is asked for, or more often, than otherwise."""
    kinds: dict[int, list[str]] = {}  # by their flags
    for request in sorted(asked):
        if asked[request] > other.get(request, 0):
            kinds.setdefault(request.gfp, []).append(request.kind)
    words = [f"{flag_words(flags)} for {', '.join(named)}" for flags, named in kinds.items()]
    return "; ".join(words) or "nothing more"

