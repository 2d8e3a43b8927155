"""Slow, and only where asked for: Debian's kernel boots in emulation, is dumped and read live.

PERCPU_SPEC_GUEST names a folder for packages and cores (1.5 GB), e.g.
`PERCPU_SPEC_GUEST=/tmp/guest pytest -m deep tests/test_state_guest.py -n0`. It needs QEMU, busybox,
cpio, gcc and apt; about three minutes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from guest.machine import Machine, Missing, initrd, kernel

from percpu_proofs.live.subject import SubjectKind, read_subject
from percpu_proofs.live.verdicts import BROKEN, HOLDS, KernelStateJudge
from percpu_proofs.recorded.states.kernel_state import Stability

FOLDER = os.environ.get("PERCPU_SPEC_GUEST", "")


@pytest.mark.deep
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not FOLDER, reason="PERCPU_SPEC_GUEST names no folder")
def test_a_booted_kernel_is_judged_from_its_core_and_from_within() -> None:
    folder = Path(FOLDER).resolve()
    try:
        unpacked = kernel(folder)
        ramdisk = initrd(folder, unpacked)
    except Missing as missing:
        pytest.skip(f"the machine needs {missing}")
    cores: list[str] = []
    samples, said = [], []
    machine = Machine(folder, unpacked, ramdisk, "")
    try:
        for line in machine.lines():
            said.append(line)
            if line.startswith("MARK "):
                cores.append(str(machine.dump(line[5:])))
                machine.go_on()
            elif line.startswith("SAMPLE "):
                samples.append(json.loads(line[7:]))
            elif line == "DONE":
                break
    finally:
        machine.end()
    (folder / "console.log").write_text("\n".join(said))

    assert len(cores) == 2
    for core in cores:
        state = read_subject(core, SubjectKind.CORE, None, owners=True)
        verdicts = KernelStateJudge().verdicts(state)
        assert not [v for v in verdicts.values() if v.verdict == BROKEN]
        assert state.types == "the kernel's own BTF" and verdicts["MAP-3"].verdict != BROKEN
    removed = state
    assert removed.stability in (Stability.AT_REST, Stability.BUSY)
    assert KernelStateJudge().verdicts(removed)["ISO-2"].verdict == HOLDS
    owners = {name for chunk in removed.chunks for name in (chunk.owners or {}).values()}
    assert "/percpu_test" in owners

    assert "EXIT 0" in said or "EXIT 3" in said  # the last, of one moment or unstable
    assert len(samples) == 3
    stable = [sample for sample in samples if "unstable" not in sample]
    assert stable and all(not sample["broken"] for sample in stable)
    assert {sample["kernel"] for sample in stable} == {removed.release}
