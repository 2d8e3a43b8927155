"""Operations and points of the kernel's code in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from percpu_proofs.counterexample.record import Spoken
from percpu_proofs.run.operations import HANDLES, Operation, flags_of, text_of
from percpu_reference.gaps import Gap, Kind

_FLAGS: Final = {
    "A": "GFP_ATOMIC", "N": "GFP_NOWAIT", "O": "GFP_NOIO", "S": "GFP_NOFS", "G": "__GFP_ACCOUNT",
    "F": "__GFP_NOFAIL", "W": "__GFP_NOWARN", "Y": "__GFP_NORETRY", "R": "reserved",
    "o": "in a scope without I/O", "s": "in a scope without file systems",
}  # fmt: skip
_SCRIPTS: Final = {
    "b": "run the balance work",
    "B": "run the balance work if it is pending",
    "P": "the next {} page allocations fail",
    "Q": "page allocation {} from now fails",
    "M": "the next {} mappings of a unit's range fail",
    "m": "mapping {} of a unit's range from now fails",
    "C": "the next {} chunk creations find no vm area",
    "Z": "metadata allocation {} from now fails",
    "K": "the next {} killable waits for pcpu_alloc_mutex are killed",
    "H": "the next {} charges fail",
    "E": "asynchronous balance work becomes available",
}
_NEXT: Final = {
    Kind.CREATE: "create a chunk", Kind.GROW: "create a chunk", Kind.FILL: "populate",
    Kind.POPULATE: "populate", Kind.RELEASE: "unmap", Kind.FLUSH: "flush the translations of",
    Kind.DRAIN: "unmap", Kind.DESTROY: "destroy",
}  # fmt: skip


class Names:
    """Letters for handles, in the order in which operations name them: a, b, ... z, aa, ab."""

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self._numbers: dict[int, int] = {}
        for kind, handle, *_ in operations:
            if kind in HANDLES:
                self._numbers.setdefault(handle, len(self._numbers))

    def of(self, handle: int) -> str:
        """Return the letter of a handle."""
        number = self._numbers.setdefault(handle, len(self._numbers))
        letters = ""
        while number >= 0:
            letters = chr(ord("a") + number % 26) + letters
            number = number // 26 - 1
        return letters

    def spoken(self, operation: Operation) -> Spoken:
        """Return an operation in words and in the operation language."""
        return Spoken(self.words(operation), text_of(operation))

    def words(self, operation: Operation) -> str:
        """Return an operation in words.

        >>> from pathlib import Path
        >>> from percpu_proofs.run.operations import parse_operations
        >>> read = parse_operations(Path("x"), ["a 7 64 32 AG", "f 7"]).operations
        >>> [Names(read).words(operation) for operation in read]
        ['allocate 64 bytes aligned to 32, GFP_ATOMIC, __GFP_ACCOUNT (a)', 'free a']
        """
        kind, arg, size, align, _, _ = operation
        if kind == "a":
            aligned = f" aligned to {align}" if align > 4 else ""
            letters = flags_of(operation)
            flags = "".join(f", {_FLAGS[letter]}" for letter in letters if letter != "-")
            return f"allocate {size} bytes{aligned}{flags} ({self.of(arg)})"
        if kind == "f":
            return f"free {self.of(arg)}"
        if kind == "d":
            return f"free {self.of(arg)} once more"
        if kind == "w":
            return f"free the address {size} bytes into {self.of(arg)}"
        if kind == "s":
            return f"free the percpu pointer {arg}, of no area"
        if kind == "U":
            return f"the task {'gets an' if arg else 'has no'} object cgroup"
        return _SCRIPTS[kind].format(arg)


def pages(start: int, end: int) -> str:
    """Return a range of pages [start, end) as a closed one.

    >>> pages(1, 5), pages(3, 4)
    ('pages [1, 4]', 'page 3')
    """
    return f"page {start}" if end == start + 1 else f"pages [{start}, {end - 1}]"


def position_of(gap: Gap, *, locked: bool) -> tuple[str, str]:
    """Return where a running operation stands, and what it does next.

    locked: pcpu_lock was taken on the way there.
    """
    if gap.kind is Kind.WAIT:
        return "waits for pcpu_alloc_mutex", ""
    ahead = _NEXT.get(gap.kind, gap.name.partition(": ")[2] or gap.name)
    if gap.end > gap.start:
        ahead += f" {pages(gap.start, gap.end)}"
        ahead += f" of chunk {gap.chunk.id}" if gap.chunk is not None else ""
    elif gap.chunk is not None:
        ahead += f" chunk {gap.chunk.id}"
    return "pcpu_lock released" if locked else "stands", ahead
