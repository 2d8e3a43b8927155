"""From the initial state: operations that really lead linux_6_12 to what symbols refuted.

An obligation starts from any valid state, so what refutes it might be out of reach. Here the
allocator is booted at a small geometry and every list of allocations and frees is run, shortest
first, until a state breaks the clause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import percpu_reference
import percpu_spec
from percpu_contracts.clauses import hints
from percpu_proofs.bugs import BUGS
from percpu_proofs.prove.claim import Claim, ProofAttempt, Result
from percpu_proofs.prove.dependencies import short_names
from percpu_reference import build, chunk
from percpu_reference.variants import Allocator, variant_class, with_backing
from percpu_spec import gfp
from percpu_spec.geometry import Geometry

PAGES, BITS = 2, 8
GEOMETRY = Geometry(
    page=BITS * 4,
    unit=PAGES * BITS * 4,
    static=0,
    reserved=0,
    dyn=PAGES * BITS * 4,
    least_unit=PAGES * BITS * 4,
    cpus=1,
    reclaim_divisor=1,
    async_enabled=False,
)

Areas = tuple[tuple[Any, int], ...]
Judge = Callable[[Any, Geometry], str | None]

_CLAUSES: dict[str, tuple[Judge, str, str]] = {
    "HINT-3": (hints.right_is_exact, "block_refresh_hint-3", "block_update_hint_free-11"),
    "HINT-4": (hints.hints_are_ordered, "block_refresh_hint-6", "chunk_refresh_hint-4"),
    "HINT-5": (hints.chunk_hint_is_close, "next_md_free_region-4", "next_md_free_region-5"),
}
"""What judges a state, and bugs that break `reference` again within three operations.

linux_6_12 is broken without one.
"""


@dataclass(frozen=True)
class FromBoot(Claim):
    """A claim that no list of operations breaks a clause: refuted for what the variant breaks."""

    longest: int  # operations
    engine = "enumeration"

    @property
    def sources(self) -> tuple[Any, ...]:
        """Everything the operations run, and what judges."""
        seeded = (str(BUGS[bug]) for bug in self.bugs)
        return (
            percpu_reference, percpu_spec, hints, chunk, FromBoot, operation_lists, successors,
            plain_state, *seeded,
        )  # fmt: skip

    def check(self, timeout: float) -> Result:
        """Run every list, shortest first."""
        return self._search(_CLAUSES[self.clause][0], timeout)

    def check_twin(self, timeout: float) -> Result:
        """Look for a state at all in which some run is known."""
        return self._search(
            lambda chunk, geometry: "" if chunk.chunk_md.contig_hint < chunk.map_bits else None,
            timeout,
        )

    def check_bug(self, bug: str, timeout: float) -> Result:
        """Run every list on the bugged allocator."""
        cls = with_backing(BUGS[bug].planted(self.variant), GEOMETRY.backing)
        return self._search(_CLAUSES[self.clause][0], timeout, cls)

    def _search(
        self, judge: Judge, timeout: float, cls: type[Allocator] | None = None
    ) -> Result:
        attempt = ProofAttempt()
        root = build(self.variant, GEOMETRY)
        if cls is not None:
            root.__class__ = cls  # what booted it was the right one
        attempt.paths = 1  # states
        for steps, after, is_new in operation_lists(root, self.longest):
            attempt.paths += is_new
            wrong = judge(after.first_chunk, after.geometry) if is_new else None
            if wrong is not None:
                return attempt.result("refuted", f"{wrong} after {', '.join(steps)}")
            if attempt.seconds > timeout:
                message = f"not every list was tried within {timeout:.0f} s"
                return attempt.result("not confirmed", message)
        return attempt.result("confirmed")


def operation_lists(
    root: Allocator, longest: int, begin: Callable[[Allocator], None] = lambda state: None
) -> Iterator[tuple[tuple[str, ...], Allocator, bool]]:
    """Yield every list of operations, shortest first, its state, and whether that is a new one.

    Only lists that lead to a new state go on. begin is told the state before each operation.
    """
    level: list[tuple[Allocator, Areas, tuple[str, ...]]] = [(root, (), ())]
    known = {plain_state(root)}
    for _ in range(longest):
        longer = []
        for state, areas, steps in level:
            begin(state)
            for after, left, step in successors(state, areas):
                key = plain_state(after)
                yield (*steps, step), after, key not in known
                begin(state)
                if key not in known:
                    known.add(key)
                    longer.append((after, left, (*steps, step)))
        level = longer


def successors(state: Allocator, areas: Areas) -> Iterator[tuple[Allocator, Areas, str]]:
    """Yield the states after every operation, atomic, so that it has no gap that matters."""
    for bits in range(1, PAGES * BITS + 1):
        for shift in range(BITS.bit_length()):
            after, copies = state.clone()
            area = after.alloc(bits * 4, 4 << shift, gfp=gfp.ATOMIC | gfp.NOWARN)
            if area is not None:
                held = tuple((copies[c], off) for c, off in areas)
                yield after, (*held, area), f"take {bits} aligned to {1 << shift}"
    for number, (_, off) in enumerate(areas):
        after, copies = state.clone()
        moved = tuple((copies[c], o) for c, o in areas)
        after.free(moved[number])
        yield after, moved[:number] + moved[number + 1 :], f"free bit {off // 4}"


def plain_state(state: Allocator) -> object:
    """Return what two states have in common that no operation tells apart."""
    first = state.first_chunk
    return (
        bytes(first.alloc_map),
        bytes(first.bound_map),
        tuple(first.chunk_md.as_list()),
        tuple(tuple(block.as_list()) for block in first.md_blocks),
    )


def _from_boot(clause: str, variant: str, longest: int) -> FromBoot:
    """Return the claim that no list of so many operations breaks a clause on a variant."""
    broken = clause in variant_class(variant).EXPECTED
    return FromBoot(
        f"{clause.lower()}-from-boot-{variant}",
        clause,
        short_names(
            "Areas.alloc_area free_area Hints.block_update_hint_alloc block_update_hint_free"
        ),
        f"every list of up to {longest} allocations and frees from boot, {PAGES} pages of "
        f"{BITS} map bits, every size, aligned to 1 bit up to a page",
        longest,
        variant=variant,
        expected="refuted" if broken else "confirmed",
        bugs=() if broken else _CLAUSES[clause][1:],
    )


CLAIMS_FROM_BOOT = tuple(
    _from_boot(clause, variant, longest)
    for variant, longest in (("linux_6_12", 8), ("reference", 4))
    for clause in _CLAUSES
)
"""What linux_6_12 breaks, reached; and `reference`, as far as the same search goes."""
