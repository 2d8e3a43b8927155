"""The model at the page sizes that kernels have, under contracts, beside the abstract machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from depth import deep_unless

from percpu_proofs.kernel.cases import draw_case
from percpu_proofs.kernel.instance import BuildForm
from percpu_proofs.run.choices import drawn
from percpu_proofs.run.operations import OperationList
from percpu_proofs.run.runner import RunReport, run_list
from percpu_spec.geometry import Geometry, GeometryError

FORMS = [
    BuildForm("vm", 65536), BuildForm("vm", 16384), BuildForm("vm", 8192), BuildForm("km", 65536),
    BuildForm("km", smp=False), BuildForm("km", 65536, smp=False),
]  # fmt: skip
QUICK = {("reference", FORMS[1]), ("linux_6_12", FORMS[0]), ("linux_6_12", FORMS[4])}
EACH = [(variant, form) for variant in ("linux_6_12", "reference") for form in FORMS]


@pytest.mark.parametrize(
    ("variant", "form"), deep_unless(lambda variant, form: (variant, form) in QUICK, EACH), ids=str
)
def test_variants_break_nothing_else_at_other_pages(variant: str, form: BuildForm) -> None:
    asked = 0
    for seed in range(3):
        case = draw_case(drawn(f"{seed}x"), form, 60)
        lines = range(1, len(case.operations) + 1)
        report = RunReport("x", "", variant, "full", case.geometry, len(case.operations))
        run_list(OperationList(Path("x"), case.operations, lines), report)
        assert report.complete, report.violations
        asked += sum(verdict.evaluations for verdict in report.clauses)
    assert asked > 1000


RULES = [
    ("page=65536,unit=98304", "unit=98304: expected a multiple of the page, 65536"),
    ("page=12288", "expected a power of two times the granule"),
    ("page=2048", "page=2048: expected one of 4096, 8192"),
    ("page=524288,unit=524288", "page=524288: expected one of 4096"),
    ("page=16384,unit=16384,static=100,reserved=0,dyn=16000", "unit=16384: expected at least"),
    ("static=0", "a static part, or cpus=1, spare=0 and backing=km"),
    ("static=0,reserved=0,dyn=65536,cpus=1", "only a kernel without SMP has none"),
    ("static=0,reserved=0,dyn=65536,cpus=1,backing=km,spare=1", "only a kernel without SMP"),
    ("spare=-1", "dyn and spare: expected no negative size"),
    ("spare=9000", "spare=9000: expected at most 8192"),
]


@pytest.mark.parametrize(("text", "message"), RULES)
def test_rules_of_page_sizes(text: str, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        Geometry().with_changes(text).require_kernel()


def test_what_follows_from_the_page() -> None:
    sizes = Geometry().with_changes("page=65536,unit=196608,static=127448,dyn=60968,cpus=2,spare=1")
    assert (sizes.largest, sizes.unit_pages, sizes.block_bits) == (65536, 3, 16384)
    assert (sizes.cpus, sizes.units) == (2, 3)
    assert sizes.with_changes("page=4096,cpus=4").largest == 32768
    assert Geometry().with_changes(sizes.text) == sizes
    single = Geometry().with_changes("static=0,reserved=0,dyn=65536,cpus=1,backing=km")
    assert not single.require_kernel().smp
