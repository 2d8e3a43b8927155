"""The checked classes, importable by name: every variant at level fast and at level full.

`Linux612Full` is what `build("linux_6_12", ..., contracts="full")` makes an instance of, `Rfc1Fast`
the same for `rfc_1` at level fast. `help(Linux612Full.isolate_chunk)` shows the contract in
sentences; icontract's attributes on each function hold the conditions, for tools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from percpu_contracts.attach import checked
from percpu_reference.variants import VARIANTS

if TYPE_CHECKING:

    def __getattr__(name: str) -> type[Any]: ...


__all__: list[str] = []
for _variant in VARIANTS.values():
    for _level in ("fast", "full"):
        _class = checked(_variant, _level)
        _class.__module__ = __name__  # where tools look for it
        globals()[_class.__name__] = _class
        __all__ += [_class.__name__]
del _variant, _level, _class
