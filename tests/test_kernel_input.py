"""What is said of trees, patches and compilers that cannot be used; the stubs without any tree."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from percpu_proofs.cli import main
from percpu_proofs.explore.shrink import Program, shrink, simpler, smaller
from percpu_proofs.kernel.build import compile_tree
from percpu_proofs.kernel.cases import expand
from percpu_proofs.kernel.instance import SourceLocation, places_of
from percpu_proofs.kernel.messages import STUBS
from percpu_proofs.kernel.model import ModelVariant
from percpu_proofs.kernel.random_schedules import draw
from percpu_proofs.kernel.tree import FILES, LANDMARKS, damage, read_tree
from percpu_proofs.run.inputs import InputError
from percpu_proofs.run.operations import parse_operations, renumbered, text_of
from percpu_spec.geometry import Geometry
from percpu_spec.gfp import KERNEL, NOIO

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def make_tree(top: Path, version: str = "6 12 3", source: str = "int pcpu_alloc(void);\n") -> Path:
    """Make what looks like a source tree, with text of our own."""
    for name in FILES:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("// " + " ".join(LANDMARKS.get(name, ())) + "\n")
    major, minor, sub = version.split()
    (top / "Makefile").write_text(f"VERSION = {major}\nPATCHLEVEL = {minor}\nSUBLEVEL = {sub}\n")
    marks = " ".join(LANDMARKS["mm/percpu.c"])
    (top / "mm/percpu.c").write_text(f"{source}// {marks}\n")
    return top


def conform(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["conform", "kernel", *map(str, arguments)])


def test_tree_is_read(tmp_path: Path) -> None:
    tree = read_tree(make_tree(tmp_path))
    assert (tree.name, tree.release) == ("6.12.3", "6.12")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda top: (top / "mm/percpu.c").unlink(), "a Linux source tree with mm/percpu.c"),
        (lambda top: shutil.rmtree(top / "mm"), "a Linux source tree with mm/percpu"),
        (lambda top: (top / "Makefile").write_text("all:\n"), "VERSION and PATCHLEVEL"),
        (lambda top: make_tree(top, "5 13 19"), "expected Linux 5.14 or later"),
        (lambda top: make_tree(top, "4 20 0"), "found '4.20.0'"),
    ],
)
def test_unusable_tree(spoil: object, said: str, tmp_path: Path) -> None:
    make_tree(tmp_path)
    spoil(tmp_path)  # type: ignore[operator]
    result = conform("--source", tmp_path)
    assert result.exit_code == 2
    assert said in result.output


SPOIL: list[tuple[str, Callable[[list[str]], list[str]], str]] = [
    ("empty", lambda marks: [], r": expected the kernel's {name}, found 'an empty file'$"),
    ("blank", lambda marks: [" ", ""], r": expected the kernel's {name}, found 'an empty file'$"),
    ("cut", lambda marks: ["/*", f"int {marks[0]}(void)"],
     r":2: expected the kernel's {name}, whole; it ends here, without {rest}, found 'int {first}"),
    ("another", lambda marks: ["int main(void);"],
     r": expected the kernel's {name}: none of {first}, {rest} is in it, found 'int main"),
    ("longer names", lambda marks: [f"int my_{marks[0]}_too(void);"],
     r": expected the kernel's {name}: none of {first}, {rest} is in it, found 'int my_"),
]  # fmt: skip


@pytest.mark.parametrize("name", LANDMARKS)
@pytest.mark.parametrize(("change", "said"), [row[1:] for row in SPOIL], ids=[r[0] for r in SPOIL])
def test_a_spoilt_file_is_named(
    name: str, change: Callable[[list[str]], list[str]], said: str, tmp_path: Path
) -> None:
    """Not the stubs, whose code then lacks what it has."""
    tree = read_tree(make_tree(tmp_path))
    assert damage(tree) is None
    first, *others = LANDMARKS[name]
    (tmp_path / name).write_text("\n".join(change([first])))
    wanted = said.format(name=name, first=first, rest=", ".join(others))
    assert re.match(re.escape(str(tmp_path / name)) + wanted, str(damage(tree)))


@needs_compiler
def test_of_a_spoilt_tree_no_stub_is_advised(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "mm/percpu.c").write_text("")
    result = conform("--source", tmp_path)
    assert result.exit_code == 2 and result.output.count("\n") == 1
    assert "mm/percpu.c: expected the kernel's mm/percpu.c" in result.output
    archive = tmp_path / "any.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:  # its top has another name
        packed.add(tmp_path / "Makefile", "linux-6.12/Makefile")
        for name in FILES[1:]:
            packed.add(tmp_path / name, f"linux-6.12/{name}")
    assert f"{archive}/mm/percpu.c: expected" in conform("--source", archive).output


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no archive", "found '.*does not look like a tar archive'"),
        (gzip.compress(bytes(10240))[:-9], "found '.*unexpected end of file'"),
        (None, "the folder of a .* brings one.*, found 'no such file or folder'"),
    ],
    ids=["no archive", "cut", "missing"],
)
def test_missing_tree_and_bad_archive(data: bytes | None, said: str, tmp_path: Path) -> None:
    archive = tmp_path / "linux-source-6.12.tar"
    if data is not None:
        archive.write_bytes(data)
    result = conform("--source", archive)
    assert result.exit_code == 2 and result.output.count("\n") == 1
    assert re.match(rf"percpu-spec: {archive}: expected .*{said}$", result.output.strip())


MISSING = {  # every path that commands take, with what they need besides
    "run": ["run", "GONE"],
    "show": ["show", "GONE"],
    "log": ["log", "GONE"],
    "log --state": ["log", "FILE", "--state", "GONE"],
    "state": ["state", "GONE"],
    "state --debug": ["state", "FILE", "--debug", "GONE"],
    "explore": ["explore", "GONE"],
    "review": ["review", "--source", "GONE"],
    "--patch": ["review", "--source", "TREE", "--patch", "GONE"],
    "--stub": ["conform", "kernel", "--source", "TREE", "--stub", "GONE"],
    "--operations": ["conform", "kernel", "--source", "TREE", "--operations", "GONE"],
    "conform record": ["conform", "record", "--source", "TREE", "GONE"],
    "vectors": ["conform", "vectors", "GONE"],
    "trace": ["conform", "trace", "GONE"],
    "cost": ["workload", "cost", "--source", "GONE"],
    "burst": ["workload", "burst", "GONE"],
    "bench": ["bench", "GONE"],
    "bench --lists": ["bench", "--lists", "GONE"],
    "bench --source": ["bench", "c10", "--source", "GONE"],
    "beside": ["beside", "isolate_chunk", "--source", "GONE"],
    "variant": ["run", "FILE", "--variant", "GONE.py"],
}


@pytest.mark.parametrize("words", MISSING.values(), ids=list(MISSING))
def test_a_missing_path_is_named_in_one_line(words: list[str], tmp_path: Path) -> None:
    gone, file = tmp_path / "gone", tmp_path / "x.ops"
    file.write_text("a 1 8 8 -\n")
    top = make_tree(tmp_path / "tree") if "TREE" in words else tmp_path
    paths = {"FILE": file, "TREE": top, "GONE": gone, "GONE.py": f"{gone}.py"}
    result = CliRunner().invoke(main, [str(paths.get(word, word)) for word in words])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1, result.output
    assert str(gone) in result.stderr and "expected" in result.stderr, result.stderr


def test_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    result = conform("--source", make_tree(tmp_path))
    assert result.exit_code == 2
    assert "a C compiler" in result.output


@needs_compiler
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("int f(void) { return new_bitmap_helper(3); }", "macro new_bitmap_helper (bits.h)"),
        ("int f(void) { return memblock_quickly(3); }", "macro memblock_quickly (memory.h)"),
        ("int f(void) { return NEW_LIMIT; }", "a macro or variable NEW_LIMIT (types.h)"),
        ("new_type_t f(void);", "a type new_type_t (types.h)"),
        ("int f(struct page *p) { return p->new_field; }", "a member new_field (memory.h)"),
        ("int f(struct mutex *m) { return m->new_field; }", "a member new_field (locks.h)"),
        (
            "void f(void) { percpu_free_page(0, 1); }",
            "other parameters of percpu_free_page (memory.h)",
        ),
        ("struct pcpu_block_md { int left_free; };", "a member scan_hint (hints.h)"),
    ],
)
def test_compile_error_names_the_stub(line: str, said: str, tmp_path: Path) -> None:
    result = conform("--source", make_tree(tmp_path, source=line + "\n"))
    assert result.exit_code == 2
    assert said in result.output
    assert result.output.count("\n") == 1
    assert str(STUBS) in result.output
    assert "--stub" in result.output
    assert "the first error" in result.output


@needs_compiler
def test_a_return_address_is_of_the_line_of_its_call(tmp_path: Path) -> None:
    source = tmp_path / "mm/percpu.c"
    source.parent.mkdir()
    source.write_text("void end(void) __attribute__((noreturn));\nvoid f(void)\n{\n\tend();\n}\n")
    made = tmp_path / "percpu.o"
    text = "\nint x;\nvoid g(void)\n{\n\tx = 1;\n}\n"  # what comes behind the call
    source.write_text(source.read_text() + text)
    subprocess.run(["gcc", "-g", "-O1", "-c", str(source), "-o", str(made)], check=True)
    listed = subprocess.run(
        ["objdump", "-d", str(made)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    call = next(n for n, line in enumerate(listed) if re.search(r"\b(call|bl)\b", line))
    behind = next(line for line in listed[call + 1 :] if re.match(r"\s+[0-9a-f]+:", line))
    address = int(behind.split(":")[0], 16)
    assert places_of(made, [address])[address] == (SourceLocation("f", "mm/percpu.c", 4),)


@needs_compiler
def test_own_stub_is_used(tmp_path: Path) -> None:
    tree = read_tree(make_tree(tmp_path, source="int f(void) { return NEW_LIMIT; }\n"))
    stub = tmp_path / "own.h"
    stub.write_text("#define NEW_LIMIT 3\n")
    with pytest.raises(InputError) as error:
        compile_tree(tree, tmp_path, stub=stub)
    assert "NEW_LIMIT" not in str(error.value)  # the next thing that is missing is named


def test_unknown_fix_and_variant(tmp_path: Path) -> None:
    top = make_tree(tmp_path)
    assert "one of L2, L3" in conform("--source", top, "--fix", "L9").output
    assert "variant 'x'" in conform("--source", top, "--variant", "x").output


def test_older_kernels_count_requests_without_io_as_atomic() -> None:
    older = ModelVariant(noio_sleeps=False).variant()
    assert "requests without I/O count as atomic" in ModelVariant(noio_sleeps=False).declared
    assert older.is_atomic(older.__new__(older), NOIO)
    assert not older.is_atomic(older.__new__(older), KERNEL)


def test_shrinking_keeps_what_matters() -> None:
    lines = [f"a {n} 64 8 A" for n in range(50)] + [f"f {n}" for n in range(0, 50, 2)]
    operations = parse_operations(Path("x"), lines).operations

    def shows(program: Program) -> Program | None:
        """A difference shows with the second free after at least 128 bytes were asked for."""
        asked = frees = 0
        for number, (kind, _, size, *_) in enumerate(program.setup, 1):
            asked += size
            frees += kind == "f"
            if frees == 2 and asked >= 128:
                return Program(program.setup[:number])
        return None

    whole = Program(tuple(operations))
    small = shrink(whole, lambda best: chain(smaller(best), simpler(best)), shows, 2000)
    assert not small.stopped
    assert [text_of(operation) for operation in renumbered(small.best.setup)] in (
        ["a 1 64 4 -", "a 2 64 4 -", "f 1", "f 2"],
        ["a 1 64 4 -", "f 1", "a 2 64 4 -", "f 2"],
    )


def test_draws_repeat() -> None:
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)
    assert expand([], Geometry()) == []
