"""Accesses of a tree's code to what actors share, made without pcpu_lock (LOCK-1, LOCK-2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from percpu_proofs.kernel.instance import Library, places_of
from percpu_proofs.kernel.search.compiled import CompiledSearch
from percpu_proofs.kernel.search.judge import BrokenClause

_PARTS: Final = {
    100000: "md_blocks", 100001: "alloc_map", 100002: "bound_map", 100003: "object vector"
}  # fmt: skip
_FIELDS: Final = (
    "list", "free_bytes", "chunk_md", "base_addr", "alloc_map", "bound_map", "md_blocks", "data",
    "immutable", "isolated", "start_offset", "end_offset", "nr_pages", "nr_populated",
    "nr_empty_pop_pages", "populated",
)  # fmt: skip
INDEX: Final = frozenset({
    "list", "free_bytes", "chunk_md", "md_blocks", "alloc_map", "bound_map", "immutable",
    "isolated",
    "nr_populated", "nr_empty_pop_pages", "populated", "pcpu_nr_empty_pop_pages",
    "pcpu_nr_populated", "lists",
})  # fmt: skip
"""What LOCK-1 speaks of; the lists' heads count as `lists`."""
BACKING: Final = frozenset({"populated", "nr_populated", "pcpu_nr_populated"})
"""What LOCK-2 speaks of: it changes under pcpu_alloc_mutex too."""
_LOCKS: Final = frozenset({"pcpu_lock", "pcpu_alloc_mutex"})


@dataclass(frozen=True, slots=True, order=True)
class Access:
    """A place of the tree that reads or writes a field with no lock, or not with both."""

    function: str
    line: str
    field: str
    write: bool
    locked: bool
    mutex: bool

    @property
    def clause(self) -> str | None:
        """The clause that it breaks, None where it is only worth a look."""
        if self.write and not self.locked and self.field in INDEX:
            return "LOCK-1"
        if self.write and not self.mutex and self.field in BACKING:
            return "LOCK-2"
        return None

    @property
    def what(self) -> tuple[str, str, bool]:
        """What makes it the same access in another tree."""
        return self.function, self.field, self.write

    def __str__(self) -> str:
        locks = ["pcpu_lock"] * (not self.locked) + ["pcpu_alloc_mutex"] * (not self.mutex)
        verb = "writes" if self.write else "reads"
        return f"{self.function} ({self.line}) {verb} {self.field} without {' and '.join(locks)}"

    def as_json(self) -> dict[str, Any]:
        """Return the access with plain values only."""
        return asdict(self) | {"clause": self.clause}


@dataclass(frozen=True, slots=True)
class AccessSite:
    """An access and where in the library it is made."""

    access: Access
    pc: int  # offset in the library
    node: int  # the state that the step leaves which made it first
    label: int

    @property
    def broken(self) -> BrokenClause | None:
        """The clause that it breaks, None where it is only worth a look."""
        clause = self.access.clause
        if clause is None:
            return None
        return BrokenClause(clause, str(self.access), self.node, self.label)


def access_sites(search: CompiledSearch, library: Library) -> list[AccessSite]:
    """Return what a search has met: accesses without a lock, of what somebody writes."""
    lib = search.lib
    base = lib.percpu_base()
    offsets = {lib.percpu_field_offset(name.encode()): name for name in _FIELDS}
    raw = [lib.percpu_accesses[i] for i in range(lib.percpu_nr_accesses)]
    names = {entry.what: _name(entry.what, offsets, library) for entry in raw}
    written = {entry.what for entry in raw if entry.write}
    places = places_of(library.path, (entry.pc - base for entry in raw))
    found = []
    for entry in raw:
        name, place = names[entry.what], places[entry.pc - base]
        if name is None or not place or entry.what not in written:
            continue
        access = Access(
            place[0].function, f"{place[0].file}:{place[0].line}", name,
            bool(entry.write), bool(entry.locked), bool(entry.mutex),
        )  # fmt: skip
        if not entry.locked or access.clause is not None:
            found.append(AccessSite(access, entry.pc - base, entry.node, entry.label))
    return found


def _name(what: int, offsets: dict[int, str], library: Library) -> str | None:
    """Return the name of a field or variable, None for what is none of the allocator's own."""
    if what < 0:
        at = -1 - what
        names = (v.plain_name for v in library.variables if v.offset <= at < v.offset + v.size)
        return next((name for name in names if name not in _LOCKS), None)
    if what in _PARTS:
        return _PARTS[what]
    return offsets[max(offset for offset in offsets if 0 <= offset <= what)]


def new_accesses(base: Iterable[Access], patched: Iterable[Access]) -> list[Access]:
    """Return the accesses that a patch adds: no function of the base makes the same."""
    known = {access.what for access in base}
    return sorted(access for access in set(patched) if access.what not in known)
