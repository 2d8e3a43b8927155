"""Whether a boot log has all its lines of units, or a console, a mail or a grep has lost some.

The kernel prints the groups in order, numbered from 0, and of each the CPUs from the lowest up.
nr_cpu_ids is one more than the last CPU. On x86 every number below it is a CPU; elsewhere some may
be none, which looks as if their lines were lost: then it is open. Source: pcpu_dump_alloc_info,
setup_nr_cpu_ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from percpu_proofs.recorded.boot.log import BootLog

_FROM: Final = (
    "`dmesg` has all from boot, unless later messages have overwritten them (log_buf_len=4M)"
)


def missing(log: BootLog) -> str:
    """Return which lines of units are not there, and where they are, in words; empty if none.

    Without nr_cpu_ids a last group that is shorter than others may have lost its end.
    """
    units = Counter[int]()
    cpus: set[int] = set()
    for one in log.allocations:
        units[one.group] += len(one.cpus)
        cpus.update(cpu for cpu in one.cpus if cpu is not None)
    if not cpus:
        return ""
    last, ids = max(units), log.cpu_ids
    groups = [group for group in range(last) if group not in units]
    among = [cpu for cpu in range(max(cpus)) if cpu not in cpus]
    behind = range(max(cpus) + 1, 0 if ids is None else ids[1])
    if groups or behind or among:
        parts = [*_named("group", groups), *_named("CPU", (*among, *behind))]
        by = f" (nr_cpu_ids in line {ids[0]} is {ids[1]})" if ids is not None else ""
        holes = among and not (groups or behind or log.setup_ids)
        other = ", unless this machine has no such CPUs" if holes else ""
        return f"{', '.join(parts)}{by} in no line 'pcpu-alloc: [group] cpu...'{other}; {_FROM}"
    if ids is None and units[last] < max(units.values()):
        return (
            f"the last group, {last}, has {units[last]} units, others have {max(units.values())}, "
            f"and no line has nr_cpu_ids: lines of it may be missing; {_FROM}"
        )
    return ""


def _named(noun: str, numbers: Iterable[int]) -> Iterator[str]:
    """Yield numbers as ranges behind a noun, in one text."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda e: e[1] - e[0])]
    if not runs:
        return
    several = len(runs) > 1 or len(runs[0]) > 1
    texts = [f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    yield f"{noun}{'s' if several else ''} {' and '.join(texts)}"
