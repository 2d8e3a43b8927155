"""The lemmas that linux_6_12 refutes, with a counterexample on the allocator itself, from boot.

A lemma starts from any valid state, so what refutes it might be out of reach. Here every short list
of operations is run from boot at a small geometry, and calls of the lemma's function are logged.
One counts if every clause about hints held before the operation, if the operation breaks the
clause, and if the lemma, asked about the very values of the call, does not hold of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from percpu_contracts.whole_state import WholeState
from percpu_proofs.prove.any_size.blocks import ANY_VALID, breaking, entering
from percpu_proofs.prove.any_size.invariants import EXACT, ORDER, PASSES_NOTHING, HintTerms
from percpu_proofs.prove.any_size.lemma import Lemma, case_text, lemma
from percpu_proofs.prove.any_size.merging import telling
from percpu_proofs.prove.any_size.scene import LemmaScene, small_cases
from percpu_proofs.prove.from_boot import GEOMETRY, operation_lists
from percpu_reference import build
from percpu_reference.chunk import Block, Chunk
from percpu_reference.variants import Allocator
from percpu_reference.variants.linux_6_12 import Linux612

LONGEST = 4  # operations

Case = Mapping[str, Any]
"""A lemma's inputs by name; maps as lists of truths."""
Inputs = Callable[..., Case | None]
"""Returns the inputs of a call: given the maps before the operation by chunk, and its arguments."""


class NotReachedError(LookupError):
    """No list of operations from the initial state shows the counterexample."""


def update_inputs(
    before: Mapping[int, bytes], allocator: Allocator, block: Block, start: int, end: int
) -> Case | None:
    """Return the inputs of block_update: a run freed in part, entered into the hints of a block."""
    for chunk in allocator.chunks():
        for index, other in enumerate(chunk.md_blocks):
            if other is block:
                base = index * block.nr_bits
                old = before[chunk.id][base : base + block.nr_bits]
                now = chunk.alloc_map[base : base + block.nr_bits]
                freed = [bit for bit, used in enumerate(old) if used and not now[bit]]
                if not freed:
                    return None
                return {
                    "n": block.nr_bits, "used": list(map(bool, old)), "start": start, "end": end,
                    "first freed": freed[0], "freed behind": freed[-1] + 1,
                    **HintTerms(block).by_name(),
                }  # fmt: skip
    return None  # a chunk's hints as a whole


def alloc_inputs(
    before: Mapping[int, bytes], allocator: Allocator, chunk: Chunk, first: int, bits: int
) -> Case | None:
    """Return the inputs of block_update_hint_alloc: an area taken inside one block."""
    index, off = divmod(first, allocator.block_bits)
    block = chunk.md_blocks[index]
    if off + bits > block.nr_bits:
        return None
    used = before[chunk.id][: (index + 1) * block.nr_bits]
    return {
        "n": block.nr_bits, "first": first, "bits": bits, "used": list(map(bool, used)),
        **HintTerms(block).by_name(),
    }  # fmt: skip


def free_inputs(
    before: Mapping[int, bytes], allocator: Allocator, chunk: Chunk, s_index: int, e_index: int,
    s_off: int, e_off: int,
) -> Case | None:  # fmt: skip
    """Return the inputs of chunk_update_hint_free: the run that a free left inside one block."""
    if s_index != e_index:
        return None
    case = {
        "n": allocator.block_bits, "blocks": len(chunk.md_blocks), "block": s_index,
        "used": list(map(bool, chunk.alloc_map)), "start": s_off, "end": e_off,
        **HintTerms(chunk.chunk_md).by_name(),
    }  # fmt: skip
    for number, block in enumerate(chunk.md_blocks):
        case[f"block.left_free[{number}]"] = block.left_free
        case[f"block.right_free[{number}]"] = block.right_free
    return case


def refutation(asked: Lemma, case: Case) -> LemmaScene | None:
    """Return the scene of a case that a lemma speaks of and does not hold of, else None.

    Numbers that the case leaves open, such as the bit that a claim is about, are tried one by one.
    """
    known = dict(case)
    for name, value in case.items():
        if isinstance(value, list):
            known |= {f"{name}[{index}]": member for index, member in enumerate(value)}
    size = GEOMETRY.unit_bits
    scenes = small_cases(asked.scenario, size, size**2, None, known)
    return next((scene for scene in scenes if scene.broken), None)


def from_boot(
    clause: str, function: str, inputs: Inputs, longest: int = LONGEST
) -> Callable[[Lemma], str]:
    """Return what finds operations that break a clause by a call that refutes a lemma.

    It returns them with what is broken and the values of the call. It raises NotReachedError.
    """

    def find(asked: Lemma) -> str:
        calls = _CallLog(function, inputs)
        for steps, after, _ in operation_lists(build(calls.cls, GEOMETRY), longest, calls.begin):
            scenes = [refutation(asked, case) for case in calls.cases] if calls.valid else []
            scene = next((scene for scene in scenes if scene is not None), None)
            if scene is None:
                continue
            broken = dict(WholeState().broken(after))
            if clause in broken:
                return f"{', '.join(steps)}: {broken[clause]}; at {case_text(scene.inputs)}"
        raise NotReachedError(
            f"{clause}: no list of up to {longest} operations breaks it by {function}"
        )

    return find


class _CallLog:
    """Logs the calls of a function of linux_6_12 in the operation under way, as cases.

    valid: whether all hints were valid before the operation.
    """

    def __init__(self, function: str, inputs: Inputs) -> None:
        self.cases: list[Case] = []
        self.before: dict[int, bytes] = {}
        self.valid = True
        self._state: Allocator | None = None

        def logged(allocator: Any, *given: Any) -> Any:
            if self.before:
                case = inputs(self.before, allocator, *given)
                if case is not None:
                    self.cases.append(case)
            return getattr(Linux612, function)(allocator, *given)

        self.cls = type("Linux612", (Linux612,), {"__slots__": (), function: logged})

    def begin(self, state: Allocator) -> None:
        """Forget all and log what is called from this state."""
        self.cases.clear()
        if state is not self._state:
            self._state = state
            self.before = {chunk.id: bytes(chunk.alloc_map) for chunk in state.chunks()}
            wrong = (name for name, _ in WholeState().broken(state))
            self.valid = not any(name.startswith("HINT") for name in wrong)


# what linux_6_12 breaks: no invariant of its own is re-established by these functions

lemma(
    "linux-block-update-ordered", "HINT-4", "Hints.block_update", ANY_VALID,
    "a run entered into a block leaves scan_hint behind contig_hint exactly if as long",
    expected="refuted", from_boot=from_boot("HINT-4", "block_update", update_inputs),
)(entering(Linux612, EXACT, (ORDER,)))  # fmt: skip
lemma(
    "linux-alloc-right-edge", "HINT-3", "Hints.block_update_hint_alloc block_refresh_hint",
    ANY_VALID, "an area taken out of contig_hint leaves right_free exact",
    expected="refuted", from_boot=from_boot("HINT-3", "block_update_hint_alloc", alloc_inputs),
)(breaking(Linux612))  # fmt: skip
lemma(
    "linux-free-tells-the-chunk", "HINT-5", "Hints.chunk_update_hint_free",
    "any block size, any number of blocks, any map, any chunk hints that are free runs",
    "after a free inside a block the chunk's contig_hint is not shorter than the run it left",
    expected="refuted", from_boot=from_boot("HINT-5", "chunk_update_hint_free", free_inputs),
)(telling(Linux612, False))  # fmt: skip
lemma(
    "linux-update-passes-nothing", "FIT-1", "Hints.block_update", ANY_VALID,
    "a run entered into a block leaves no run before scan_hint that is longer than it",
    expected="refuted",
)(entering(Linux612, EXACT, (PASSES_NOTHING,)))  # fmt: skip
