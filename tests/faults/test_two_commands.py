"""Two commands on one output (R4): one works, the other exits 75 at once; a dead holder needs no human."""

from __future__ import annotations

import statistics
import subprocess
import time
from pathlib import Path

import pytest

from tests.commands.inputs import PSIFLOW, copper
from tests.faults.runs import arguments, begun, site, wait_for


@pytest.mark.timeout(1500)
def two_starts():
    """The seconds that two commands take which begin at once and do nothing."""
    start = time.monotonic()
    for one in [subprocess.Popen([PSIFLOW, "--version"], stdout=subprocess.DEVNULL) for _ in range(2)]:
        one.wait()
    return time.monotonic() - start


@pytest.mark.parametrize("rounds", [6, pytest.param(200, marks=pytest.mark.full)])
def test_started_at_once_again_and_again(tmp_path, monkeypatch, rounds):
    """In each round two start together; the one that works is killed, and the next round takes its lock over."""
    monkeypatch.chdir(tmp_path)
    Path("in.xyz").write_text(copper(2000))
    site("threads")
    command = [PSIFLOW, *arguments("out.xyz", "--set", "seconds=0.2")]
    waits = []
    for number in range(rounds):
        before = sum(begun("out.xyz").values())
        start = time.monotonic()
        both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
        try:
            wait_for(lambda both=both: any(one.poll() is not None for one in both), 30, "neither was refused")
            waits.append(time.monotonic() - start)
            (refused,) = [one for one in both if one.poll() is not None]
            (working,) = [one for one in both if one is not refused]
            said = refused.stderr.read()
            assert refused.returncode == 75, (number, said)
            assert f"pid {working.pid} on " in said
            assert len(said.strip().splitlines()) == 2
            wait_for(
                lambda before=before, working=working: (
                    sum(begun("out.xyz").values()) > before or working.poll() is not None
                ),
                60,
                "the other does not work",
            )
            assert working.poll() is None, working.stderr.read()
        finally:
            for one in both:
                one.kill()
                one.wait()
                one.stderr.close()
    print(f"{rounds} rounds, refused after {statistics.median(waits):.2f} s (median), {max(waits):.2f} s (most)")
    assert statistics.median(waits) < max(1.0, 8 * two_starts()), "75 within 1 s, or longer on a busy machine"
