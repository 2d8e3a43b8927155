"""A compiled kernel as what schedulers drive: one step at a time, and back to where it was."""

from __future__ import annotations

from percpu_proofs.kernel.search.compiled import REFUSED, WORK, CompiledSearch

_MOST_LABELS = 512


class CompiledSystem:
    """The operations of a compiled kernel (Restorable). What is met is entered in its search.

    Steps are labels. A saved state is the number of a node; the start is 0.
    """

    def __init__(self, search: CompiledSearch) -> None:
        self.search = search
        self.node = 0
        self.stopped = False  # the kernel has stopped, or there is no room for more states
        self._labels = search.ffi.new(f"int[{_MOST_LABELS}]")

    def enabled(self) -> list[int]:
        """Return the steps that can be taken now; where all is at rest, that is looked at too."""
        if self.stopped:
            return []
        count = self.search.lib.percpu_search_enabled(self.node, self._labels)
        return self.search.ffi.unpack(self._labels, count) if count else []

    def step(self, step: int) -> bool:
        """Take a step; return whether it led on. One that does not is undone, or the end."""
        lib = self.search.lib
        tally = self.search.tally
        states, stops = tally.states, tally.kernel_stops
        node = lib.percpu_search_step(self.node, step)
        if node < 0:
            self.stopped = bool(tally.full) or tally.kernel_stops > stops
            if not self.stopped:  # it was to be refused memory, and asked for none
                self.load(self.node)
            return False
        self.node = node
        if tally.states == states:  # known: its own schedule numbers actors as it will
            self.load(node)
        return True

    @property
    def at_rest(self) -> bool:
        """Whether no operation is under way."""
        return not any(step % REFUSED < WORK for step in self.enabled())

    def save(self) -> int:
        """Return what `load` comes back to."""
        return self.node

    def load(self, saved: int) -> None:
        """Go back to a saved state."""
        self.node = saved
        self.stopped = not self.search.lib.percpu_search_come(saved)
