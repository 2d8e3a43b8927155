"""The operation language and the form of scenario files as text, from what their parsers know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import fill
from typing import Any, Final

from percpu_proofs.explore.scenario_file import CONCURRENT, FIELDS, SECTIONS
from percpu_proofs.run.operations import FLAGS, MEANINGS, SHAPES, WRONG
from percpu_proofs.show.mail import WIDTH
from percpu_spec.steps import Kind

LISTS: Final = {
    "two areas, one freed, and the work if asked for": "a 1 4096 4 -\na 2 64 64 A\nf 1\nB",
    "who asks: each flag": (
        "a 1 8 8 AGW     # atomic, accounted, not warned about\na 2 8 8 N\na 3 8 8 OF\n"
        "a 4 8 8 SY\na 5 8 8 R\na 6 8 8 o\na 7 8 8 s\nU 0             # and no cgroup to charge\n"
        "a 8 8 8 G\nU 1"
    ),
    "memory that runs out": (
        "P 1\na 1 28672 4 -   # fails to populate\nQ 2\na 2 28672 4 -\nM 1\nm 2\n"
        "C 1             # no addresses for a chunk\na 3 32768 4 -\nZ 1\nK 1\nH 1\na 4 8 8 G"
    ),
    "what API-2 forbids": "a 1 64 8 -\nf 1\nd 1             # a second free\na 2 64 8 -\n"
                          "w 2 8           # inside the area\ns 16            # a static variable",
    "early boot: the work is lost until E": "a 1 28672 4 -\nE\nb",
}  # fmt: skip
"""Operation lists, by what they show."""

SCENARIO: Final = """\
scenario mine                # fields, each with its value
shows    A free while reclaim releases pages.
geometry unit=32768,static=4096,reserved=0,dyn=28672,cpus=2
works    2
failures 0
waiting  no
setup
  a 1..22 4096 4 -           # a range of handles: three chunks, full
  f 8..19
actors
  f 20
  a 100 4096 4 A
expected
  linux_6_12 87 RCL-3        # 87 states; or clauses alone
"""

_HEAD: Final = """\
An operation list is a text, plain or gzip, with one operation a line; # opens a comment. Sizes,
alignments and offsets are in bytes; numbers are decimal. A handle is a number that stands for what
an allocation got; it may be used again once that is freed. percpu-spec run FILE runs a list, show
FILE draws where it leads, bench measures it.
"""
_WRONG: Final = """\
{wrong} are frees that API-2 forbids. From 7.0 on the allocator refuses those at an address of a
populated page where no area starts; all others are reported as the caller's error and not done.
"""
_SCENARIO: Final = """\
A scenario is a text with fields and sections that begin a line; what belongs to a section is
indented. percpu-spec explore FILE searches every schedule of it. Where a line names one handle of
an allocation or a free, FIRST..LAST stands for one operation with each. An actor's operation is one
of {concurrent}.

An operation stands still in gaps, wherever the kernel releases pcpu_lock; there the others run.
"""


def text() -> str:
    """Return the whole language for a reader, at most WIDTH columns wide."""
    return "\n".join(_lines())


def as_json() -> dict[str, Any]:
    """Return the language as values."""
    return {
        "operations": {
            kind: {"shape": shape, "meaning": MEANINGS[kind]} for kind, shape in SHAPES.items()
        },
        "flags": dict(FLAGS),
        "scenario": {"fields": dict(FIELDS), "sections": dict(SECTIONS), "actors": CONCURRENT},
        "gaps": [kind.name for kind in Kind],
        "examples": {"lists": dict(LISTS), "scenario": SCENARIO},
    }


def _lines() -> Iterator[str]:
    yield f"OPERATIONS\n\n{_filled(_HEAD)}"
    yield from _table({shape: MEANINGS[kind] for kind, shape in SHAPES.items()})
    wrong = ", ".join(kind for kind in SHAPES if kind in WRONG)
    yield "\n" + _filled(_WRONG.format(wrong=wrong))
    yield "FLAGS of an allocation: - for GFP_KERNEL, or letters, each once\n"
    yield from _table(FLAGS)
    for title, listed in LISTS.items():
        yield f"\nexample: {title}\n"
        yield from (f"    {line}" for line in listed.split("\n"))
    concurrent, kinds = " ".join(CONCURRENT), ", ".join(kind.name for kind in Kind)
    yield f"\n\nSCENARIOS\n\n{_filled(_SCENARIO.format(concurrent=concurrent))}"
    yield fill(f"Kinds of gaps: {kinds}.", WIDTH) + "\n"
    for parts in (FIELDS, SECTIONS):
        yield from _table(parts)
        yield ""
    yield "example\n"
    yield from (f"    {line}" for line in SCENARIO.rstrip().split("\n"))


def _filled(text: str) -> str:
    """Return paragraphs, each filled again."""
    return "\n\n".join(fill(" ".join(part.split()), WIDTH) for part in text.split("\n\n")) + "\n"


def _table(rows: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, rows)) + 4
    for name, meaning in rows.items():
        yield fill(meaning, WIDTH, initial_indent=f"  {name}".ljust(width),
                   subsequent_indent=" " * width)  # fmt: skip
