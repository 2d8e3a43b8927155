"""`percpu-spec state --mail`: what is broken, where the memory is, what to do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from percpu_proofs.commands.state_report import first_of
from percpu_proofs.counterexample.record import first_sentence, kernel_of
from percpu_proofs.live.continuation import largest
from percpu_proofs.live.memory import Memory, isolated_kb, memory_of
from percpu_proofs.live.verdicts import (
    BROKEN,
    HOLDS,
    KNOWN,
    NOT_ASKED,
    NOT_DETERMINED,
    Verdict,
    floats,
    isolated_words,
)
from percpu_proofs.recorded.states.kernel_state import KernelState, Stability
from percpu_proofs.recorded.states.stats_text import PercpuStats
from percpu_proofs.show.mail import LINES, WIDTH, block, command, listing, plain
from percpu_spec.catalogue import clause, findings
from percpu_spec.counts import counted


def state_mail(
    state: KernelState, verdicts: Mapping[str, Verdict], what: str, obstacle: str
) -> list[str]:
    """Return the lines of a block. what: the argument of the command; obstacle: as state has it."""
    geometry = state.snapshot.geometry
    memory = memory_of(state)
    top = block(
        f"Linux {state.release}, {counted(geometry.cpus, 'CPU')}, units of {geometry.unit} bytes, "
        f"pages of {geometry.page}, {counted(len(state.chunks), 'chunk')}: {_at_rest(state)}",
        3, "", "  ",
    )  # fmt: skip
    top += block(
        f"Percpu {memory.percpu_kb} kB: {memory.used // 1024} kB used, {memory.empty // 1024} kB "
        f"empty, {memory.above_high // 1024} kB of it above HIGH, {isolated_kb(memory)}; "
        f"pcpu_nr_empty_pop_pages {memory.float_pages}, HIGH {memory.high}",
        4, "", "  ",
    )  # fmt: skip
    if not obstacle:
        served = largest(state).items()
        sizes = ", ".join(f"{kind} {found.served}" for kind, found in served)
        top += block(f"Largest request that the chunks as they are serve, in bytes: {sizes}", 2)
    torn = state.stability is Stability.TORN
    bottom = ["", *_counts(verdicts), "", *_advice(verdicts, memory, torn=torn)]
    return _whole(top, verdicts, bottom, what)


def stats_mail(stats: PercpuStats, verdicts: Mapping[str, Verdict], what: str) -> list[str]:
    """Return the same of the text of percpu_stats."""
    top = block(
        f"percpu_stats of {counted(len(stats.chunks), 'chunk')}, units of {stats.unit} bytes: "
        f"pcpu_nr_empty_pop_pages {' and '.join(map(str, floats(stats)))}, "
        f"{isolated_words(stats)}",
        3, "", "  ",
    )  # fmt: skip
    untold = f"The text does not tell: {'; '.join(NOT_DETERMINED)}"
    bottom = ["", *_counts(verdicts), *block(untold, 4, "percpu-spec state"), ""]
    return _whole(top, verdicts, [*bottom, *_advice(verdicts, None, torn=False)], what)


def _whole(
    top: Sequence[str], verdicts: Mapping[str, Verdict], bottom: Sequence[str], what: str
) -> list[str]:
    named = f"percpu-spec state {shlex.quote(what)}"
    if len(named) > WIDTH:
        named = f"percpu-spec state {shlex.quote(Path(what).name)}"
    line = command(named)
    wrong = [v for kind in (BROKEN, KNOWN) for v in verdicts.values() if v.verdict == kind]
    parts = [_verdict(verdict) for verdict in wrong] or [["", "Nothing that was asked is broken."]]
    room = LINES - len(top) - len(bottom) - len(line)
    more = "({} more clauses that do not hold: see the last line)"
    return plain([*top, *listing(parts, room, more), *bottom, *line])


def _at_rest(state: KernelState) -> str:
    if state.stability is Stability.TORN:
        return f"torn, verdicts are hints only ({state.quiescence.words})"
    if state.stability is Stability.NOT_TOLD:
        return "the text does not say whether at rest, judged as if it were"
    return state.signs or f"{state.stability.value} ({state.quiescence.words})"


def _verdict(verdict: Verdict) -> list[str]:
    """Return a clause that does not hold: its sentence, what is wrong, where the kernel says so."""
    stated = clause(verdict.clause)
    explain = f"percpu-spec explain {verdict.clause}"
    word = verdict.verdict
    if verdict.reason:
        word = verdict.reason if verdict.verdict == KNOWN else f"{word} ({verdict.reason})"
    return [
        "",
        *block(f"{verdict.clause}, {stated.title}: {word}", 2, explain, "  "),
        *block(f"  {first_sentence(stated.statement)}", 3, explain, "  "),
        *block(f"  Found: {first_of(verdict)}", 2, "see the last line", "  "),
        *block(f"  Kernel: {kernel_of(verdict.clause)}", 2, explain, "  "),
    ]


def _counts(verdicts: Mapping[str, Verdict]) -> list[str]:
    kinds = [verdict.verdict for verdict in verdicts.values()]
    holds = counted(kinds.count(HOLDS), "clause")
    verb = "holds" if holds.endswith("clause") else "hold"
    return block(f"{holds} {verb}, {kinds.count(NOT_ASKED)} were not asked of one state", 1)


def _advice(verdicts: Mapping[str, Verdict], memory: Memory | None, *, torn: bool) -> Iterator[str]:
    """Yield what to do about it."""
    known = [v for v in verdicts.values() if v.verdict == KNOWN]
    if torn:
        yield from block("To do: read it again; the memory changed while it was read.", 1)
    elif any(v.verdict == BROKEN for v in verdicts.values()):
        advice = (
            "To do: what is broken is not known of this release: save the state (percpu-spec state "
            "... --save FILE) and report it with this block and the kernel's patches to percpu."
        )
        yield from block(advice, 3, "", "  ")
    elif not known:
        yield "To do: nothing."
    known_by = {name for v in known for name in v.reason.rpartition(": ")[2].split(", ")}
    mechanisms = [
        f"{f.id} ({', '.join(f.patches) or 'no patch'})"
        for f in findings().values() if f.id in known_by
    ]  # fmt: skip
    if mechanisms:
        text = "Known mechanisms, with patches of this package: " + "; ".join(mechanisms)
        yield from block(text, 4, "percpu-spec explain R1", "  ")
    if memory is not None and memory.stranded and not torn:
        stranded = (
            f"{memory.stranded // 1024} kB are stranded until a later free into their chunks; what "
            "a run of the work would give back: percpu-spec state ... --what-if work"
        )
        yield from block(stranded, 2, "", "  ")
