"""Boots a kernel in emulation, with Python inside, and takes cores when the guest asks for it."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGE = "linux-image-cloud-amd64"
_BRING = (
    "percpu_proofs.commands.state drgn drgn.helpers.linux.kallsyms drgn.helpers.linux.cpumask "
    "drgn.helpers.linux.sched rich.logging encodings.idna encodings.ascii pydoc"
)
_FILES = """
import importlib, sys
for name in sys.argv[1].split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass
found = {getattr(module, "__file__", None) for module in sys.modules.values()}
print("\\n".join(sorted(filter(None, found))))
"""


class Missing(Exception):
    """What the machine needs and is not here."""


def kernel(folder: Path) -> Path:
    """Return the unpacked package of Debian's kernel for clouds, fetched with apt if need be."""
    for tool in ("qemu-system-x86_64", "busybox", "cpio", "gcc", "apt-get", "dpkg-deb", "ldd"):
        if shutil.which(tool) is None:
            raise Missing(tool)
    unpacked = folder / "kernel"
    if not list(unpacked.rglob("vmlinuz*")):
        folder.mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "update", "-qq"], folder)
        shown = _run(["apt-cache", "depends", PACKAGE], folder)
        found = re.search(r"Depends: (linux-image-\S+)", shown)
        if found is None:
            raise Missing(PACKAGE)
        _run(["apt-get", "download", found[1]], folder)
        package = next(folder.glob("linux-image-*.deb"))
        _run(["dpkg-deb", "-x", str(package), str(unpacked)], folder)
    return unpacked


def _run(words: list[str], folder: Path) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise Missing(f"{words[0]}: {done.stderr.strip()[-200:]}")
    return done.stdout


def initrd(folder: Path, unpacked: Path) -> Path:
    """Return an initial RAM disk: busybox, the workload, and Python with this package and drgn."""
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    (root / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", root / "bin" / "busybox")
    shutil.copy(HERE / "init.sh", root / "init")
    (root / "init").chmod(0o755)
    _run(["gcc", "-O1", "-static", "-o", str(root / "bin" / "cgroups"), str(HERE / "cgroups.c")],
         folder)  # fmt: skip
    for module in unpacked.rglob("qemu_fw_cfg.ko*"):
        data = module.read_bytes()
        data = lzma.decompress(data) if module.suffix == ".xz" else data
        (root / "qemu_fw_cfg.ko").write_bytes(data)
    python = Path(sys.executable).resolve()
    files = {python, *map(Path, _run([sys.executable, "-c", _FILES, _BRING], folder).split("\n"))}
    files = {file for file in files if file.is_file()}
    for name in ("rich", "click"):  # they import as they go
        folders = {parent for file in files for parent in file.parents if parent.name == name}
        files |= {file for found in folders for file in found.rglob("*.py")}
    files |= _libraries(files)
    files |= set((data_folder() / "states").glob("structs.json"))
    for chapter in spec_folder().rglob("*.md"):
        files.add(chapter)
    for file in files:
        target = root / file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    (root / "python").write_text(
        "#!/bin/busybox sh\n"
        f"export PYTHONPATH={':'.join(path for path in sys.path if path)}\n"
        f"export PYTHONHOME={sys.base_prefix} PYTHONDONTWRITEBYTECODE=1 TERM=dumb\n"
        f'exec {python} "$@"\n'
    )
    (root / "python").chmod(0o755)
    packed = subprocess.run("find . | cpio -o -H newc --quiet", shell=True, cwd=root,
                            capture_output=True, check=True).stdout  # fmt: skip
    path = folder / "initrd.gz"
    path.write_bytes(gzip.compress(packed, 1))
    return path


def data_folder() -> Path:
    """Return the folder of the data that ship."""
    from percpu_proofs import data

    return data.folder("")


def spec_folder() -> Path:
    """Return the folder of the specification."""
    import percpu_spec

    return Path(percpu_spec.__file__).parent


def _libraries(files: set[Path]) -> set[Path]:
    """Return the shared libraries that programs and modules need, by the names they go by."""
    needed: set[Path] = set()
    for file in files:
        if file.suffix in (".py", ".pyc"):
            continue
        shown = subprocess.run(["ldd", str(file)], capture_output=True, text=True).stdout
        needed |= {Path(found) for found in re.findall(r"(/\S+) \(0x", shown)}
    return needed


class Machine:
    """One boot. The guest says `MARK name` on its console and waits for an answer."""

    def __init__(self, folder: Path, unpacked: Path, ramdisk: Path, command: str) -> None:
        self.folder = folder
        serial, monitor = folder / "serial", folder / "monitor"
        for path in (serial, monitor):
            path.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
             "-m", "1G", "-smp", "2", "-display", "none", "-no-reboot", "-nic", "none",
             "-device", "vmcoreinfo", "-kernel", str(next(unpacked.rglob("vmlinuz*"))),
             "-initrd", str(ramdisk), "-qmp", f"unix:{monitor},server=on,wait=off",
             "-chardev", f"socket,id=s,path={serial},server=on,wait=on",
             "-serial", "chardev:s", "-append", f"console=ttyS0 loglevel=6 panic=-1 {command}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._serial, self._monitor = _connected(serial), _connected(monitor)
        self._replies = self._monitor.makefile("r")
        self._replies.readline()
        self._ask("qmp_capabilities")

    def lines(self) -> Iterator[str]:
        """Yield the lines of the console."""
        rest = b""
        while data := self._serial.recv(65536):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace").rstrip()

    def go_on(self) -> None:
        """Let the guest go on from a mark."""
        self._serial.sendall(b"\n")

    def dump(self, name: str) -> Path:
        """Return an ELF core of the machine as it stands."""
        path = self.folder / f"{name}.elf"
        self._ask("dump-guest-memory", paging=False, protocol=f"file:{path}")
        return path

    def _ask(self, command: str, **arguments: Any) -> None:
        text = json.dumps({"execute": command, "arguments": arguments})
        self._monitor.sendall(text.encode() + b"\n")
        while True:
            reply = json.loads(self._replies.readline())
            if "error" in reply:
                raise AssertionError(reply["error"])
            if "return" in reply:
                return

    def end(self) -> None:
        """Stop the machine, if it has not stopped."""
        self._process.kill()
        self._process.wait()


def _connected(path: Path) -> socket.socket:
    for _ in range(200):
        try:
            link = socket.socket(socket.AF_UNIX)
            link.connect(os.fspath(path))
            return link
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no {path}")
