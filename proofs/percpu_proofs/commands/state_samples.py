"""`percpu-spec state live --every S`, and files of samples: how a running kernel is watched."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from percpu_proofs.commands import output
from percpu_proofs.live.sample import Sample, changes, read_samples, samples_svg, watch
from percpu_proofs.live.subject import SubjectKind, reader_of, state_in


def show_watch(
    debug: Path | None,
    every: float,
    count: int | None,
    keep: Path | None,
    svg: Path | None,
    *,
    as_json: bool,
) -> None:
    """Sample the running kernel until Ctrl-C, or so often; then draw what was kept."""
    reader = reader_of("live", SubjectKind.LIVE, debug)
    show_samples(
        watch(
            reader,
            lambda copy: state_in(reader, copy, "live", owners=False),
            every,
            keep,
            count=count,
        ),
        "live",
        svg,
        keep,
        as_json=as_json,
    )


def show_samples(
    samples: Iterable[Sample], title: str, svg: Path | None, keep: Path | None, *, as_json: bool
) -> None:
    """Say what changes from sample to sample, and draw them all, interrupted or not."""
    seen: list[Sample] = []
    try:
        for sample in samples:
            changed = changes(seen[-1] if seen else None, sample)
            seen.append(sample)
            if as_json:
                output.print_line(sample)
            elif changed:
                output.echo(f"{sample['time']} {changed}")
    finally:
        if svg is not None:
            drawn = read_samples(keep) if keep is not None and keep.exists() else seen
            output.write_file(svg, samples_svg(drawn, f"{title}: {len(drawn)} samples"))
