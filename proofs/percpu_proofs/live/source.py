"""Cores and the running kernel, through drgn: the one module that imports it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from percpu_proofs.live.kernel_memory import Btf, UnreadableError
from percpu_proofs.run.inputs import InputError

logging.getLogger("drgn").setLevel(logging.CRITICAL)  # what it lacks is told by this module

drgn: Any
try:
    import drgn
    from drgn.helpers.linux import kallsyms
except ImportError:
    drgn = None

INSTALL = (
    "drgn 0.0.31 or later: pip install 'percpu-spec[drgn]', or the distribution's package drgn and "
    "a venv made with --system-site-packages; saved states are read without it"
)
NO_VMCOREINFO = (
    "a core with a VMCOREINFO note: kdump and makedumpfile write one; QEMU does if started with "
    "-device vmcoreinfo and the guest has loaded qemu_fw_cfg"
)
WHOLE = "take the core again, whole: makedumpfile -d 31 keeps what is needed, percpu memory too"
ROOT = (
    "root (CAP_SYS_RAWIO), CONFIG_PROC_KCORE and no lockdown=confidentiality "
    "(/sys/kernel/security/lockdown)"
)
NO_SYMBOLS = (
    "symbols: kernels from 6.0 on carry them where VMCOREINFO tells (CONFIG_KALLSYMS_ALL); for "
    "others give --debug vmlinux of the very build"
)

NO_BTF = (
    "types: kernels with CONFIG_DEBUG_INFO_BTF carry them; for others give --debug vmlinux of the "
    "very build"
)

_FLATTENED = b"makedumpfile"  # how a core begins that was written to a pipe


class DrgnMemory:
    """Memory of a core or of the running kernel (KernelMemory)."""

    def __init__(self, program: Any, btf: Btf | None, types: str) -> None:
        """Take over a program; types from btf, or from its debug information if that is None."""
        self.program = program
        self.types = types
        self._btf = btf

    def symbol(self, name: str, /) -> int | None:
        """Return the address of a variable (KernelMemory)."""
        try:
            address: int = self.program.symbol(name).address
        except LookupError:
            return None
        return address

    def size(self, name: str, /) -> int:
        """Return the bytes of a variable, by its symbol (KernelMemory)."""
        try:
            size: int = self.program.symbol(name).size
        except LookupError:
            return 0
        return size

    def offset(self, struct: str, member: str, /) -> int | None:
        """Return where a member begins (KernelMemory)."""
        if self._btf is not None:
            return self._btf.offset(struct, member)
        try:
            offset: int = drgn.offsetof(self.program.type(f"struct {struct}"), member)
        except LookupError:
            return None
        return offset

    def read(self, address: int, count: int, /) -> bytes:
        """Return bytes of memory (KernelMemory)."""
        try:
            data: bytes = self.program.read(address, count)
        except (drgn.FaultError, ValueError, OverflowError) as error:
            raise UnreadableError(f"{count} bytes at {address:#x} are not there ({error})",
                                  WHOLE) from None  # fmt: skip
        return data

    def stacks(self, task: int) -> Iterator[tuple[str, list[str]]]:
        """Yield who stands where: (who, functions with their lines, innermost first).

        task: that holds the mutex, as an address, or 0. Only with debug information; of the CPUs of
        a core only, as those of the running kernel do not stand still.
        """
        if self._btf is not None:
            return
        if task:
            owner = drgn.Object(self.program, "struct task_struct *", value=task)
            yield "mutex owner", self._frames(owner)
        if self.program.flags & drgn.ProgramFlags.IS_LIVE:
            return
        from drgn.helpers.linux.cpumask import for_each_online_cpu
        from drgn.helpers.linux.sched import cpu_curr

        for cpu in for_each_online_cpu(self.program):
            yield f"CPU {cpu}", self._frames(cpu_curr(self.program, cpu))

    def _frames(self, task: Any) -> list[str]:
        try:
            return [_frame(frame) for frame in self.program.stack_trace(task)]
        except (ValueError, LookupError, drgn.FaultError):
            return []


def _frame(frame: Any) -> str:
    name = (frame.name or "?").split("+")[0]
    try:
        file, line, _ = frame.source()
    except LookupError:
        return str(name)
    return f"{name} ({file.removeprefix('./')}:{line})"


def open_core(path: Path, debug: Path | None) -> DrgnMemory:
    """Return the memory of a core; types from debug, or else from the kernel's own BTF.

    Raises InputError for what cannot be read, with what to do.
    """
    _require_drgn()
    for platform in (None, drgn.Platform(drgn.Architecture.X86_64)):
        program = drgn.Program(platform)
        try:
            program.set_core_dump(path)
            break
        except Exception as error:  # libkdumpfile cannot tell the first: compressed by QEMU
            if platform is not None or "ARCH_NAME" not in str(error):
                raise _refusal(path, error) from None
    if not program.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
        raise InputError(path, None, NO_VMCOREINFO)
    return with_types(program, path, debug)


def _words(error: Exception) -> str:
    """Return what an error says, in one line: drgn's may say it in several."""
    return " ".join(str(error).split())


def _refusal(path: Path, error: Exception) -> InputError:
    text = _words(error)
    with path.open("rb") as file:
        if file.read(len(_FLATTENED)) == _FLATTENED:
            mends = "makedumpfile -R NEW < FILE puts one together that is flattened"
            return InputError(path, None, f"a core that can be read as it is ({text}); {mends}")
    if "VMCOREINFO" in text.upper():
        return InputError(path, None, f"{NO_VMCOREINFO} ({text})")
    if "truncated" in text or "annot read" in text:
        return InputError(path, None, f"a whole core ({text}): {WHOLE}")
    return InputError(path, None, f"a core of a kernel ({text})")


def open_live(debug: Path | None) -> DrgnMemory:
    """Return the memory of the running kernel. Raises InputError with what is missing."""
    _require_drgn()
    program = drgn.Program()
    try:
        program.set_kernel()
    except (OSError, PermissionError, ValueError) as error:
        who = "" if os.geteuid() == 0 else "; you are not root"
        raise InputError("/proc/kcore", None, f"{ROOT} ({_words(error)}{who})") from None
    return with_types(program, Path("/proc/kcore"), debug)


def _require_drgn() -> None:
    if drgn is None:
        raise InputError("drgn", None, INSTALL)


def with_types(program: Any, where: Path, debug: Path | None) -> DrgnMemory:
    """Return the memory of a program with its types; raises InputError where there are none."""
    flags = drgn.PlatformFlags
    platform = program.platform
    if platform is None or not (
        platform.flags & flags.IS_64_BIT and platform.flags & flags.IS_LITTLE_ENDIAN
    ):
        found = "none" if platform is None else platform.arch.name
        raise InputError(where, None, "a kernel of 64 bits, little-endian", found)
    if debug is not None:
        try:
            program.load_debug_info([str(debug)])
            program.type("struct pcpu_chunk")
        except Exception as error:
            expected = f"vmlinux with debug information of the core's build ({_words(error)})"
            raise InputError(debug, None, expected) from None
        return DrgnMemory(program, None, f"debug information, {debug.name}")
    try:
        index = kallsyms.load_vmlinux_kallsyms(program)
        program.register_symbol_finder("kallsyms", index, enable_index=0)
        btf = _own_btf(program)
    except Exception as error:
        return _by_default(program, where, error)
    return DrgnMemory(program, btf, "the kernel's own BTF")


class _NoBtfError(Exception):
    """The kernel does not carry its types."""


def _own_btf(program: Any) -> Btf:
    """Return the types that the kernel carries. Raises _NoBtfError, or drgn's FaultError."""
    try:
        start, stop = (program.symbol(f"__{end}_BTF").address for end in ("start", "stop"))
        return Btf(program.read(start, stop - start))
    except (LookupError, UnreadableError) as error:
        raise _NoBtfError(str(error)) from None


def _by_default(program: Any, where: Path, error: Exception) -> DrgnMemory:
    """Return memory with the debug information that drgn finds; raise InputError without it."""
    try:
        program.load_default_debug_info()
        program.type("struct pcpu_chunk")
    except Exception:
        if isinstance(error, drgn.FaultError):
            lacks = f"the kernel's own symbols and types ({_words(error)}); {WHOLE}"
            raise InputError(where, None, lacks) from None
        lacks = NO_BTF if isinstance(error, _NoBtfError) else NO_SYMBOLS
        raise InputError(where, None, f"{lacks} ({_words(error)})") from None
    return DrgnMemory(program, None, "debug information")
