"""An obligation: a claim about real functions of the allocator, asked of every small case.

It is a function of a scene: it builds a state from what the case chooses, calls the real function
on it, without contracts, and raises BrokenError for what is wrong. It raises VacuousError where its
assumptions do not hold.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from percpu_proofs.bugs import BUGS
from percpu_proofs.prove.claim import Claim, Result, State
from percpu_proofs.prove.dependencies import short_names, sources_of
from percpu_proofs.prove.small import case
from percpu_proofs.prove.small.case import Size
from percpu_proofs.prove.small.scene import Scene
from percpu_proofs.run.choices import Choices
from percpu_reference.variants import Allocator, variant_class

BOTH = ("linux_6_12", "reference")

Judge = Callable[[type[Allocator], Choices, Size], None]


@dataclass(frozen=True)
class Obligation(Claim):
    """A claim that is asked in every case of two sizes, of the small one where it adds to these."""

    small: Size
    large: Size
    judge: Judge
    engine = "enumeration"

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes that are asked, smaller first."""
        return sizes_to_try(self.small, self.large)

    @property
    def sources(self) -> tuple[Any, ...]:
        """What the result depends on."""
        return sources_of(self, inspect.getmodule(self.judge), case)

    def check(self, timeout: float) -> Result:
        """Try every case."""
        return self.enumerate(timeout)

    def check_twin(self, timeout: float) -> Result:
        """Look for a case that says something."""
        return self.enumerate(timeout, twin=True)

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Try every case with one bug seeded; those of the smaller size first, often enough."""
        sizes = (self.small, self.large)
        return self.enumerate(timeout, sizes=sizes, cls=BUGS[bug].planted(self.variant))

    def enumerate(
        self,
        timeout: float,
        *,
        sizes: Sequence[Size] = (),
        cls: type[Allocator] | None = None,
        twin: bool = False,
    ) -> Result:
        """Ask in every case of the sizes, or of these; of a bugged class instead of the variant's.

        twin: as if every case were wrong.
        """
        asked = cls or variant_class(self.variant)
        judge = functools.partial(self.judge, asked)
        return case.enumerate_cases(judge, sizes or self.sizes, timeout, twin=twin)


def sizes_to_try(small: Size, large: Size) -> tuple[Size, ...]:
    """Return the large size, and before it the small one where that is not part of it."""
    inside = all(less <= more for less, more in zip(small, large, strict=True))
    return (large,) if inside else (small, large)


def obligation(
    clause: str,
    functions: str,
    *,
    words: str,
    name: str = "",
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
    variants: tuple[str, ...] = ("linux_6_12",),
    fixed: bool = False,
    **options: Any,
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Enter a function of a scene as an obligation of every variant named.

    fixed: instead of what linux_6_12 is known to break and `reference` keeps. pcpu_lock is held in
    the scene, unless one of the forms of this decorator below says otherwise.

    Its id is its name with dashes unless told; for another variant than linux_6_12 the variant's
    name follows.
    functions: see short_names. words say the bound, with {pages}, {bits} and {moves} of a size;
    sizes are the small and the large one. options are the scene's: one that is a range or a list is
    chosen by the case, one that is a function computed from choices and size.
    """

    def enter(judge: Callable[[Scene], None]) -> Callable[[Scene], None]:
        @functools.wraps(judge)
        def judge_case(cls: type[Allocator], choose: Choices, size: Size) -> None:
            given = {name: _choose(option, choose, size) for name, option in options.items()}
            judge(Scene(cls, choose, size, **given))

        small, large = (Size(*size) for size in sizes)
        asked = sizes_to_try(small, large)
        bound = "; and ".join(words.format(**size._asdict()) for size in asked)
        for variant in ("reference", "linux_6_12") if fixed else variants:
            claim_id = name or judge.__name__.replace("_", "-")
            if variant != "linux_6_12":
                claim_id += f"-{variant}"
            broken = fixed and variant == "linux_6_12"
            expected: State = "refuted" if broken else "confirmed"
            OBLIGATIONS.append(Obligation(
                claim_id, clause, short_names(functions), bound, small, large, judge_case,
                variant=variant, expected=expected,
            ))  # fmt: skip
        return judge

    return enter


without_locks = functools.partial(obligation, lock=False)
with_mutex = functools.partial(obligation, lock=False, mutex=True)
with_both_locks = functools.partial(obligation, mutex=True)


def any_pages(choose: Choices, size: Size) -> Size:
    """Choose a number of pages up to that of a size; an option of scenes."""
    return Size(1 + choose.number(size.pages), size.bits)


def _choose(option: Any, choose: Choices, size: Size) -> Any:
    if isinstance(option, range | list):
        return choose.pick(option)
    return option(choose, size) if callable(option) else option


OBLIGATIONS: list[Obligation] = []
"""Every obligation of the modules imported so far, in the order of definition."""
