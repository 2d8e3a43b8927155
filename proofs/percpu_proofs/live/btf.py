"""A kernel's own type information (BTF), as far as offsets of members are asked for.

Every kernel built with CONFIG_DEBUG_INFO_BTF carries it in its memory. Only the structs asked for
are looked at: there are some 100,000 types. Source: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from array import array

from percpu_proofs.live.kernel_memory import UnreadableError

_MAGIC = 0xEB9F
_STRUCT, _UNION = 4, 5
_MODIFIERS = (8, 9, 10, 11, 18)  # typedef, volatile, const, restrict, type tag
_BEHIND = {1: 4, 3: 12, 14: 4, 17: 4}  # bytes behind the header of a type, by kind
_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}  # bytes of each member, by kind


class Btf:
    """Offsets of members, by the names of struct and member."""

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
