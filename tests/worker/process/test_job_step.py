"""What is added to `srun`, and that what a user gives is left alone."""

from __future__ import annotations

import pytest

from psiflow_cli.worker.process import job_step


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """An srun of some version, in a job of two nodes."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setenv("SLURMD_NODENAME", "n3")

    def make(says="slurm-wlm 22.05.8"):
        program = tmp_path / says.replace(" ", "-") / "srun"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho {says}\n")
        program.chmod(0o755)
        return str(program)

    return make


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ("-n 2", "--exact --cpus-per-task=3 --mem=0 --nodes=1 --nodelist=n3"),
        ("-n 2 -c3 --mem=4G", "--exact --nodes=1 --nodelist=n3"),
        ("--overlap -wn4", "--mem=0"),
        ("-N 2 --exclusive=user --mem-per-cpu=1G", ""),
    ],
)
def test_what_the_template_does_not_decide_is_added(srun, given, added):
    assert job_step.options([srun(), *given.split()], 3) == added.split()


@pytest.mark.parametrize("says", ["slurm 20.02.7", "flux 0.60"])
def test_an_srun_that_knows_no_exact_steps_is_left_alone(srun, says):
    assert job_step.options([srun(says), "-n", "2"], 1) == []


def test_one_node_needs_no_name(srun, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")
    assert job_step.options([srun(), "-n2"], 1) == ["--exact", "--cpus-per-task=1", "--mem=0"]


def test_outside_a_job_and_with_other_launchers_nothing_is_added(srun, monkeypatch):
    assert job_step.options(["mpirun", "-np", "2"], 1) == []
    assert job_step.options([], 1) == []
    monkeypatch.delenv("SLURM_JOB_ID")
    assert job_step.options([srun(), "-n2"], 1) == []
