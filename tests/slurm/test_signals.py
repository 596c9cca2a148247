"""Signals to a command in and outside of SLURM jobs: it stops in order, and the same command goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.commands.inputs import PSIFLOW, alive, copper
from tests.slurm.test_faults import begun, running
from tests.slurm.test_provider import SLOW, folder, label, noted, run, started, units, wait_for

__all__ = ["folder"]  # a fixture

WITHIN_S = 8.0
"""The contract's 5 s, and what a busy machine adds."""


@pytest.fixture
def sbatch(slurm, folder):
    """Submit `psiflow label` as a job of its own on two nodes; returns the job id."""

    def submit(*options, seconds=0.5):
        command = f"exec {PSIFLOW} label in.xyz --reference {SLOW} --set seconds={seconds} -o out.xyz"
        return slurm.run("sbatch", "--parsable", "-N2", "-n2", "-o", "job.log", *options, "--wrap", command).strip()

    return submit


def exit_code(slurm, job):
    """How a job ended, or None while it runs."""
    facts = dict(word.split("=", 1) for word in slurm.run("scontrol", "show", "job", job).split() if "=" in word)
    return None if facts["JobState"] in ("PENDING", "RUNNING", "COMPLETING") else facts["ExitCode"]


@pytest.mark.parametrize("name", [pytest.param("USR1", marks=pytest.mark.full), "TERM"])
def test_a_signal_to_a_job_stops_it_in_order_and_the_next_job_goes_on(slurm, sbatch, name):
    job = sbatch("-t", "5")
    wait_for(lambda: len(units("out.xyz")) > 2, 60, "no frame was labelled")
    slurm.run("scancel", "--batch", f"--signal={name}", job)
    begin = time.monotonic()
    wait_for(lambda: exit_code(slurm, job), 30, "the job went on")
    assert time.monotonic() - begin < WITHIN_S
    assert exit_code(slurm, job) == "75:0"
    assert f"stopped by SIG{name}" in Path("job.log").read_text()
    kept = Counter(units("out.xyz"))
    assert not alive(f"{os.getcwd()}/out.xyz.run")
    after = sbatch("-t", "5")
    wait_for(lambda: exit_code(slurm, after), 90, "the second job did not end")
    assert exit_code(slurm, after) == "0:0"
    assert len(units("out.xyz")) == 24
    assert Counter(units("out.xyz")) >= kept
    assert all(begun("out.xyz")[frame] == 1 for frame in kept), "what was finished was not computed again"


@pytest.mark.full
def test_sbatch_signals_before_the_time_is_up(slurm, sbatch):
    Path("in.xyz").write_text(copper(100))
    job = sbatch("-t", "2", "--signal=B:USR1@60", seconds=2)
    wait_for(lambda: exit_code(slurm, job), 150, "the job went on")
    assert exit_code(slurm, job) == "75:0"
    assert "stopped by SIGUSR1" in Path("job.log").read_text()
    assert 0 < len(units("out.xyz")) < 100


def test_the_blocks_of_a_command_end_with_it(slurm, folder):
    with started(label("-o", "out.xyz", seconds=1)) as command:
        wait_for(lambda: units("out.xyz"), 60, "no frame was labelled")
        command.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        assert command.wait(30) == 75
        assert time.monotonic() - begin < WITHIN_S
    wait_for(lambda: not slurm.run("squeue", "-h"), 15, "jobs are left")
    assert not alive(f"{os.getcwd()}/out.xyz.run")
    kept = units("out.xyz")
    run(label("-o", "out.xyz", seconds=1))
    assert all(begun("out.xyz")[frame] == 1 for frame in kept)


def test_a_command_that_waits_for_the_queue_stops_too(slurm, folder):
    slurm.run("scontrol", "update", "partitionname=cpu", "state=down")
    try:
        with started(label("-o", "out.xyz")) as command:
            wait_for(lambda: slurm.run("squeue", "-h"), 60, "no job was submitted")
            wait_for(noted, 10, "the job was not noted")
            job = slurm.run("squeue", "-h", "-o", "%i").split()[0]
            shown = run([PSIFLOW, "status", "out.xyz"]).stdout
            assert re.search(rf"in the queue: (.*, )?{job} \(", shown), shown
            command.send_signal(signal.SIGTERM)
            begin = time.monotonic()
            assert command.wait(30) == 75
            assert time.monotonic() - begin < WITHIN_S
        assert slurm.run("squeue", "-h") == ""
    finally:
        slurm.run("scontrol", "update", "partitionname=cpu", "state=up")


@pytest.mark.full
def test_blocks_on_another_host_end_soon_after_a_killed_command(slurm, folder):
    """All nodes are on this host, so the supervisor of the blocks is told that the command is not."""
    slurm.run("scontrol", "update", "partitionname=cpu", "state=down")
    try:
        with started(label("-o", "out.xyz", seconds=3)) as command:
            wait_for(lambda: slurm.run("squeue", "-h"), 60, "no job was submitted")
            facts = Path("out.xyz.run/parsl/default.supervisor.json")
            facts.write_text(json.dumps({**json.loads(facts.read_text()), "host": "elsewhere"}))
            slurm.run("scontrol", "update", "partitionname=cpu", "state=up")
            wait_for(lambda: len(units("out.xyz")) > 1, 60, "no frame was labelled")
            assert running(slurm)
            command.send_signal(signal.SIGKILL)
        begin = time.monotonic()
        wait_for(lambda: not slurm.run("squeue", "-h", "-t", "running"), 120, "blocks are left")
        wait_for(lambda: not alive(f"{os.getcwd()}/out.xyz.run"), 10, "processes are left")
        assert time.monotonic() - begin < 120
    finally:
        slurm.run("scontrol", "update", "partitionname=cpu", "state=up")
