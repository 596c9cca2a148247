"""SIGKILL at random moments of a run of eight walkers: its trajectory is, byte for byte, the uninterrupted one."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from tests.commands.inputs import WATER

KILLS = 100


@pytest.mark.full
@pytest.mark.timeout(3000)
def test_a_hundred_kills_leave_no_trace(start, trained):
    pytest.importorskip("torch_sim", reason="torch-sim is not installed")
    Path("start.xyz").write_text(WATER)
    arguments = (
        *("sample", "start.xyz", "--model", trained.model, "--walkers", 8, "--engine", "torchsim", "--batch", 3),
        *("--every", 50, "--seed", 5, "--site", trained.site),
    )
    moments, kills, steps = random.Random(0), 0, 2000
    while kills < KILLS:
        process = start(*arguments, "--steps", steps, "-o", "killed.xyz")
        time.sleep(moments.uniform(0.5, 14.0))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        else:
            assert process.returncode == 0, process.stderr.read()
            steps += 2_000  # finished too soon: further
        process.communicate()
    for output in ("killed.xyz", "whole.xyz"):
        process = start(*arguments, "--steps", steps, "-o", output)
        _, said = process.communicate()
        assert process.returncode == 0, said
    print(f"{kills} kills in {steps} steps of 8 walkers")
    assert Path("killed.xyz").read_bytes() == Path("whole.xyz").read_bytes()
