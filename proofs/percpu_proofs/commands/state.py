"""`percpu-spec state`: a kernel's percpu state, of a core, a running kernel or a text, judged."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from percpu_proofs.commands import options, output, state_report
from percpu_proofs.commands.moments import map_svg, map_text, picture_of_kernel
from percpu_proofs.commands.state_mail import state_mail, stats_mail
from percpu_proofs.live.continuation import after_work, ask, cannot_go_on, largest
from percpu_proofs.live.memory import memory_of
from percpu_proofs.live.reader import TornError
from percpu_proofs.live.sample import (
    Sample,
    StableChunks,
    UnstableError,
    changes,
    read_samples,
    samples_svg,
    watch,
)
from percpu_proofs.live.subject import SubjectKind, kind_of, read_subject, reader_of, state_in
from percpu_proofs.live.verdicts import (
    NOT_DETERMINED,
    KernelStateJudge,
    Verdict,
    broken,
    empty_pages,
    floats,
    stats_rows,
    stats_verdicts,
    verdict_records,
)
from percpu_proofs.recorded.states.kernel_state import KernelState, Stability
from percpu_proofs.recorded.states.saved_state import save_state
from percpu_proofs.recorded.states.stats_text import read_stats
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.room import Demand
from percpu_proofs.show.picture import StatePicture
from percpu_spec.definitions import is_legal
from percpu_spec.geometry import Geometry

_FORM = "SIZE[,ALIGN][,atomic]"


def _request(given: str) -> Demand:
    """Return a request in bytes; alignment 8, as most callers have it, unless given."""
    parts = given.split(",")
    atomic = parts[-1] == "atomic"
    numbers = parts[: len(parts) - atomic]
    if not 1 <= len(numbers) <= 2 or not all(n.isdecimal() and len(n) < 10 for n in numbers):
        raise click.BadParameter(f"{given!r}: expected {_FORM}, sizes in bytes")
    return Demand(int(numbers[0]), int(numbers[1]) if numbers[1:] else 8, atomic)


def _seconds(context: click.Context, option: click.Parameter, given: float | None) -> float | None:
    """Return a time to wait, which has an end: a range of numbers lets nan and inf pass."""
    if given is not None and not math.isfinite(given):
        raise click.BadParameter(f"{given} is no number of seconds")
    return given


@click.command()
@click.argument("what")
@options.debug
@click.option("--chunk", "name", help="Draw this chunk: its number, -1 the reserved one.")
@click.option("--map", "whole", is_flag=True, help="Draw all chunks on one page.")
@click.option("--svg", type=output.NewFile(), help="Write what --chunk or --map draws as SVG.")
@click.option("--who", is_flag=True, help="Name who holds the memory, by chunk and page.")
@click.option(
    "--ask", "requests", metavar=_FORM, multiple=True, type=_request,
    help="Tell what such a request would get; the kernel raises alignments below 4 to 4.",
)
@click.option(
    "--what-if", "what_if", type=click.Choice(["work"]),
    help="Run the balance work on the state, and tell what it changes.",
)
@click.option(
    "--save", type=output.NewFile(),
    help="Write the state as a text, to send or keep; with --every, append samples.",
)
@click.option(
    "--every", type=click.FloatRange(min=0.1), metavar="SECONDS", callback=_seconds,
    help="Sample the running kernel again and again; --svg draws them.",
)
@click.option("--count", type=click.IntRange(min=1), help="Stop after so many samples.")
@options.page
@click.option("--mail", "as_mail", is_flag=True, help="Print a block for a mail.")
@output.json_option
def state(
    what: str,
    debug: Path | None,
    name: str | None,
    whole: bool,
    svg: Path | None,
    who: bool,
    requests: tuple[Demand, ...],
    what_if: str | None,
    save: Path | None,
    every: float | None,
    count: int | None,
    page: Path | None,
    as_mail: bool,
) -> None:
    """Judge the percpu state of a kernel and tell where its memory is.

    WHAT is a core (ELF or kdump-compressed), `live` for the running kernel (as root), a state that
    --save has written, or the text of percpu_stats (debugfs). Cores and `live` need drgn.

    Exit status: 0 all holds, or what breaks is known of the release, 1 something else is broken,
    2 it cannot be read, 3 the state is torn and verdicts are hints.
    """
    kind = kind_of(what)
    for path in filter(None, (save, svg, page)):
        if kind is not SubjectKind.LIVE and path.exists() and path.samefile(what):
            raise click.UsageError(f"{path} is what is read: it is not overwritten")
    if count is not None and every is None:
        raise click.UsageError("--count counts the samples of --every")
    if as_mail and (output.as_json() or every is not None or kind is SubjectKind.SAMPLES):
        raise click.UsageError("--mail is of one state, and no JSON")
    if every is not None:
        if kind is not SubjectKind.LIVE:
            raise click.UsageError("--every samples the running kernel: WHAT is live")
        reader = reader_of("live", SubjectKind.LIVE, debug)
        samples = watch(
            reader, lambda copy: state_in(reader, copy, "live", owners=False), every, save,
            count=count,
        )  # fmt: skip
        _show_samples(samples, "live", svg, save)
        return
    if kind is SubjectKind.SAMPLES:
        _show_samples(read_samples(Path(what)), what, svg, None)
        return
    if svg is not None and name is None and not whole:
        raise click.UsageError("--svg draws what --chunk N or --map asks for")
    if kind is SubjectKind.STATS:
        if debug or name or whole or who or requests or what_if or save or page:
            raise click.UsageError("percpu_stats tells too little for this: give a state or a core")
        _stats(Path(what), as_mail=as_mail)
    try:
        found = read_subject(what, kind, debug, owners=who)
    except (TornError, UnstableError) as error:
        _torn(kind, str(error), error.stable if isinstance(error, UnstableError) else None)
    if save is not None:
        save_state(found, save)
    verdicts = KernelStateJudge().verdicts(found)
    wrong = broken(verdicts)
    _check_requests(requests, found.snapshot.geometry)
    picture = _picture(found, Path(what).name, name, whole)
    if svg is not None and picture is not None:
        output.write_file(svg, map_svg(picture, name))
    obstacle = cannot_go_on(found, wrong)
    if page is not None:
        from percpu_proofs.report.of_state import report_of_state

        output.write_page(page, report_of_state(found, verdicts, obstacle, Path(what).name))
    answers = [] if obstacle else [ask(found, request) for request in requests]
    after = list(after_work(found)) if what_if and not obstacle else []
    if output.as_json():
        output.print_json(
            _record(found, verdicts, obstacle)
            | ({"who": state_report.who_record(found)} if who else {})
            | {"ask": [a.as_json() for a in answers], "what_if": [asdict(a) for a in after]}
        )
    elif as_mail:
        output.echo("\n".join(state_mail(found, verdicts, what, obstacle)))
    else:
        out = output.console()
        state_report.show(out, found, verdicts, obstacle)
        if who:
            state_report.show_who(out, found, name)
        if obstacle and (requests or what_if):
            output.echo(f"the model does not go on from here: {obstacle}")
        for answer in answers:
            output.say(out, answer.words)
        state_report.show_after(out, found, after)
        if picture is not None and whole:
            output.echo("\n" + map_text(picture, None))
        if picture is not None and name is not None:
            output.echo("\n" + map_text(picture, name))
        for path in filter(None, (svg, save)):
            output.echo(f"written: {path}")
    if found.stability is Stability.TORN:
        raise SystemExit(output.TORN)
    output.end(ok=not wrong)


def _show_samples(
    samples: Iterable[Sample], title: str, svg: Path | None, keep: Path | None
) -> None:
    """Say what changes from sample to sample, and draw them all, interrupted or not."""
    seen: list[Sample] = []
    try:
        for sample in samples:
            changed = changes(seen[-1] if seen else None, sample)
            seen.append(sample)
            if output.as_json():
                output.echo(json.dumps(sample))  # a line each: a stream
            elif changed:
                output.echo(f"{sample['time']} {changed}")
    finally:
        if svg is not None:
            drawn = read_samples(keep) if keep is not None and keep.exists() else seen
            output.write_file(svg, samples_svg(drawn, f"{title}: {len(drawn)} samples"))


def _record(found: KernelState, verdicts: Mapping[str, Verdict], obstacle: str) -> dict[str, Any]:
    """Return what is told of a state with plain values; obstacle: why the model does not go on."""
    geometry, rest = found.snapshot.geometry, found.quiescence
    return {
        "kernel": found.release, "source": found.source, "types": found.types,
        "variant": found.variant,
        "layout": output.record(
            geometry, "page", "unit", "unit_pages", "static", "reserved", "dyn", "units", "cpus",
            "groups",
        ) | {
            "page_cost": geometry.page * geometry.cpus, "geometry": geometry.text,
            "chunks": len(found.chunks),
        },
        "rest": {
            "state": found.stability.value, "why": found.signs or rest.words,
            "lock": rest.lock, "mutex_owner": rest.owner, "mutex_waiters": rest.waiters,
            "work_pending": rest.pending, "work_running": rest.running,
            "stacks": dict(rest.stacks), "hints_only": found.stability is Stability.TORN,
        },
        "clauses": verdict_records(verdicts),
        "memory": asdict(memory_of(found)),
        "chunks": state_report.chunk_records(found),
        "requests": {} if obstacle else {kind: asdict(x) for kind, x in largest(found).items()},
        "requests_unasked": obstacle,
    }  # fmt: skip


def _torn(kind: SubjectKind, why: str, stable: StableChunks | None) -> NoReturn:
    """Say that there is no one moment to judge, what stood still meanwhile, and exit."""
    word = "unstable" if kind is SubjectKind.LIVE else "torn"
    if output.as_json():
        rest = {"state": word, "why": why, "hints_only": True}
        by_chunk = stable and stable.as_json()
        output.print_json({"rest": rest, "clauses": {}, "by_chunk": by_chunk})
    else:
        again = (
            "try again, or --every" if kind is SubjectKind.LIVE else "damaged, or not of one moment"
        )
        output.echo(f"{word}: {why}; no verdict ({again})")
        if stable is not None:
            state_report.show_stable(output.console(), stable)
    raise SystemExit(output.TORN)


def _stats(path: Path, *, as_mail: bool) -> NoReturn:
    """Tell what the text of percpu_stats determines, and exit."""
    stats = read_stats(path)
    verdicts = stats_verdicts(stats)
    if output.as_json():
        output.print_json(
            {
                "source": str(path), "layout": dict(stats.layout) | {"pages": list(stats.pages)},
                "types": stats.types, "floats": floats(stats),
                "stranded_pages": empty_pages(stats, "sidelined"),
                "waiting_pages": empty_pages(stats, "to_depopulate"),
                "counters": dict(stats.counters),
                "clauses": verdict_records(verdicts),
                "chunks": list(stats_rows(stats)),
                "not_determined": list(NOT_DETERMINED),
            }
        )  # fmt: skip
    elif as_mail:
        output.echo("\n".join(stats_mail(stats, verdicts, str(path))))
    else:
        state_report.show_stats(output.console(), stats, verdicts)
    raise SystemExit(output.DIFFERS if broken(verdicts) else output.AS_EXPECTED)


def _check_requests(requests: Sequence[Demand], geometry: Geometry) -> None:
    """Raise InputError for a request that the kernel would not take (API-1)."""
    for size, align in ((request.size, request.align) for request in requests):
        if align <= 0 or align & (align - 1) or not is_legal(geometry, size, align):
            most = f"1 to {geometry.largest} bytes aligned to a power of two up to {geometry.page}"
            expected = f"{most}, as the kernel takes them (API-1)"
            raise InputError("--ask", None, expected, f"{size},{align}")


def _picture(found: KernelState, title: str, name: str | None, whole: bool) -> StatePicture | None:
    """Return what --chunk or --map draws from. Raises InputError for a chunk that there is not."""
    if name is None and not whole:
        return None
    if name is not None and name not in found.names.values():
        last = len(found.chunks) - 1
        raise InputError("--chunk", None, f"a chunk from 0 to {last}, or -1 the reserved one", name)
    return picture_of_kernel(found, title)
