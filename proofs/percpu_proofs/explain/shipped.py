"""What ships with the package, by name: states, vectors, operation lists, recorded runs, patches.

A command that takes a file takes such a name as well; a file of that name comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal

from percpu_proofs import data
from percpu_proofs.explore.scenarios import FOLDER
from percpu_proofs.run.inputs import InputError

Kind = Literal["state", "vector", "operation list", "scenario", "recorded run", "patch"]

DRAWN: tuple[Kind, ...] = "state", "vector", "operation list", "scenario", "recorded run"
"""What can be drawn as a state (show)."""

_SOME = 4  # names that are told where none is near
_ENDS = (".gz", ".jsonl", ".json", ".ops", ".txt", ".patch")


@cache
def shipped() -> dict[str, dict[str, Path]]:
    """Return what ships: kinds, and in each the paths by name."""
    return {
        "state": _named(
            path for form in ("*.txt.gz", "reads*.json.gz")
            for path in data.folder("states").glob(form)
        ),
        "vector": _named(data.folder("vectors").glob("*.jsonl.gz")),
        "operation list": _named(
            path for name in ("bench", "workload") for path in data.folder(name).glob("*.ops.gz")
        ),
        "scenario": _named(FOLDER.glob("*.txt")),
        "recorded run": {
            path.name: path for path in sorted(data.folder(".").iterdir())
            if (path / "manifest.json").is_file() and (path / "trace.jsonl.gz").is_file()
        },
        "patch": _named(data.folder("patches").glob("*.patch")),
    }  # fmt: skip


def names(*kinds: Kind) -> list[str]:
    """Return the names of some kinds, of all if none is given."""
    return [name for kind in (kinds or shipped()) for name in shipped()[kind]]


def find(given: Path, *kinds: Kind) -> Path:
    """Return a path that is there as it is, else what ships under that name.

    Raises InputError, naming what is near, for a name without folder that is neither.
    """
    if given.exists() or len(given.parts) != 1:
        return given
    for kind in kinds or shipped():
        found = shipped()[kind]
        if given.name in found or (bare := _bare(given)) in found:
            return found[given.name if given.name in found else bare]
    known = names(*kinds)
    near = get_close_matches(_bare(given), known)
    some = f"near: {', '.join(near)}" if near else f"such as {', '.join(known[:_SOME])}"
    ships = f"a name of what ships ({', '.join(kinds or shipped())}), {some}"
    raise InputError(given, None, f"a readable file, or {ships}")


def _named(paths: Iterable[Path]) -> dict[str, Path]:
    return {_bare(path): path for path in sorted(paths)}


def _bare(path: Path) -> str:
    """Return a name without what says how the file is written.

    >>> _bare(Path("33-frag-u32-c4-odd.jsonl.gz")), _bare(Path("612_4.boot.txt.gz"))
    ('33-frag-u32-c4-odd', '612_4.boot')
    """
    name = path.name
    for end in _ENDS:
        name = name.removesuffix(end)
    return name
