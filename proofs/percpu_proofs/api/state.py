"""The state of a real kernel."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from percpu_proofs.api.display import Display
from percpu_proofs.api.drawing import draw
from percpu_proofs.explain import shipped
from percpu_proofs.live.memory import memory_of
from percpu_proofs.live.subject import SubjectKind, kind_of, read_subject
from percpu_proofs.recorded.states.kernel_state import KernelState
from percpu_proofs.recorded.states.snapshot import Snapshot
from percpu_proofs.run.inputs import InputError


class StateReport(Display):
    """A state of a kernel; `kernel` has all of it, `allocator` is a view."""

    def __init__(self, kernel: KernelState) -> None:
        self.kernel = kernel

    @property
    def allocator(self) -> Snapshot:
        """The state as a view."""
        return self.kernel.snapshot

    @property
    def release(self) -> str:
        """The kernel's release."""
        return self.kernel.release

    @property
    def rest(self) -> str:
        """Whether it was at rest: at rest, busy, torn, or not told."""
        return self.kernel.rest.value

    def show(self, out: Console) -> None:
        """Print the kernel, its memory, and all chunks."""
        kernel, memory = self.kernel, memory_of(self.kernel)
        counts = f"Percpu {memory.percpu_kb} kB, float {memory.float_pages} pages"
        chunks = f"{len(kernel.names)} chunks, at rest or not: {self.rest}"
        out.print(f"{kernel.release}: {chunks}; {counts}", markup=False, soft_wrap=True)
        out.print(draw(self).text, markup=False, soft_wrap=True)

    def _repr_html_(self) -> str:
        return draw(self).svg


def read_state(what: str | Path, *, debug: str | Path | None = None) -> StateReport:
    """Read a kernel's state: a file that `state --save` wrote, the name of a shipped one, a core
    or `live`.

    debug: a vmlinux with debug information. Cores and `live` need drgn, `live` root. Raises
    InputError or TraceError for what cannot be read, TornError and UnstableError for what is not
    one moment.
    """
    path = str(what) if str(what) == "live" else str(shipped.find(Path(what), "state"))
    kind = kind_of(path)
    if kind in (SubjectKind.STATS, SubjectKind.SAMPLES):
        raise InputError(path, None, f"a state; for {kind.value}: percpu-spec state FILE")
    symbols = None if debug is None else Path(debug)
    return StateReport(read_subject(path, kind, symbols, owners=False))
