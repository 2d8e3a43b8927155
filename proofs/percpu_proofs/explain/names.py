"""What commands take by name: scenarios, searches, and what ships with the package."""

from __future__ import annotations

from collections.abc import Iterator

from percpu_proofs.explain import Explanation
from percpu_proofs.explain.shipped import shipped
from percpu_proofs.explore import alphabets
from percpu_proofs.explore.scenario import Scenario
from percpu_proofs.explore.scenarios import FOLDER, SCENARIOS
from percpu_proofs.kernel.search.plans import DRAWN, QUICK, UNNAMED, TreeSearch
from percpu_proofs.review.jobs import FUZZED_AT

_READ_BY = {
    "state": "percpu-spec state FILE, or show NAME",
    "vector": "percpu-spec conform vectors, run FILE, or show NAME",
    "operation list": "percpu-spec run FILE, bench, or show NAME",
    "recorded run": "percpu-spec conform trace FOLDER",
    "patch": "percpu-spec review --source TREE --patch FILE",
}


def named(word: str) -> Iterator[Explanation]:
    """Yield what a name stands for: one may be of several searches."""
    if (scenario := SCENARIOS.get(word)) is not None:
        yield _scenario(scenario)
    yield from _searches(word)
    for kind, paths in shipped().items():
        if word in paths and kind in _READ_BY:
            yield {
                "id": word,
                "title": f"a {kind} that ships with the package",
                "file": str(paths[word]),
                "read_it_with": _READ_BY[kind],
            }


def names() -> list[str]:
    """Return every name of this kind."""
    plans = [plan.name for plan in (*alphabets.SEQUENCES, *alphabets.HUNTS)]
    trees = [search.name for search in (*QUICK, *DRAWN, UNNAMED)]
    sent = [name for kind, paths in shipped().items() if kind in _READ_BY for name in paths]
    return list(dict.fromkeys(
        [*SCENARIOS, *plans, *trees, *FUZZED_AT, *sent]
    ))  # fmt: skip


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


def _searches(word: str) -> Iterator[Explanation]:
    for engine, plans in (("sequences", alphabets.SEQUENCES), ("hunt", alphabets.HUNTS)):
        for plan in plans:
            if plan.name == word:
                at_once = f", the last {plan.together} at once" if plan.together > 1 else ""
                yield {
                    "id": word,
                    "title": plan.what,
                    "says": f"A search of variants ({engine} {word}): every list of up to "
                            f"{plan.longest} operations{at_once}.",
                    "bound": plan.bound,
                }  # fmt: skip
    if word in FUZZED_AT:
        yield {
            "id": word,
            "title": "programs and schedules drawn at random",
            "says": f"A search of variants (fuzz {word}).",
            "bound": FUZZED_AT[word],
        }
    for search in (*QUICK, *DRAWN, UNNAMED):
        if search.name == word and word not in SCENARIOS:
            yield _of_tree(search)


def _of_tree(search: TreeSearch) -> Explanation:
    command = f"percpu-spec review --source TREE --search {search.name}"
    return {
        "id": search.name,
        "title": search.what,
        "says": f"A search of compiled code: {command}",
        "bound": f"{search.bound}; {search.plan.geometry}",
    }
