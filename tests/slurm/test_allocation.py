"""psiflow inside a SLURM job: the default site spans the allocation, and stops before the job's time is up."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.commands.inputs import PSIFLOW, copper

SLOW = Path(__file__).parents[1] / "commands" / "slow_reference.py"


@pytest.fixture
def batch(slurm, tmp_path, monkeypatch):
    """Run a shell command as a batch job on two nodes, to its end; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(command, minutes, *options, **environment):
        job = [
            "sbatch",
            "-N",
            "2",
            "-n",
            "2",
            "-c",
            "1",
            "-t",
            str(minutes),
            "-o",
            "job.log",
            "--wait",
            *options,
            "--wrap",
            command,
        ]
        environment = {**os.environ, **slurm.environment, **environment}
        subprocess.run(job, check=True, env=environment, capture_output=True, timeout=250)
        return Path("job.log").read_text()

    return run


def test_the_default_site_spans_the_allocation(batch, slurm):
    """Also one that srun would stop at: two amounts of memory, a name of two words, and no environment for its steps.

    The command is a step itself, whose end the workers' own step must not wait for.
    """
    Path("in.xyz").write_text(copper(30))
    find_slurm = f"export SLURM_CONF={slurm.environment['SLURM_CONF']} PATH={slurm.environment['PATH']}"
    said = batch(
        f"{find_slurm}; {PSIFLOW} site show && "
        "env -u SLURM_MEM_PER_CPU srun -n1 -N1 --export=ALL "
        f"{PSIFLOW} label in.xyz --reference {SLOW} --set seconds=0.1",
        *(5, "--mem=2000", "--job-name=two words", "--export=SLURM_MEM_PER_CPU"),
        SLURM_MEM_PER_CPU="100",
    )
    assert "2 nodes" in said
    assert "default: executor default: 2 tasks at once" in said
    assert "30 of 30 labelled" in said
    with tarfile.open("in.labelled.xyz.run/parsl/ended.tar") as logs:
        interchange = logs.extractfile("000/default/interchange.log").read()
    assert interchange.count(b"Registered manager") == 2, "one worker pool per node"


@pytest.mark.full
def test_a_shell_that_salloc_left_on_the_login_node_does_not_compute_there(slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.xyz").write_text(copper(4))
    note = "open('nodes', 'a').write(os.environ.get('SLURMD_NODENAME', 'none') + ' ')"
    begin = "    for frame in frames:\n"
    Path("mine.py").write_text(SLOW.read_text().replace(begin, f"    os.chdir({str(tmp_path)!r}); {note}\n{begin}", 1))
    command = ["salloc", "-N", "1", "-c", "1", PSIFLOW, "label", "in.xyz", "--reference", "./mine.py"]
    subprocess.run(command, check=True, env={**os.environ, **slurm.environment}, capture_output=True, timeout=250)
    assert set(Path("nodes").read_text().split()) == {"n1"}


@pytest.mark.full
def test_the_end_of_the_job_stops_the_command_in_order(batch):
    Path("in.xyz").write_text(copper(40))
    command = f"{PSIFLOW} label in.xyz --reference {SLOW} --set seconds=3; echo exit code $?"
    said = batch(command, 1)
    assert "stopped at the deadline" in said
    assert "exit code 75" in said
    done = Path("in.labelled.xyz.run/journal.jsonl").read_text().count('"kind":"unit"')
    assert 0 < done < 40
    batch(command.replace("seconds=3", "seconds=3 --deadline 20s"), 1)
    assert Path("in.labelled.xyz.run/journal.jsonl").read_text().count('"kind":"unit"') > done
