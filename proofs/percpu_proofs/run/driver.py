"""Operations applied to an allocator for its callers, frees that API-2 forbids among them.

Such a free is a second one, of an address inside an area, or of one that nobody was given. Where a
kernel refuses it (7.0 and later: nothing changes, a warning is raised) the allocator is asked, and
judged. That takes an address in a populated page of a live chunk at which no area starts.
Everything else is the caller's error alone: it is reported as that and not carried out, as a kernel
would take another's area, spoil its books or read what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import RULES, WRONG, Operation, OperationList
from percpu_reference.chunk import Area
from percpu_reference.gaps import run
from percpu_reference.variants import Allocator
from percpu_spec.definitions import area_size

Place = tuple[int, int]
"""An address by the number of its chunk and the byte offset in it; the chunk may be gone."""


class HandleError(ValueError):
    """A caller's error, never one of the allocator (API-2)."""


class WrongFree(NamedTuple):
    """What a caller frees wrongly, in words, and what the allocator is asked to free.

    area: None if the allocator is not asked.
    """

    words: str
    area: Area | None

    def __str__(self) -> str:
        become = "not carried out" if self.area is None else "refused by the allocator"
        return f"{self.words}: {become}"


def place_of(area: Area | None) -> Place | None:
    """Return the place of an area, None for what a failed allocation has left."""
    return None if area is None else (area[0].id, area[1])


def aim(
    allocator: Allocator,
    operation: Operation,
    held: Mapping[int, Area | None],
    freed: Mapping[int, Place | None],
) -> WrongFree | None:
    """Return what an operation of a kind in operations.WRONG frees; None for a null pointer.

    held: areas by handle. freed: what handles held last. Raises HandleError where it names what is
    not as its kind says.
    """
    kind, arg, offset = operation[:3]
    if kind == "s":
        return WrongFree(_stray(allocator, arg), None)
    where: Place | None
    if kind == "d":
        if arg in held or arg not in freed:
            raise HandleError(f"handle {arg} has not been freed")
        where, what = freed[arg], "a second free of"
    elif arg in held:
        area = held[arg]
        size = area and area_size(area[0], area[1], allocator.geometry)
        if size is not None and offset >= size:
            raise HandleError(f"the area of handle {arg} has {size} bytes")
        where, what = place_of(area), f"a free of {offset} bytes into"
    elif arg in freed:
        where, what = freed[arg], f"a free of {offset} bytes into what was"
    else:
        raise HandleError(f"handle {arg} holds nothing")
    if where is None:
        return None
    number, start = where
    off = start + (offset if kind == "w" else 0)
    words = f"{what} byte {start} of chunk {number}"
    return _seen(allocator, number, off, words)


def _seen(allocator: Allocator, number: int, off: int, words: str) -> WrongFree:
    """Return the free with whether the allocator can be asked, and why not."""
    chunk = next((chunk for chunk in allocator.chunks() if chunk.id == number), None)
    if chunk is None:
        return WrongFree(f"{words}, which is gone", None)
    if not chunk.populated[off // allocator.page]:
        return WrongFree(f"{words}, whose page is gone", None)
    if area_size(chunk, off, allocator.geometry) is not None:
        return WrongFree(f"{words}, where another area is now", None)
    return WrongFree(words, (chunk, off) if allocator.CHECKS_FREES else None)


def _stray(allocator: Allocator, pointer: int) -> str:
    """Return what a pointer that no request was given points to."""
    geometry = allocator.geometry
    if 0 < pointer < geometry.static:
        return f"a free of the static variable at byte {pointer}"
    if pointer >= geometry.unit:
        return f"a free of pointer {pointer}, which is in no chunk"
    static = f"static is 1 to {geometry.static - 1}" if geometry.static else "nothing is static"
    raise HandleError(f"pointer {pointer}: {static}, no chunk is from {geometry.unit} on")


class Outcome(NamedTuple):
    """What an operation did: an area was handed out or freed, or the work ran."""

    ok: bool
    area: Area | None = None


class CallersError(NamedTuple):
    """A free that API-2 forbids: the number of its operation, from 1, and what became of it."""

    operation: int
    said: str


class Driver:
    """One allocator and the handles of its callers.

    failed: told of each allocation of a list that fails, the operation and its number from 1.
    """

    def __init__(
        self, allocator: Allocator, failed: Callable[[int, Operation], None] | None = None
    ) -> None:
        self.allocator = allocator
        self._failed = failed
        self.handles: dict[int, Area | None] = {}  # None: the allocation failed
        self.freed: dict[int, Place | None] = {}  # what handles held last
        self.errors: list[CallersError] = []
        self.operation = 0  # number of the one begun last, from 1
        self._monitor = allocator.monitor

    def run(self, listed: OperationList, start: int = 0, stop: int | None = None) -> None:
        """Apply operations [start, stop) of a list in order.

        Raises InputError with file and line for a caller's error; what the allocator raises passes
        through, and `operation` is then the one at fault.
        """
        try:
            for number, operation in enumerate(listed.operations[start:stop], start + 1):
                outcome = self.apply(number, operation)
                if self._failed is not None and operation[0] == "a" and not outcome.ok:
                    self._failed(number, operation)
        except HandleError as error:
            raise handle_problem(listed, self.operation - 1, error) from None

    def apply(self, number: int, operation: Operation) -> Outcome:
        """Apply one operation and return its outcome. Raises HandleError."""
        self.operation = number
        if self._monitor is not None:
            self._monitor.operation = number
        kind, arg, size, align, reserved, gfp = operation
        allocator = self.allocator
        if kind == "a":
            if self.handles.get(arg) is not None:
                raise HandleError(f"handle {arg} is in use")
            area = allocator.alloc(size, align, reserved=reserved, gfp=gfp)
            self.handles[arg] = area
            return Outcome(area is not None, area)
        if kind == "f":
            if arg not in self.handles:
                raise HandleError(f"handle {arg} holds nothing")
            area = self.handles.pop(arg)
            allocator.free(area)
            self.freed[arg] = place_of(area)
            return Outcome(area is not None)
        if kind in WRONG:
            return Outcome(self._free_wrongly(operation))
        if kind in "bB":
            due = kind == "b" or allocator.work_pending
            if due:
                allocator.balance()
            return Outcome(due)
        script(allocator, kind, arg)
        return Outcome(True)

    def _free_wrongly(self, operation: Operation) -> bool:
        """Do what API-2 forbids where the allocator refuses it; return whether it was asked."""
        wrong = aim(self.allocator, operation, self.handles, self.freed)
        if wrong is None:
            return False
        self.errors.append(CallersError(self.operation, str(wrong)))
        if wrong.area is not None:
            run(self.allocator.free_percpu(wrong.area))
        return wrong.area is not None


_FAULTS: Final = {
    "P": ("page_fault", "next"), "Q": ("page_fault", "kth"), "M": ("map_fault", "next"),
    "m": ("map_fault", "kth"), "C": ("vm_fault", "next"), "Z": ("metadata_fault", "kth"),
    "H": ("charge_fault", "next"),
}  # fmt: skip
"""Which failures to come a kind of operation sets: those of a fault, the next ones or the k-th."""


def script(allocator: Allocator, kind: str, arg: int) -> None:
    """Set up failures to come, or change the callers' circumstances."""
    env = allocator.env
    if kind in _FAULTS:
        fault, name = _FAULTS[kind]
        setattr(getattr(env, fault), name, arg)
    elif kind == "K":
        env.killed_waits = arg
    elif kind == "U":
        env.has_objcg = arg == 1
    elif kind == "E":
        allocator.async_enabled = True
    else:
        raise AssertionError(f"operation {kind!r} is not in the language")


def handle_problem(
    listed: OperationList, index: int, error: HandleError | None = None
) -> InputError:
    """Return the error for operation `index`, which names a handle wrongly, and say how."""
    kind, handle = listed.operations[index][:2]
    if kind in WRONG:
        return listed.problem(index, RULES[kind], str(error))
    lines = [
        line
        for line, earlier in zip(listed.lines, listed.operations[:index], strict=False)
        if earlier[:2] in (("a", handle), ("f", handle))
    ]
    if not lines:
        return listed.problem(index, "a handle allocated before", f"handle {handle}")
    expected, done = ("in use", "allocated") if kind == "a" else ("freed yet", "freed")
    return listed.problem(
        index, f"a handle not {expected}", f"handle {handle}, {done} at line {lines[-1]}"
    )
