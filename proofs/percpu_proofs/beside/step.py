"""A step of a function, in C or in Python, and the words by which the two are told to be one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final


class Role(IntEnum):
    """What a step does with a name; the number is its weight."""

    READ = 1
    ASSIGNED = 2
    CALLED = 3


@dataclass(frozen=True, slots=True)
class FunctionStep:
    """A statement, or the head of an `if` or a loop, with the lines it stands in.

    first to last are lines of the file; words are names in the model's spelling with what is done
    with them, and the kind of statement (`#if`, `#loop`, `#return`). part is the model function
    that was cut out of the kernel function, where the step stands in one.
    """

    first: int
    last: int
    words: Mapping[str, Role] = field(hash=False)
    part: str = ""
    file: str = ""  # where that is another than the function's


KINDS: Final = {"if": "#if", "loop": "#loop", "return": "#return"}

_SAME: Final = {
    "spin_lock": "spin_lock_irq spin_lock_irqsave",
    "spin_unlock": "spin_unlock_irq spin_unlock_irqrestore",
    "alloc_mutex": "mutex_lock mutex_lock_killable mutex_unlock mutex",
    "locked": "lockdep_assert_held may_sleep holds_locks",
    "warnings": "warn_on warn_on_once warn warn_once",
    "printed": "pr_warn",
    "stack_dumps": "dump_stack",
    "find": "find_next_bit find_next_zero_bit find_last_bit find_first_bit find_first_zero_bit "
    "rfind for_each_clear_bitrange for_each_clear_bitrange_from for_each_set_bitrange "
    "for_each_set_bitrange_from",
    "granule": "min_alloc_size min_alloc_shift",
    "block_bits": "bitmap_block_bits",
    "block_shift": "off_to_block_index",
    "block_mask": "off_to_block_off",
    "nr_empty_pop_pages": "float_of",
    "largest": "min_unit_size",
    "page": "page_size page_shift pfn_down pfn_up",
    "empty_high": "empty_pop_pages_high",
    "empty_low": "empty_pop_pages_low",
    "relegation_slot": "slot_fail_threshold",
    "work_pending": "schedule_work",
    "chunk_lists": "search_lists",
    "cpus": "for_each_possible_cpu",
    "charged": "obj_cgroup_charge obj_cgroup_uncharge",
    "objcg_refs": "obj_cgroup_get obj_cgroup_put",
    "clear_area": "memset",
    "next": "list_for_each_entry list_for_each_entry_safe list_first_entry",
    "chunk_move": "list_move list_move_tail",
}
_SPELLING: Final = {other: word for word, others in _SAME.items() for other in others.split()}
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PREFIX: Final = re.compile(r"^_*(trace_percpu_|pcpu_)?")


def spelled(name: str) -> str:
    """Return a name of either side in one spelling.

    >>> [spelled(n) for n in ("pcpu_free_slot", "PCPU_EMPTY_POP_PAGES_HIGH", "_chunk_move")]
    ['free_slot', 'empty_high', 'chunk_move']
    >>> spelled("trace_percpu_free_percpu"), spelled("FreePercpu"), spelled("pcpu_alloc_noprof")
    ('free_percpu', 'free_percpu', 'alloc')
    """
    if not name.isupper():
        name = _CAMEL.sub("_", name)
    name = _PREFIX.sub("", name.lower()).removesuffix("_noprof")
    return _SPELLING.get(name, name)


def collected(found: Iterable[tuple[str, Role]], kind: str = "") -> dict[str, Role]:
    """Return words with the weightiest of their roles, and the kind of the statement."""
    words: dict[str, Role] = {KINDS[kind]: Role.ASSIGNED} if kind in KINDS else {}
    for name, role in found:
        word = spelled(name)
        words[word] = max(words.get(word, role), role)
    return words
