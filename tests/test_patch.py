"""Patches as people send them: what is applied of them, and the lines that are named if not."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from test_kernel_input import conform, make_tree, needs_compiler

from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.tree import FILES, LANDMARKS, apply_patch, read_patch, read_tree
from percpu_proofs.run.inputs import InputError

pytestmark = pytest.mark.skipif(shutil.which("patch") is None, reason="needs patch")

SOURCE = "".join(f"int line_{n};\n" for n in range(1, 41))
OTHER = """\
--- a/fs/other.c
+++ b/fs/other.c
@@ -1,2 +1,2 @@
 not
-there
+still not
"""
FIRST = """\
--- a/mm/percpu.c
+++ b/mm/percpu.c
@@ -4,3 +4,3 @@ section
 int line_4;
-int line_5;
+int changed_5;
 int line_6;
@@ -30,3 +30,3 @@
 int line_30;
-int line_31;
+int changed_31;
 int line_32;
"""
SECOND = """\
--- a/mm/percpu-vm.c
+++ b/mm/percpu-vm.c
@@ -1,3 +1,3 @@
 int line_1;
-int line_2;
+int changed_2;
 int line_3;
"""
MAIL = """\
From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001
From: Some One <some@one.example>
Subject: [PATCH {n}/2] percpu: words

+++ words that are no diff, and
--- more of them
---
 mm/percpu.c | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/{name} b/{name}
index 0123456789ab..0123456789ac 100644
{diff}--{space}
2.39.5

"""


def mail(n: int, diff: str, name: str) -> str:
    return MAIL.format(n=n, diff=diff, name=name, space=" ").replace("+++ words", "++ words")


BOTH = mail(1, FIRST, "mm/percpu.c") + mail(2, SECOND, "mm/percpu-vm.c")


MARKS = "".join(f"// {' '.join(LANDMARKS[name])}\n" for name in ("mm/percpu.c", "mm/percpu-vm.c"))
"""What a tree's files are known by."""


def in_tree(tmp_path: Path, text: str) -> tuple[Path, Path]:
    """Return a tree of lines with numbers, and a patch."""
    top = make_tree(tmp_path / "tree", source=SOURCE)
    (top / "mm/percpu-vm.c").write_text(SOURCE + MARKS)
    patch = tmp_path / "some.patch"
    patch.write_bytes(text.encode())
    return top, patch


def changed(top: Path) -> list[str]:
    """Return the lines of a tree that it did not have before."""
    return [
        line
        for name in ("mm/percpu.c", "mm/percpu-vm.c")
        for line in (top / name).read_text().splitlines()
        if line + "\n" not in SOURCE and not line.startswith("//")
    ]


def line_with(text: str, part: str, which: int = 0) -> int:
    return [n for n, line in enumerate(text.splitlines(), 1) if part in line][which]


WAYS = {
    "plain": FIRST + SECOND,
    "other files around": OTHER + FIRST + OTHER + SECOND + OTHER,
    "mails": BOTH,
    "ends of lines": BOTH.replace("\n", "\r\n"),
    "quoted": "".join(f"> {line}\n" for line in BOTH.splitlines()),
    "quoted, ends of lines": "".join(f"> {line}".rstrip() + "\r\n" for line in BOTH.splitlines()),
    "indented": "".join(f"    {line}".rstrip() + "\n" for line in (FIRST + SECOND).splitlines()),
    "no prefix": (FIRST + SECOND).replace(" a/", " ").replace(" b/", " "),
    "git's, no prefix": BOTH.replace(" a/", " ").replace(" b/", " "),
    "other prefixes": (FIRST + SECOND).replace(" a/", " linux.orig/").replace(" b/", " linux/"),
    "dates": FIRST.replace("mm/percpu.c\n", "mm/percpu.c\t2024-02-03 10:00\n")
    + SECOND.replace("percpu-vm.c\n", "percpu-vm.c 2024-02-03 10:00\n"),
    "a copy kept": (FIRST + SECOND).replace(" a/mm/percpu.c", " a/mm/percpu.c.orig"),
    "empty lines between": FIRST.replace("@@ -30", "\n@@ -30") + "\n" + SECOND,
    "no last end of line": (FIRST + SECOND).removesuffix("\n"),
    "moved elsewhere": "diff --git a/fs/a.c b/fs/b.c\nsimilarity index 100%\n"
    "rename from fs/a.c\nrename to fs/b.c\n" + BOTH,
    "a file of another name": "--- /dev/null\n+++ b/fs/new.c\n@@ -0,0 +1 @@\n+int a;\n"
    + FIRST + SECOND,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_patch_is_applied_to_files_of_the_allocator_only(way: str, tmp_path: Path) -> None:
    top, patch = in_tree(tmp_path, WAYS[way])
    tree = apply_patch(read_tree(top), patch)
    assert changed(top) == ["int changed_5;", "int changed_31;", "int changed_2;"]
    assert tree.patches == (patch,)
    assert sorted(p.name for p in top.iterdir()) == ["Makefile", "include", "mm"]


def test_one_file_twice_in_one_patch(tmp_path: Path) -> None:
    again = FIRST.replace("changed", "again").replace("line_5", "changed_5")
    again = again.replace("line_31", "changed_31")
    top, patch = in_tree(tmp_path, mail(1, FIRST, "mm/percpu.c") + mail(2, again, "mm/percpu.c"))
    apply_patch(read_tree(top), patch)
    assert changed(top) == ["int again_5;", "int again_31;"]


SCRAPS = (
    *("@@ -0,0 +0,0 @@\n", "@@ -1 +1 @@\n", "@@@ -1 -1 +1 @@@\n", "--- a/mm/percpu.c\n", "--- \n"),
    *("+++ b/mm/percpu.c\n", "+++ \n", "\n", " \n", "-\n", "+x\n", "-- \n", "GIT binary patch\n"),
    *("diff --git a/mm/percpu.c b/mm/percpu.c\n", "new file mode 100644\n", "rename from mm/x\n"),
    *("\\ No newline at end of file\n", "Binary files a/mm/percpu.c and b/mm/percpu.c differ\n"),
)


@pytest.mark.parametrize("way", WAYS)
def test_whatever_a_patch_looks_like_it_is_read_or_refused(way: str, tmp_path: Path) -> None:
    random = Random(way)
    patch = tmp_path / "some.patch"
    for _ in range(60):
        lines = WAYS[way].splitlines(keepends=True)
        for _ in range(random.randint(1, 4)):
            at = random.randrange(len(lines))
            lines[at : at + random.randint(0, 2)] = [random.choice((*SCRAPS, *lines))]
        patch.write_text("".join(lines))
        with suppress(InputError):
            assert read_patch(patch)


SPOILED = {
    "first hunk": ("-int line_5;", "-int line_99;", "@@ -4,3"),
    "second hunk": ("-int line_31", "-int line_99", "@@ -30,3"),
    "second file": ("-int line_2;", "-int line_99;", "@@ -1,3 +1,3 @@"),
}


@pytest.mark.parametrize("way", ["mails", "quoted, ends of lines", "other files around"])
@pytest.mark.parametrize("spoiled", SPOILED)
def test_hunk_that_does_not_apply_is_named(spoiled: str, way: str, tmp_path: Path) -> None:
    right, wrong, hunk = SPOILED[spoiled]
    text = WAYS[way]
    top, patch = in_tree(tmp_path, text.replace(right, wrong))
    with pytest.raises(InputError) as error:
        apply_patch(read_tree(top), patch)
    assert f"some.patch:{line_with(text, hunk)}: expected a patch that applies to" in str(
        error.value
    )
    assert "FAILED" in str(error.value)


MALFORMED = {
    "cut off": (lambda text: text.partition(" int line_32")[0], "+int changed_31"),
    "a line without its first character": (
        lambda text: text.replace("-int line_5;", "int line_5;"), "int line_5;",
    ),
    "wrapped": (lambda text: text.replace("+int changed_31", "+int\nchanged_31"), "changed_31"),
    "says more": (lambda text: text.replace("-4,3 +4,3", "-4,4 +4,4"), "@@ -30,3"),
    "says less": (lambda text: text.replace("-30,3 +30,3", "-30,2 +30,3"), " int line_32"),
    "says less of both": (lambda text: text.replace("-4,3 +4,3", "-4,1 +4,1"), "-int line_5"),
}  # fmt: skip


@pytest.mark.parametrize("before", ["", OTHER, "words\r\n"])
@pytest.mark.parametrize("spoiled", MALFORMED)
def test_malformed_line_is_named(spoiled: str, before: str, tmp_path: Path) -> None:
    spoil, where = MALFORMED[spoiled]
    text = before + spoil(FIRST)
    top, patch = in_tree(tmp_path, text)
    result = conform("--source", top, "--patch", patch)
    assert result.exit_code == 2
    assert f"some.patch:{line_with(text, where)}: expected" in result.output
    assert changed(top) == []


REFUSED = {
    "another file's": (FIRST.replace("mm/percpu.c", "mm/slab.c"), "a patch to one of include"),
    "no patch": ("no patch", "a patch to one of"),
    "empty": ("", "a patch to one of"),
    "a Makefile below": (FIRST.replace("mm/percpu.c", "mm/Makefile"), "a patch to one of"),
    "applied already": (
        FIRST.replace("line_5", "x").replace("changed_5", "line_5").partition("@@ -30")[0],
        "some.patch:3: expected a patch that applies",
    ),
    "removed": (
        "--- a/mm/percpu.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-int line_1;\n",
        "some.patch:2: expected a patch that leaves mm/percpu.c in place",
    ),
    "made": (
        "words\n--- /dev/null\n+++ b/mm/percpu.c\n@@ -0,0 +1 @@\n+int line_1;\n",
        "some.patch:3: expected a patch that leaves mm/percpu.c in place",
    ),
    "moved": (
        "diff --git a/mm/percpu.c b/mm/new.c\nsimilarity index 100%\n"
        "rename from mm/percpu.c\nrename to mm/new.c\n",
        "some.patch:1: expected a patch that leaves mm/percpu.c in place",
    ),
    "no names": (FIRST[36:], "some.patch:1: expected the names of a file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_unusable_patch_leaves_the_tree(kind: str, tmp_path: Path) -> None:
    text, reason = REFUSED[kind]
    top, patch = in_tree(tmp_path, text)
    before = {name: (top / name).read_bytes() for name in FILES}
    result = conform("--source", top, "--patch", patch)
    assert result.exit_code == 2
    assert reason in result.output
    assert {name: (top / name).read_bytes() for name in FILES} == before
    assert sorted(p.name for p in (top / "mm").iterdir()) == sorted(
        os.path.basename(name) for name in FILES if name.startswith("mm/")
    )


@needs_compiler
@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ("int changed_2 = brand_new(3);", "brand_new"),
        ("int changed_2 = ;", "expected expression"),
        ("new_type_t changed_2;", "a type new_type_t"),
    ],
)
@pytest.mark.parametrize("way", ["plain", "mails", "quoted, ends of lines"])
def test_what_does_not_compile_is_named_by_its_line(
    way: str, wrong: str, what: str, tmp_path: Path
) -> None:
    """The same text stands in both files; it does not compile in the second."""
    text = WAYS[way].replace("int changed_2;", wrong).replace("int changed_5;", f"// {wrong}")
    top, patch = in_tree(tmp_path, text)
    (top / "mm/percpu.c").write_text(f'{SOURCE}#include "percpu-vm.c"\n{MARKS}')
    with pytest.raises(InputError) as error:
        compile_tree(apply_patch(read_tree(top), patch), tmp_path)
    assert f"some.patch:{line_with(text, wrong, 1)}: expected" in str(error.value)
    assert what in str(error.value)
