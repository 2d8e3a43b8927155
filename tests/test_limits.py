"""GFP flags reach the backing: recorded, compared with compiled code, and judged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from depth import deep_unless
from kernel_bugs import Bug, seeded
from kernel_trees import FOUND, MISSING, library_of, model_of, run_task, tree_of
from searched_trees import FEWEST, SEARCHES, changed, outcome_of, search_library
from workloads import EIGHT

from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.changes import SCOPE as SCOPED_SINCE
from percpu_proofs.kernel.changes import SCOPED
from percpu_proofs.kernel.difference_report import moved_by
from percpu_proofs.kernel.differential import CaseTask
from percpu_proofs.kernel.model import ASKING, FORMS, LimitsInScope, ModelVariant, form_of, probe
from percpu_proofs.kernel.pair import Pair
from percpu_proofs.kernel.search.job import TreeJob, run_here
from percpu_proofs.kernel.tree import copy_tree
from percpu_proofs.run.driver import Driver
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import parse_operations
from percpu_proofs.run.state_record import Difference
from percpu_reference import build
from percpu_reference.chunk import Chunk
from percpu_reference.environment import Task as Asking
from percpu_reference.variants import MERGED, Allocator
from percpu_reference.variants.linux_5_12 import Linux512
from percpu_reference.variants.linux_6_12 import Linux612
from percpu_reference.variants.linux_7_1 import Linux71
from percpu_spec import gfp
from percpu_spec.gfp import FS, IO, KERNEL, NOFS, NOIO, NORETRY, NOWARN
from percpu_spec.steps import AREAS, CHARGE, METADATA, PAGES, TABLES, MemoryRequest

HERE = Path("x.ops")
TREE = pytest.mark.skipif(not FOUND, reason=MISSING)
FILL = "a 1 28672 4 -"
WORK = NOIO | NORETRY | NOWARN
SCOPE_CALLS = ("chunk = pcpu_create_chunk(pcpu_gfp);",
         "ret = pcpu_populate_chunk(chunk, rs, re, pcpu_gfp);")  # fmt: skip


def after(cls: type[Allocator], *lines: str, **changes: Any) -> Allocator:
    """Return an allocator, whose violations are let pass, after operations."""
    geometry = EIGHT.with_changes("memcg=1") if changes.get("memcg") else EIGHT
    allocator = build(cls, geometry, contracts="full", strict=False)
    Driver(allocator).run(parse_operations(HERE, lines))
    return allocator


def asked(allocator: Allocator) -> dict[str, set[int]]:
    """Return the flags with which each kind of memory was asked for."""
    found: dict[str, set[int]] = {}
    for request in allocator.env.requests:
        found.setdefault(request.kind, set()).add(request.gfp)
    return found


def broken(allocator: Allocator) -> set[str]:
    assert allocator.monitor is not None
    return {c for c in allocator.monitor.violations if c.startswith("GFP")}


ASKED = [
    # flags of a request that creates a chunk: what it hands on, and what is asked for inside
    ("-", KERNEL, KERNEL),
    ("Y", KERNEL | NORETRY, KERNEL),
    ("W", KERNEL | NOWARN, KERNEL),
    ("F", KERNEL, KERNEL),
    ("S", NOFS, KERNEL),
    ("O", NOIO, KERNEL),
    ("s", NOFS, NOFS),
    ("o", NOIO, NOIO),
    ("So", NOIO, NOIO),
    ("Os", NOIO, NOFS),
    ("SYW", NOFS | NORETRY | NOWARN, KERNEL),
]


@pytest.mark.parametrize(("flags", "own", "inner"), ASKED)
def test_what_6_12_asks_for(flags: str, own: int, inner: int) -> None:
    allocator = after(Linux612, FILL, f"a 2 4096 4 {flags}")
    assert asked(allocator) == {
        METADATA: {own, inner}, AREAS: {inner}, PAGES: {own}, TABLES: {inner},
    }  # fmt: skip
    assert not broken(allocator)  # what inner lacks, a scope has taken: flags alone do not reach it
    assert allocator.monitor is not None
    assert bool(allocator.monitor.asked()["GFP-1"]) is bool((IO | FS) & ~own)


class Scoped(LimitsInScope, Linux612):
    __slots__ = ()


@pytest.mark.parametrize("flags", [flags for flags, *_ in ASKED])
def test_a_scope_around_keeps_all_limits(flags: str) -> None:
    allocator = after(Scoped, FILL, f"a 2 4096 4 {flags}")
    assert not broken(allocator)
    denied = gfp.denied(parse_operations(HERE, [f"a 2 4096 4 {flags}"]).operations[0][5])
    assert not any(r.gfp & denied for r in allocator.env.requests)


def test_the_work_asks_without_io() -> None:
    allocator = after(Linux612, FILL, "a 2 4096 4 A", "b")
    assert asked(allocator) == {
        METADATA: {WORK, NOIO}, AREAS: {NOIO}, PAGES: {WORK}, TABLES: {NOIO},
    }  # fmt: skip
    assert not broken(allocator)
    assert allocator.monitor is not None and allocator.monitor.asked()["GFP-2"]


class Unlimited(Linux612):
    __slots__ = ()
    WORK: ClassVar[Asking] = Asking(KERNEL | NORETRY | NOWARN, 0)


def test_work_with_io_is_a_breach() -> None:
    assert broken(after(Unlimited, FILL, "a 2 4096 4 A", "b")) == {"GFP-2"}


@pytest.mark.parametrize("flags", ["O", "S", "o", "s"])
def test_where_limits_make_a_request_atomic_it_asks_for_nothing(flags: str) -> None:
    allocator = after(Linux512, FILL, f"a 2 4096 4 {flags}")
    assert not allocator.env.requests
    assert broken(after(Linux512, FILL, "a 2 4096 4 A", "b")) == set()


def test_a_charge_is_asked_for_with_the_callers_flags() -> None:
    allocator = after(Linux612, "U 1", "a 1 64 4 GS", "a 2 64 4 Go", memcg=True)
    assert asked(allocator)[CHARGE] == {NOFS | gfp.ACCOUNT, NOIO | gfp.ACCOUNT}
    assert not broken(allocator)


def test_flags_in_words() -> None:
    assert [gfp.flag_words(f) for f in (NOIO, WORK, gfp.ATOMIC, gfp.ACCOUNT)] == [
        "NOIO", "NOIO NOWARN NORETRY", "HIGH KSWAPD_RECLAIM", "ACCOUNT",
    ]  # fmt: skip


# how a tree asks, and what is between two ways of it


class Other(LimitsInScope, Linux71):
    """Of a caller's limits, what each of these makes a scope of is another part."""

    __slots__ = ()


class Creating(Linux71):
    """A scope around creation alone."""

    __slots__ = ()

    def create_chunk(self, chunk_type: int = 0) -> Chunk | None:
        task = self.env.caller
        if task is not None:
            self.env.caller = task._replace(forbids=task.forbids | (IO | FS) & ~task.gfp)
        chunk = super().create_chunk(chunk_type)
        self.env.caller = task
        return chunk


class Populating(Linux71):
    """A scope around population alone."""

    __slots__ = ()

    def populate_chunk(self, chunk: Chunk, page_start: int, page_end: int) -> bool:
        task = self.env.caller
        if task is not None:
            self.env.caller = task._replace(forbids=task.forbids | (IO | FS) & ~task.gfp)
        done = super().populate_chunk(chunk, page_start, page_end)
        self.env.caller = task
        return done


class FileSystems(Other):
    """Every limited caller is in a scope without file systems alone."""

    __slots__ = ()

    def task_of(self, flags: int) -> Asking:
        return super().task_of(flags)._replace(forbids=FS if gfp.denied(flags) else 0)


class AllIo(Other):
    """Every limited caller is in a scope without I/O."""

    __slots__ = ()

    def task_of(self, flags: int) -> Asking:
        return super().task_of(flags)._replace(forbids=IO | FS if gfp.denied(flags) else 0)


class IoAlone(Other):
    """Callers without file systems are in none."""

    __slots__ = ()

    def task_of(self, flags: int) -> Asking:
        return super().task_of(flags)._replace(forbids=IO | FS if gfp.denied(flags) & IO else 0)


class Everyone(Other):
    """Callers without limits are in a scope too."""

    __slots__ = ()

    def task_of(self, flags: int) -> Asking:
        return super().task_of(flags)._replace(forbids=IO | FS)


class Retrying(Linux71):
    """NORETRY is not handed on."""

    __slots__ = ()
    HANDED_ON: ClassVar[int] = KERNEL | NOWARN


class InScope(LimitsInScope, Linux71):
    __slots__ = ()


def seen_of(cls: type[Allocator]) -> list[dict[MemoryRequest, int]]:
    return [after(cls, *lines).env.requests for lines in ASKING]


@pytest.mark.parametrize(
    ("cls", "form"),
    [(Linux71, ""), (InScope, SCOPED), *((None, form) for form in list(FORMS)[2:])],
)
def test_all_requests_show_one_form(cls: type[Allocator] | None, form: str) -> None:
    made = cls or type("Made", (Linux71,), {"__slots__": (), **FORMS[form]})
    assert form_of(seen_of(made), ModelVariant("linux_7_1")) == form


BETWEEN = [
    (Creating, r"4096 4 SY: expected KERNEL for vm areas \(as in 6\.12\) or NOFS for .*page tables "
     r"\(in a scope of its limits\), found 'NOFS for vm areas'$"),
    (Populating, r"4096 4 SY: expected NOFS for vm areas \(in a scope .* or KERNEL for metadata, "
     r"page tables \(as in 6\.12\), found 'KERNEL for vm areas'$"),
    (FileSystems, r"4096 4 OY: expected NOIO for metadata, page tables, vm areas \(in a scope of .*"
     r"KERNEL for .* \(as in 6\.12\), found 'NOFS for metadata, page tables, vm areas'$"),
    (AllIo, r"4096 4 SY: expected NOFS for metadata, page tables, vm areas; NOFS NORETRY for .*, "
     r"pages \(in a scope .*found 'NOIO for metadata, page tables, vm areas; NOIO NORETRY for "),
    (IoAlone, r"4096 4 [SO]Y: expected .* \([^)]*\), as after a 2 4096 4 [SO]Y, found"),
    (Everyone, r"4096 4 Y: expected .*, found 'NOIO for "),
    (Retrying, r"4096 4 Y: expected KERNEL NORETRY for metadata, pages \(as in 6\.12\) or "),
]  # fmt: skip


@pytest.mark.parametrize(("cls", "said"), BETWEEN, ids=[cls.__name__ for cls, _ in BETWEEN])
def test_what_is_of_no_form_is_between_two(cls: type[Allocator], said: str) -> None:
    with pytest.raises(InputError, match=f"^x.ops: a tree between two .*{said}") as caught:
        form_of(seen_of(cls), ModelVariant("linux_7_1"), HERE)
    assert "..." not in str(caught.value)


@pytest.mark.parametrize("cls", [cls for cls, _ in BETWEEN])
def test_where_limits_make_requests_atomic_only_others_are_seen(cls: type[Allocator]) -> None:
    atomic = type("Atomic", (cls,), {"__slots__": (), "BLOCKING": KERNEL})
    model = ModelVariant("linux_7_1", noio_sleeps=False)
    if cls in (Everyone, Retrying):
        with pytest.raises(InputError, match="4096 4 Y: expected"):
            form_of(seen_of(atomic), model)
    else:
        assert form_of(seen_of(atomic), model) == ""


@pytest.mark.parametrize(
    ("field", "asks", "said"),
    [
        ("asked for[vm areas with NOIO]", "", "mm scope changed it .* the model is as before that"),
        ("asked for[vm areas with NOFS]", SCOPED, "mm scope .* in a scope of its.* as since"),
        ("asked for[pages with KERNEL NOWARN NORETRY]", "", "6.15 changed it .* as since that"),
    ],
)
def test_a_difference_of_requests_names_what_moved_it(field: str, asks: str, said: str) -> None:
    found = moved_by(Difference(field, 1, 2), ModelVariant("linux_7_1", asks=asks))
    assert len(found) == 1 and re.match(said, found[0])


# compiled code


@TREE
@pytest.mark.deep
@pytest.mark.parametrize("call", SCOPE_CALLS)
def test_a_tree_with_a_part_of_the_scope_is_between_two(call: str, tmp_path: Path) -> None:
    tree = changed(tmp_path / "tree", lambda text: scoped(text, (call,)))
    library = compile_tree(tree, tmp_path, flags=("-O1",))
    with pytest.raises(InputError, match=r"a tree between two known .* 4096 4 SY: "):
        probe(library)
    assert probe(library, "6.12.117").asks == ""


@TREE
@pytest.mark.parametrize("archive", FOUND, ids=lambda path: path.name)
def test_compiled_code_asks_for_the_same(archive: Path, built: Path) -> None:
    into = built / archive.name
    into.mkdir(exist_ok=True)
    library = library_of(archive, into)
    for flags, *_ in ASKED:
        pair = Pair(library, EIGHT, model_of(library))
        lines = [FILL, f"a 2 4096 4 {flags}", "a 3 4096 4 A", "b", f"a 4 32768 4 {flags}"]
        for number, operation in enumerate(parse_operations(HERE, lines).operations, 1):
            assert pair.step(number, operation) is None
        assert pair.kernel.requests == pair.driver.allocator.env.requests
        pair.close()


ALLOC = "(?:pcpu_alloc|pcpu_alloc_noprof)"
EDITS = [
    Bug("the caller's flags are lost", ALLOC, r"pcpu_gfp = gfp & \(", "pcpu_gfp = gfp | ("),
    Bug("pages with file systems", "pcpu_populate_chunk",
        r"page_start, page_end, gfp\)\)", "page_start, page_end, gfp | __GFP_FS))",
        file="mm/percpu-vm.c"),
    Bug("the work is in no scope", "pcpu_balance_workfn", r"memalloc_noio_save\(\)", "0"),
    Bug("the work does not warn of itself", "pcpu_balance_populated", r" \| __GFP_NOWARN", ""),
]  # fmt: skip
"""Edits of what is asked for; the comparison tells each from the kernel."""


@TREE
@pytest.mark.parametrize(
    "bug", deep_unless(lambda bug: bug is EDITS[2], EDITS), ids=lambda bug: bug.name
)
def test_the_comparison_tells_an_edit(bug: Bug, tmp_path: Path) -> None:
    tree = changed(tmp_path / "tree", lambda text: seeded(text, bug), bug.file)
    library = compile_tree(tree, tmp_path)
    model = probe(library, MERGED)  # as its base is: alone it is between two known behaviours
    found = run_task(CaseTask(library, model, 1, False, cases=4, operations=400)).differing_case
    assert found is not None and found.difference.field.startswith("asked for")
    assert len(found.case.operations) <= 4


@TREE
def test_the_search_asks_for_both_limits(built: Path) -> None:
    library = search_library(FOUND[-1], built / FOUND[-1].name)
    outcome = run_here(TreeJob("base", library, SEARCHES["limits"]))
    assert outcome.complete and outcome.asked["GFP-1"] and outcome.asked["GFP-2"]
    assert outcome.examples.keys() <= FEWEST.keys()


@TREE
@pytest.mark.deep
@pytest.mark.parametrize("bug", EDITS[:2], ids=lambda bug: bug.name)
def test_an_edit_breaks_the_limits(bug: Bug, tmp_path: Path) -> None:
    tree = copy_tree(tree_of(FOUND[-1]), tmp_path / "tree")
    path = tree.top / bug.file
    path.write_text(seeded(path.read_text(), bug))
    outcome = outcome_of(tree, tmp_path / "out", SEARCHES["limits"])
    assert "GFP-1" in outcome.examples


INNER = (
    Bug("areas", "pcpu_create_chunk", r"pcpu_atom_size\)", "pcpu_atom_size, gfp)",
        file="mm/percpu-vm.c"),
    Bug("tables", "__pcpu_map_pages", r"PAGE_SHIFT\);", "PAGE_SHIFT, percpu_handed);",
        file="mm/percpu-vm.c"),
    Bug("array", "pcpu_get_pages", r"GFP_KERNEL", "percpu_handed", file="mm/percpu-vm.c"),
    Bug("handed", "pcpu_populate_chunk", r"struct page \*\*pages;",
        "struct page **pages; percpu_handed = gfp;", file="mm/percpu-vm.c"),
)  # fmt: skip
LIMITED = Bug("limited", ALLOC, r"\(GFP_KERNEL \|", "(GFP_NOIO | __GFP_NOFAIL |")


SCOPE = """
static unsigned int enter_limits(gfp_t gfp)
{
	return gfp & __GFP_IO ? memalloc_nofs_save() : memalloc_noio_save();
}

static void leave_limits(gfp_t gfp, unsigned int scope)
{
	if (gfp & __GFP_IO)
		memalloc_nofs_restore(scope);
	else
		memalloc_noio_restore(scope);
}

"""


def scoped(text: str, around: tuple[str, ...] = SCOPE_CALLS) -> str:
    """Return percpu.c with a scope of the caller's limits around creation and population."""
    head = "/**\n * pcpu_alloc - the percpu allocator"
    assert text.count(head) == 1
    text = text.replace(head, SCOPE + head)
    for call in around:
        assert text.count(call) == 1
        enter = "unsigned int scope = enter_limits(pcpu_gfp);"
        within = f"{enter} {call} leave_limits(pcpu_gfp, scope);"
        unlimited = "(pcpu_gfp & GFP_KERNEL) == GFP_KERNEL"
        text = text.replace(call, f"if ({unlimited}) {call} else {{ {within} }}")
    return text


def handed_on(text: str) -> str:
    """Return percpu-vm.c with flags passed on throughout, as the series of June 2026 does."""
    for bug in INNER:
        text = seeded(text, bug)
    include = '#include "internal.h"'
    return text.replace(include, f"{include}\nstatic gfp_t percpu_handed;")


@TREE
@pytest.mark.parametrize("form", deep_unless(lambda f: f == list(FORMS)[3], list(FORMS)[1:]))
def test_how_a_tree_asks_is_found_by_trying(form: str, tmp_path: Path) -> None:
    tree = copy_tree(tree_of(FOUND[-1]), tmp_path / "tree")
    if form == list(FORMS)[1]:
        path = tree.top / "mm/percpu.c"
        path.write_text(scoped(path.read_text()))
    for file, change, wanted in (
        ("mm/percpu-vm.c", handed_on, FORMS[form].get("INNER", KERNEL) is None),
        ("mm/percpu.c", lambda text: seeded(text, LIMITED), "HANDED_ON" in FORMS[form]),
    ):
        path = tree.top / file
        if wanted:
            path.write_text(change(path.read_text()))
    library = compile_tree(tree, tmp_path)
    model = probe(library)
    assert (SCOPED_SINCE in model.changes) is (form == SCOPED)
    assert model.asks == form and any(form in said for said in model.declared)
    done = run_task(CaseTask(library, model, 1, False, cases=3, operations=400))
    assert done.differing_case is None
