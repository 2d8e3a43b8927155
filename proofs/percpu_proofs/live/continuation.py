"""The model goes on from a kernel's state: what a request gets, what the balance work would do."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from percpu_proofs.recorded.replay.actors import model_in_state
from percpu_proofs.recorded.states.kernel_state import KernelState, Stability
from percpu_proofs.run.room import Demand, longest_hole
from percpu_reference.chunk import Chunk
from percpu_reference.variants import SINCE, Allocator, variant_class
from percpu_spec.counts import counted
from percpu_spec.definitions import empty_populated_pages, longest_free_run, slots_per_type
from percpu_spec.gfp import KERNEL, NOWARN
from percpu_spec.views import ChunkView

_MOST_RUNS = 64  # of the balance work, one after the other (BAL-3)


def cannot_go_on(state: KernelState, broken: Collection[str]) -> str:
    """Return why the model does not go on from a state, in words; empty if it does.

    broken: the clauses that the state breaks and its release does not.
    """
    if state.stability is Stability.TORN:
        return "it is torn: pcpu_lock was held, so what it shows is a hint only"
    if broken:
        return f"the state breaks {', '.join(broken)}"
    snapshot = state.snapshot
    model = variant_class(state.variant or next(iter(SINCE)))
    if snapshot.chunk_types != model.chunk_types:
        types = counted(snapshot.chunk_types, "type")
        return f"it has {types} of chunks, a {state.release} has others"
    return ""


def model_of(state: KernelState, variant: str = "") -> Allocator:
    """Return the model in a state, whatever was under way ended, the work asked for if it was.

    variant: that of the kernel's release, or the oldest, unless given.
    """
    name = variant or state.variant or next(iter(SINCE))
    model = model_in_state(variant_class(name), state.snapshot)
    model.work_pending = bool(state.quiescence.pending) or bool(state.snapshot.atomic_alloc_failed)
    return model


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """What became of a request. chunk: its number, or "new"; off: bytes from its start.

    populated: pages of a unit that were populated for it. asks: for balance work. later: where it
    would be served once the work has run, for one that failed.
    """

    request: Demand
    chunk: str | None
    off: int
    page: int
    populated: int
    asks: bool
    later: str | None = None

    @property
    def words(self) -> str:
        """The answer in words."""
        asks = "; asks for balance work" if self.asks else ""
        if self.chunk is None:
            later = f"; after the balance work in {self.later}" if self.later else ""
            return f"{self.request}: fails{asks}{later}"
        where = _chunk_words(self.chunk)
        filled = f", {counted(self.populated, 'page')} populated for it" if self.populated else ""
        return f"{self.request}: {where}, byte {self.off}, page {self.page}{filled}{asks}"

    def as_json(self) -> dict[str, Any]:
        """Return the answer with plain values."""
        return {
            "size": self.request.size, "align": self.request.align, "atomic": self.request.atomic,
            "served": self.chunk is not None, "chunk": self.chunk, "off": self.off,
            "page": self.page, "pages_populated": self.populated, "asks_for_work": self.asks,
            "after_work": self.later,
        }  # fmt: skip


def ask(state: KernelState, request: Demand) -> RequestOutcome:
    """Return what the kernel would answer to a request in this state, memory being plentiful."""
    model = model_of(state)
    names = {chunk.base_addr: name for chunk, name in state.names.items()}
    asked, pages = model.env.balance_requests, model.nr_populated
    gfp = NOWARN if request.atomic else KERNEL
    area = model.alloc(request.size, request.align, gfp=gfp)
    asks = model.env.balance_requests > asked
    if area is None:
        run_work(model)
        again = model.alloc(request.size, request.align, gfp=gfp)
        later = None if again is None else _chunk_words(names.get(again[0].base_addr, "new"))
        return RequestOutcome(request, None, -1, -1, 0, asks, later)
    chunk, off = area
    page = off // state.snapshot.geometry.page
    populated = model.nr_populated - pages
    return RequestOutcome(request, names.get(chunk.base_addr, "new"), off, page, populated, asks)


def _chunk_words(name: str) -> str:
    return "a new chunk" if name == "new" else f"chunk {name}"


def run_work(model: Allocator) -> int:
    """Run the balance work until it asks for itself no more; return how often it ran."""
    runs = 0
    while (model.work_pending or not runs) and runs < _MOST_RUNS:
        model.balance()
        runs += 1
    return runs


@dataclass(frozen=True, slots=True)
class After:
    """A state after the balance work: kB of Percpu and of it stranded, pages in the float."""

    variant: str
    runs: int
    percpu_kb: int
    stranded_kb: int
    float_pages: int
    chunks: int


def after_work(state: KernelState) -> Iterator[After]:
    """Yield what the balance work would leave, with the kernel's variant and with all fixes."""
    own = state.variant or next(iter(SINCE))
    fixed = ["reference"] if state.snapshot.chunk_types == 1 and own != "reference" else []
    for name in (own, *fixed):
        model = model_of(state, name)
        runs = run_work(model)
        geometry = model.geometry
        stranded = sum(empty_populated_pages(c, geometry) for c in model.chunks() if c.isolated)
        yield After(
            name, runs, model.nr_populated * geometry.page * geometry.units // 1024,
            stranded * geometry.page * geometry.cpus // 1024,
            sum(model.float_of(kind) for kind in range(model.chunk_types)),
            sum(1 for _ in model.listed_chunks()),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest request, in bytes, that one kind of request gets from the chunks as they are."""

    served: int
    if_hints_were_right: int


def largest(state: KernelState) -> dict[str, Largest]:
    """Return the largest request that chunks as they are serve, blocking and atomic.

    A blocking one that they do not serve gets a new chunk, memory being there.
    """
    model = model_of(state)
    found = {}
    for kind, atomic in (("blocking", False), ("atomic", True)):
        served = fitting = 0
        for number, chunk in _searchable(model):
            if number % slots_per_type(model):  # no request looks at slot 0
                served = max(served, _served(model, number, chunk, atomic, served))
            fitting = max(fitting, _fitting(model, chunk, atomic, fitting))
        found[kind] = Largest(served * model.granule, fitting * model.granule)
    return found


def _searchable(model: Allocator) -> Iterator[tuple[int, Chunk]]:
    """Yield the chunks on lists, with the list's number, but for those that wait for reclaim."""
    for head in model.chunk_lists:
        if head.slot % slots_per_type(model) != model.to_depopulate_slot:
            for chunk in head:
                yield head.slot, chunk


def _served(model: Allocator, number: int, chunk: Chunk, atomic: bool, least: int) -> int:
    """Return the largest request in bits that a chunk serves where it is listed.

    At most `least` if it serves no larger one.
    """
    slot = number % slots_per_type(model)
    # a request looks at the slots from its size's on: those of larger ones are not for this slot
    most = bisect_right(model.slot_of_bits, slot, 1, model.largest // model.granule + 1) - 1
    low, high = least, min(most, chunk.chunk_md.contig_hint)
    if high <= least or model.find_block_fit(chunk, least + 1, 1, atomic) < 0:
        return least
    while low < high:
        middle = (low + high + 1) // 2
        if model.find_block_fit(chunk, middle, 1, atomic) >= 0:
            low = middle
        else:
            high = middle - 1
    return low


def _fitting(model: Allocator, chunk: ChunkView, atomic: bool, least: int) -> int:
    """Return the largest request in bits that has room in a chunk, by its maps; at least `least`.
    """
    longest = longest_free_run(chunk.alloc_map)[1]
    if atomic and longest > least:
        longest = longest_hole(chunk, model.geometry, model.granule, backed=True) // model.granule
    return max(least, min(longest, model.largest // model.granule))
