"""Recorded kernel runs: reading traces, boot layouts and state files, whole or not at all."""

from percpu_proofs.traces.events import Event, TraceError
from percpu_proofs.traces.layout import layout, read_layout
from percpu_proofs.traces.reader import Run, Trace, read_run, read_trace
from percpu_proofs.traces.snapshot import Snapshot
from percpu_proofs.traces.state_text import read_snapshot

__all__ = [
    "Event",
    "Run",
    "Snapshot",
    "Trace",
    "TraceError",
    "layout",
    "read_layout",
    "read_run",
    "read_snapshot",
    "read_trace",
]
