"""What commands take by name: variants and releases, scenarios, searches, and what ships.

What ships are states, vectors, operation lists, recorded runs and patches. A command that takes a
file takes such a name as well; a file of that name comes first.
"""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Literal

from percpu_proofs import data
from percpu_proofs.explain import Explanation, docstring, explanation
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import FOLDER, SCENARIOS
from percpu_proofs.explore.searches import ALONE, HUNTS, SEQUENCES, SMALL, searches
from percpu_proofs.explore.searches import DRAWN as DRAWN_BY
from percpu_proofs.kernel.search.plans import DRAWN as DRAWN_SEARCHES
from percpu_proofs.kernel.search.plans import QUICK, UNNAMED
from percpu_proofs.review.job import FUZZED_AT
from percpu_proofs.run.inputs import InputError
from percpu_reference.variants import (
    MERGED,
    RELEASES,
    SINCE,
    VARIANTS,
    Allocator,
    UnknownVariantError,
    variant_name,
)
from percpu_spec.catalogue import clause
from percpu_spec.releases import KM, compared, of_variant, with_commit

Kind = Literal["state", "vector", "operation list", "scenario", "recorded run", "patch"]

DRAWN: tuple[Kind, ...] = "state", "vector", "operation list", "scenario", "recorded run"
"""What can be drawn as a state (show)."""

_VARIANTS = VARIANTS | RELEASES
_SOME = 4  # names that are told where none is near
_ENDS = (".gz", ".jsonl", ".json", ".ops", ".txt", ".patch")


@cache
def shipped() -> dict[str, dict[str, Path]]:
    """Return what ships: kinds, and in each the paths by name."""
    return {
        "state": _by_name(
            path for form in ("*.txt.gz", "reads*.json.gz")
            for path in data.folder("states").glob(form)
        ),
        "vector": _by_name(data.folder("vectors").glob("*.jsonl.gz")),
        "operation list": _by_name(
            path for name in ("bench", "workload") for path in data.folder(name).glob("*.ops.gz")
        ),
        "scenario": _by_name(FOLDER.glob("*.txt")),
        "recorded run": {
            path.name: path for path in sorted(data.folder(".").iterdir())
            if (path / "manifest.json").is_file() and (path / "trace.jsonl.gz").is_file()
        },
        "patch": _by_name(data.folder("patches").glob("*.patch")),
    }  # fmt: skip


def shipped_names(*kinds: Kind) -> list[str]:
    """Return the names of what ships of some kinds, of all if none is given."""
    return [name for kind in (kinds or shipped()) for name in shipped()[kind]]


def find_file(path: Path, *kinds: Kind) -> Path:
    """Return a path that is there as it is, else what ships under that name.

    Raises InputError, naming what is near, for a name without folder that is neither.
    """
    if path.exists() or len(path.parts) != 1:
        return path
    for kind in kinds or shipped():
        found = shipped()[kind]
        if path.name in found or (bare := _bare(path)) in found:
            return found[path.name if path.name in found else bare]
    known = shipped_names(*kinds)
    near = get_close_matches(_bare(path), known)
    some = f"near: {', '.join(near)}" if near else f"such as {', '.join(known[:_SOME])}"
    ships = f"a name of what ships ({', '.join(kinds or shipped())}), {some}"
    raise InputError(path, None, f"a readable file, or {ships}")


def _by_name(paths: Iterable[Path]) -> dict[str, Path]:
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


_READ_BY = {
    "state": "percpu-spec state FILE, or show NAME",
    "vector": "percpu-spec conform vectors, run FILE, or show NAME",
    "operation list": "percpu-spec run FILE, bench, or show NAME",
    "recorded run": "percpu-spec conform trace FOLDER",
    "patch": "percpu-spec review --source TREE --patch FILE",
}


def names() -> list[str]:
    """Return every name that commands take. Releases (6.14) are taken too."""
    return [*_VARIANTS, *meanings()]


@cache
def meanings() -> Mapping[str, list[Explanation]]:
    """Return what each name stands for: one may be of several searches."""
    found: dict[str, list[Explanation]] = defaultdict(list)
    for entry in (*map(_scenario, SCENARIOS.values()), *_of_shipped()):
        found[entry["id"]].append(entry)
    for engine, entry in _searches():
        found[entry["id"]].append(entry)
        found[f"{engine} {entry['id']}"].append(entry)
    for scenario in SCENARIOS.values():
        found[f"scenario {scenario.name}"].append(_scenario(scenario))
    for name in (DRAWN_BY, SMALL, ALONE):
        found[name].append(explanation(name, "what found a counterexample", f"{searches()[name]}."))
    return dict(found)


def _of_shipped() -> Iterator[Explanation]:
    for kind, paths in shipped().items():
        for name, path in paths.items() if kind in _READ_BY else ():
            yield {
                "id": name,
                "title": f"a {kind} that ships with the package",
                "file": str(path),
                "read_it_with": _READ_BY[kind],
            }


def _scenario(scenario: Scenario) -> Explanation:
    return {
        "id": scenario.name,
        "title": scenario.what,
        "says": f"A scenario: percpu-spec explore {scenario.name} searches all its schedules.",
        "setup": "; ".join(scenario.setup),
        "at_once": "; ".join(scenario.actors),
        "geometry": scenario.geometry,
        "file": str(FOLDER / f"{scenario.name}.txt"),
        "finds": [
            {
                "variant": name,
                "states": verdict.states or 0,
                "broken": ", ".join(sorted(verdict.broken)) or "none",
            }
            for name, verdict in scenario.verdicts.items()
        ],
    }


def _searches() -> Iterator[tuple[str, Explanation]]:
    """Yield the searches, each with its engine, as `Found by` has it."""
    for engine, plans in (("sequences", SEQUENCES), ("hunt", HUNTS)):
        for plan in plans:
            at_once = f", the last {plan.together} at once" if plan.together > 1 else ""
            lists = f"every list of up to {plan.longest} operations{at_once}"
            says = f"A search of variants ({engine} {plan.name}): {lists}."
            yield engine, explanation(plan.name, plan.what, says, bound=plan.bound)
    for name, bound in FUZZED_AT.items():
        says = f"A search of variants (fuzz {name})."
        yield "fuzz", explanation(name, "programs and schedules drawn at random", says, bound=bound)
    for search in (*QUICK, *DRAWN_SEARCHES, UNNAMED):
        if search.name not in SCENARIOS:
            command = f"percpu-spec review --source TREE --search {search.name}"
            yield "search", explanation(
                search.name, search.what, f"A search of compiled code: {command}",
                bound=f"{search.bound}; {search.plan.geometry}",
            )  # fmt: skip


def explain_release(word: str) -> Iterator[Explanation]:
    """Yield what a variant does that others do not, by its name or a release that it stands for.

    Raises InputError for a release that no variant stands for.
    """
    try:
        name = variant_name(word)
    except UnknownVariantError as error:
        raise InputError("explain", None, str(error).partition("expected ")[2], word) from None
    if name in _VARIANTS:
        yield _variant(word, name, _VARIANTS[name])


def explain_commit(word: str) -> Iterator[Explanation]:
    """Yield what a commit, a tree's or one that brought a variant, or a CVE is of."""
    for variant in with_commit(word):
        yield _variant(word.strip().lower(), variant, _VARIANTS[variant])
    cve = word.strip().upper()
    if re.fullmatch(r"CVE-\d+-\d+", cve) and cve in KM:
        yield explanation(cve, "the km backing with more than one CPU", KM)


_RELEASE = re.compile(r"v?([0-9]+)\.([0-9]+)(\.?)")
"""A release, and whether it has a third number."""


def stand_in_note(word: str) -> str:
    """Return what is said of a release that is taken for what mainline's is not; empty for others.

    Such are those that are newer than all variants, and those that stable trees mended.

    >>> stand_in_note("6.1"), stand_in_note("6.12").partition(":")[0]
    ('', '6.12 alone is taken for linux_6_12 (6.1.159, 6.6.117, 6.12.59 and later of each)')
    >>> stand_in_note("v9.9-rc1"), stand_in_note("7.1.5")
    ('v9.9-rc1 is newer than what is known (7.1); linux_7_1 stands in for it', '')
    """
    release = None if word.endswith(".py") else _RELEASE.match(word)
    if release is None:
        return ""
    name = variant_name(word)
    last, newest = max((version, name) for name, version in SINCE.items())
    if (int(release[1]), int(release[2])) > last and name == newest:
        known = ".".join(map(str, last))
        return f"{word} is newer than what is known ({known}); {newest} stands in for it"
    first = f"{release[1]}.{release[2]}.0"
    if release[3] or name != MERGED or (mainline := variant_name(first)) == MERGED:
        return ""
    row = of_variant(MERGED)
    assert row is not None
    return f"{word} alone is taken for {MERGED} ({row.releases}): mainline's is {first}, {mainline}"


def _variant(word: str, name: str, cls: type[Allocator]) -> Explanation:
    row = of_variant(name)
    title, says = docstring(cls)
    found: Explanation = {
        "id": name if word.replace("-", "_") == name else f"{word} is {name}",
        "title": title,
        "says": "\n\n".join(filter(None, (says, stand_in_note(word)))),
        "file": cls.__module__,
        "extends": ", ".join(base.__name__ for base in cls.__bases__),
        "defines": ", ".join(
            name for name, value in vars(cls).items()
            if inspect.isfunction(value) and not name.startswith("__")
        ),
    }
    operations: Mapping[str, int] = {}
    if row is not None:
        operations = row.breaks
        found |= {
            "releases": row.releases,
            "brought": f"{row.brought}: {row.commit}",
            "backports": row.stable,
            "mends": ", ".join(row.mends) or "none of the findings",
            "searched": row.searched,
            "compared": "; ".join(compared(row)),
        }
    return found | {
        "breaks": [
            {
                "clause": c, "what": clause(c).title, "by": why,
                "after": f"{operations[c]} operations" if c in operations else "",
            }
            for c, why in cls.EXPECTED.items()
        ],
        "not_applicable": dict(cls.NOT_APPLICABLE),
    }  # fmt: skip
