"""What commands take by name: scenarios, searches, and what ships with the package."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache

from percpu_proofs.explain import Explanation
from percpu_proofs.explain.shipped import shipped
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import FOLDER, SCENARIOS
from percpu_proofs.explore.searches import ALONE, HUNTS, SEQUENCES, SMALL, searches
from percpu_proofs.explore.searches import DRAWN as DRAWING
from percpu_proofs.kernel.search.plans import DRAWN, QUICK, UNNAMED
from percpu_proofs.review.job import FUZZED_AT

_READ_BY = {
    "state": "percpu-spec state FILE, or show NAME",
    "vector": "percpu-spec conform vectors, run FILE, or show NAME",
    "operation list": "percpu-spec run FILE, bench, or show NAME",
    "recorded run": "percpu-spec conform trace FOLDER",
    "patch": "percpu-spec review --source TREE --patch FILE",
}


def explain_name(word: str) -> list[Explanation]:
    """Return what a name stands for: one may be of several searches."""
    return _by_name().get(word, [])


def names() -> list[str]:
    """Return every name of this kind."""
    return list(_by_name())


@cache
def _by_name() -> Mapping[str, list[Explanation]]:
    found: dict[str, list[Explanation]] = defaultdict(list)
    for entry in (*map(_scenario, SCENARIOS.values()), *_shipped()):
        found[entry["id"]].append(entry)
    for engine, entry in _searches():
        found[entry["id"]].append(entry)
        found[f"{engine} {entry['id']}"].append(entry)
    for scenario in SCENARIOS.values():
        found[f"scenario {scenario.name}"].append(_scenario(scenario))
    for name in (DRAWING, SMALL, ALONE):
        found[name].append({"id": name, "title": "what found a counterexample",
                            "says": f"{searches()[name]}."})  # fmt: skip
    return dict(found)


def _shipped() -> Iterator[Explanation]:
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
            yield engine, {
                "id": plan.name,
                "title": plan.what,
                "says": f"A search of variants ({engine} {plan.name}): every list of up to "
                        f"{plan.longest} operations{at_once}.",
                "bound": plan.bound,
            }  # fmt: skip
    for name, bound in FUZZED_AT.items():
        yield "fuzz", {
            "id": name,
            "title": "programs and schedules drawn at random",
            "says": f"A search of variants (fuzz {name}).",
            "bound": bound,
        }
    for search in (*QUICK, *DRAWN, UNNAMED):
        if search.name not in SCENARIOS:
            command = f"percpu-spec review --source TREE --search {search.name}"
            yield "search", {
                "id": search.name,
                "title": search.what,
                "says": f"A search of compiled code: {command}",
                "bound": f"{search.bound}; {search.plan.geometry}",
            }
