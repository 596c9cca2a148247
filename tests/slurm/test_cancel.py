"""psiflow cancel and the blocks of a run: those of a live one, and those that a killed one has left in the queue."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

from tests.commands.inputs import PSIFLOW, alive
from tests.slurm.test_provider import SLOW, folder, label, noted, run, started, units, wait_for

__all__ = ["folder"]  # a fixture


@contextmanager
def queueing(slurm):
    """No job starts."""
    slurm.run("scontrol", "update", "partitionname=cpu", "state=down")
    try:
        yield
    finally:
        slurm.run("scontrol", "update", "partitionname=cpu", "state=up")


def in_queue(slurm):
    return slurm.run("squeue", "-h", "-o", "%i").split()


def test_what_waits_in_the_queue_is_cancelled_with_its_command(slurm, folder):
    with queueing(slurm), started(label("-o", "out.xyz")) as command:
        wait_for(noted, 60, "no job was submitted")
        (job, *_) = noted()
        shown = run([PSIFLOW, "status"]).stdout
        assert re.search(rf"default on slurm: in the queue: {job} \(\d+ s[:)]", shown), shown
        done = run([PSIFLOW, "cancel", "out.xyz"])
        assert done.stdout.startswith("out.xyz.run: has ended: partial, 0/24 done")
        assert command.wait(1) == 75
        assert in_queue(slurm) == []


def test_what_a_killed_command_left_in_the_queue_can_be_cancelled(slurm, folder):
    with queueing(slurm):
        with started(label("-o", "out.xyz")) as command:
            wait_for(lambda: len(in_queue(slurm)) == 2, 60, "no job was submitted")
            wait_for(lambda: set(noted()) == set(in_queue(slurm)), 20, "not all jobs are noted")
            command.send_signal(signal.SIGKILL)
        jobs = sorted(in_queue(slurm))
        assert f"it may have left jobs: {', '.join(noted())}" in run([PSIFLOW, "status"]).stdout
        there = {**os.environ, "PATH": "/usr/nowhere"}
        said = run([PSIFLOW, "cancel", "out.xyz"], code=75, env=there).stdout
        assert "could not be cancelled: scancel: No such file" in said
        there = {**os.environ, "SLURM_CONF": "/dev/null"}
        said = run([PSIFLOW, "cancel", "out.xyz"], code=75, env=there).stdout
        assert "could not be cancelled: scancel: " in said
        record = Path("out.xyz.run/blocks.json").read_text()
        assert sorted(in_queue(slurm)) == jobs
        told = json.loads(run([PSIFLOW, "cancel", "--all", "--json"]).stdout)
        assert [(end["was"], sorted(end["cancelled"])) for end in told] == [("dead", jobs)]
        wait_for(lambda: not in_queue(slurm), 15, "jobs are left")
        assert "jobs" not in run([PSIFLOW, "cancel", "out.xyz"]).stdout
        Path("out.xyz.run/blocks.json").write_text(record)
        run([PSIFLOW, "cancel", "out.xyz"])  # jobs that are gone do no harm
        assert not Path("out.xyz.run/blocks.json").exists()


def test_a_job_whose_id_the_killed_command_never_learnt_is_cancelled_by_its_name(slurm, folder, monkeypatch):
    Path("bin").mkdir()
    Path("bin/sbatch").write_text(f'#!/bin/sh\nanswer=$({shutil.which("sbatch")} "$@")\nsleep 2\necho "$answer"\n')
    Path("bin/sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}:{os.environ['PATH']}")
    with queueing(slurm):
        with started(label("-o", "out.xyz")) as command:
            wait_for(lambda: in_queue(slurm), 60, "no job was submitted")
            command.send_signal(signal.SIGKILL)
        (name,) = json.loads(Path("out.xyz.run/blocks.json").read_text())["doubtful"]
        assert slurm.run("squeue", "-h", "-o", "%j").split() == [name]
        assert f"it may have left jobs: {name}" in run([PSIFLOW, "status"]).stdout
        assert json.loads(run([PSIFLOW, "cancel", "out.xyz", "--json"]).stdout)[0]["cancelled"] == [name]
        wait_for(lambda: not in_queue(slurm), 15, "the job is left")
    assert not Path("out.xyz.run/blocks.json").exists()


def test_a_command_in_a_job_ends_and_its_script_goes_on(slurm, folder):
    """The blocks are in the job itself; the script sees 75, and is not killed."""
    Path("job.sh").write_text(
        f"#!/bin/bash\n{PSIFLOW} label in.xyz --reference {SLOW} --set seconds=0.5 -o out.xyz\necho it exits with $?\n"
    )
    job = slurm.run("sbatch", "--parsable", "-o", "job.log", "-t", "5", "job.sh").strip()
    wait_for(lambda: len(units("out.xyz")) > 1, 60, "no frame was labelled")
    done = run([PSIFLOW, "cancel", "out.xyz"])
    assert f"in SLURM job {job} was asked to stop" in done.stderr
    assert done.stdout.rstrip().endswith(f"SLURM job {job} continues with the rest of its script")
    wait_for(lambda: not in_queue(slurm), 20, "the job goes on")
    assert Path("job.log").read_text().splitlines()[-1] == "it exits with 75"
    assert not alive(f"{os.getcwd()}/out.xyz.run")


def test_blocks_that_run_say_how_long_they_were_queued(slurm, folder):
    with started(label("-o", "out.xyz", seconds=1)) as command:
        wait_for(lambda: len(units("out.xyz")) > 1, 60, "no frame was labelled")
        shown = run([PSIFLOW, "status", "out.xyz"]).stdout
        assert re.search(r"default on slurm: \d running: \d+ \(queued for \d+ s\)", shown), shown
        run([PSIFLOW, "cancel", "--all"])
        assert command.wait(1) == 75
    assert in_queue(slurm) == []
    assert run([PSIFLOW, "status", "out.xyz"]).stdout.count("slurm") == 0
