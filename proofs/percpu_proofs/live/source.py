"""Cores and the running kernel, through drgn: the one module that imports it."""

from __future__ import annotations

import logging
import os
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from percpu_proofs.live.kernel_memory import UnreadableError
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


_MAGIC = 0xEB9F
_STRUCT, _UNION = 4, 5
_MODIFIERS = (8, 9, 10, 11, 18)  # typedef, volatile, const, restrict, type tag
_BEHIND = {1: 4, 3: 12, 14: 4, 17: 4}  # bytes behind the header of a type, by kind
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}  # bytes of each member, by kind


class Btf:
    """Offsets of members by the names of struct and member, from types in a kernel's memory.

    Every kernel built with CONFIG_DEBUG_INFO_BTF carries them. Only the structs asked for are
    looked at: there are some 100,000 types. Source: Documentation/bpf/btf.rst.
    """

    def __init__(self, raw: bytes) -> None:
        """Find where each type stands. Raises UnreadableError for what is no BTF."""
        try:
            magic, _, _, header, types, length, strings, size = struct.unpack_from("<HBBIIIII", raw)
        except struct.error:
            magic = 0
        if magic != _MAGIC:
            raise UnreadableError("the kernel's type information is no BTF")
        self._names = raw[header + strings : header + strings + size]
        self._raw = raw[header + types : header + types + length]
        self._places = array("I", [0])  # of each type; number 0 is void
        self._structs: dict[int, int] = {}  # number of a struct or union, by the place of its name
        self._walk()

    def _walk(self) -> None:
        raw, places, structs = self._raw, self._places, self._structs
        unpack, end, at = struct.Struct("<II").unpack_from, len(self._raw), 0
        while at + 12 <= end:
            name, info = unpack(raw, at)
            kind = info >> 24 & 31
            if name and kind in (_STRUCT, _UNION):
                structs.setdefault(name, len(places))
            places.append(at)
            at += 12 + _BEHIND.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)

    def _name(self, at: int) -> str:
        return self._names[at : self._names.index(b"\0", at)].decode()

    def offset(self, of: str, member: str) -> int | None:
        """Return where a member of a struct begins, in bytes, None if there is none."""
        wanted = b"\0" + of.encode() + b"\0"
        at = self._names.find(wanted)
        while at >= 0:
            number = self._structs.get(at + 1)
            if number is not None:
                return self._within(number, member)
            at = self._names.find(wanted, at + 1)
        return None

    def _within(self, number: int, member: str) -> int | None:
        """Return where a member begins in a struct or its nameless parts."""
        at = self._places[number]
        _, info, _ = struct.unpack_from("<III", self._raw, at)
        fields = info >> 31  # offsets carry the width of a bit field in their top byte
        for place in range(at + 12, at + 12 + 12 * (info & 0xFFFF), 12):
            name, of_type, bits = struct.unpack_from("<III", self._raw, place)
            offset: int = (bits & 0xFFFFFF if fields else bits) // 8
            if name:
                if self._name(name) == member:
                    return offset
                continue
            inner = self._struct_behind(of_type)
            found = None if inner is None else self._within(inner, member)
            if found is not None:
                return offset + found
        return None

    def _struct_behind(self, number: int) -> int | None:
        """Return the struct or union that a type names, None if it is another."""
        for _ in range(16):
            _, info, target = struct.unpack_from("<III", self._raw, self._places[number])
            kind = info >> 24 & 31
            if kind in (_STRUCT, _UNION):
                return number
            if kind not in _MODIFIERS:
                return None
            number = target
        return None


@dataclass(slots=True)
class DrgnMemory:
    """Memory of a core or of the running kernel (KernelMemory); without btf its types are those of
    its debug information.
    """

    program: Any
    btf: Btf | None
    types: str

    def symbol(self, name: str, /) -> int | None:
        """Return the address of a variable (KernelMemory)."""
        symbol = self._symbol(name)
        return None if symbol is None else int(symbol.address)

    def size(self, name: str, /) -> int:
        """Return the bytes of a variable, by its symbol (KernelMemory)."""
        symbol = self._symbol(name)
        return 0 if symbol is None else int(symbol.size)

    def _symbol(self, name: str) -> Any:
        try:
            return self.program.symbol(name)
        except LookupError:
            return None

    def offset(self, struct: str, member: str, /) -> int | None:
        """Return where a member begins (KernelMemory)."""
        if self.btf is not None:
            return self.btf.offset(struct, member)
        try:
            return int(drgn.offsetof(self.program.type(f"struct {struct}"), member))
        except LookupError:
            return None

    def read(self, address: int, count: int, /) -> bytes:
        """Return bytes of memory (KernelMemory)."""
        try:
            return bytes(self.program.read(address, count))
        except (drgn.FaultError, ValueError, OverflowError) as error:
            lacks = f"{count} bytes at {address:#x} are not there ({error})"
            raise UnreadableError(lacks, WHOLE) from None

    def stacks(self, task: int) -> Iterator[tuple[str, list[str]]]:
        """Yield who stands where: (who, functions with their lines, innermost first).

        task: that holds the mutex, as an address, or 0. Only with debug information; of the CPUs of
        a core only, as those of the running kernel do not stand still.
        """
        if self.btf is not None:
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
    except Exception as error:
        return _by_default(program, where, error, NO_SYMBOLS)
    try:
        start, stop = (program.symbol(f"__{end}_BTF").address for end in ("start", "stop"))
        btf = Btf(program.read(start, stop - start))
    except Exception as error:
        return _by_default(program, where, error, NO_BTF)
    return DrgnMemory(program, btf, "the kernel's own BTF")


def _by_default(program: Any, where: Path, error: Exception, lacks: str) -> DrgnMemory:
    """Return memory with the debug information that drgn finds; raise InputError without it.

    error: why the kernel's own symbols and types are not used; lacks: what there should be then.
    """
    try:
        program.load_default_debug_info()
        program.type("struct pcpu_chunk")
    except Exception:
        if isinstance(error, drgn.FaultError):
            lacks = f"the kernel's own symbols and types ({_words(error)}); {WHOLE}"
            raise InputError(where, None, lacks) from None
        raise InputError(where, None, f"{lacks} ({_words(error)})") from None
    return DrgnMemory(program, None, "debug information")
