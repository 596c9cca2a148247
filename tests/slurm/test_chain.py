"""The rounds as a chain of SLURM jobs: it makes what online-learning.sh makes, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.recipes.conftest import CLUSTER, LOOP, PROJECT, cheap, learned, made, recipe, start
from tests.slurm.test_provider import wait_for

pytest.importorskip("ase", reason="needs ase")
__all__ = ["cheap", "learned", "recipe", "start"]  # fixtures
ASKS = """ALL=()
LABEL=(-n1 --time=5)
TRAIN=(-n1 --time=5)
SAMPLE=(-n1 --time=5)
"""
STEPS = ("label-0", "train-0", "sample-test", "label-test", "sample-1", "label-1", "train-1")
SLOW_EMT = """
import os
import time
from psiflow_cli.references.emt import *
from psiflow_cli.references import emt
DEFAULT_TASK_SECONDS = 0.1

def label(frames, settings, context):
    time.sleep(float(os.environ.get("SECONDS_A_FRAME", "0")) * len(frames))
    return emt.label(frames, settings, context)
"""


class Chain:
    """A folder in which the chain runs on the emulated cluster."""

    def __init__(self, slurm, root, env, folder, project=PROJECT):
        self.slurm, self.folder = slurm, folder / "loop"
        self._script = root / "recipes" / "slurm-chain.sh"
        self._start = folder / "start.xyz"
        self._env = {**env, **slurm.environment, "PATH": f"{env['PATH']}:{slurm.environment['PATH']}"}
        self.folder.mkdir(parents=True)
        self._start.write_text(CLUSTER)
        for name, text in (("loop.conf", LOOP), ("psiflow.toml", project), ("chain.conf", ASKS)):
            (self.folder / name).write_text(text)

    def command(self, first=""):
        """Started in the background, as on a login node; programs of the folder `first` win."""
        command = [str(self._script), str(self._start), str(self.folder)]
        pipe, env = subprocess.PIPE, {**self._env, "PATH": f"{first}:{self._env['PATH']}"}
        return subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True)

    def submit(self, code=0, first=""):
        """Run the script; returns what it said."""
        with self.command(first) as process:
            out, said = process.communicate(timeout=200)
        assert process.returncode == code, said
        assert "Traceback" not in said
        return out, said

    def jobs(self):
        """{step: job id} of what waits or runs."""
        lines = self.slurm.run("squeue", "--noheader", "--format=%i %j").splitlines()
        return {name.split(":")[1]: job for job, name in (line.split() for line in lines) if name.startswith("loop:")}

    def log(self):
        """What chain.log has, without the times."""
        path = self.folder / "chain.log"
        return [line.split(" ", 2)[2] for line in path.read_text().splitlines()] if path.exists() else []

    def wait(self, seconds=300):
        """Until no job is left."""
        wait_for(lambda: not self.jobs(), seconds, "\n".join(self.log()))


def test_it_makes_what_online_learning_makes(slurm, root, cheap, learned, tmp_path):
    chain = Chain(slurm, root, cheap, tmp_path)
    (chain.folder / "chain.conf").unlink()
    assert "nothing was submitted yet: check chain.conf" in chain.submit()[1]
    assert not chain.jobs()
    (chain.folder / "chain.conf").write_text(ASKS)
    chain.submit()
    assert set(STEPS) - set(chain.jobs()) <= {"label-0"}, "the first may be done already"
    no_squeue = tmp_path / "bin"
    no_squeue.mkdir()
    (no_squeue / "squeue").write_text("#!/bin/sh\nexit 1\n")
    (no_squeue / "squeue").chmod(0o755)
    assert "squeue does not list" in chain.submit(69, str(no_squeue))[1], "and it submits nothing"
    again = chain.submit()[1]
    assert again.count("is in the queue, as job") + again.count("is done") == len(STEPS), "no second chain"
    chain.wait()
    assert [line for line in chain.log() if line.endswith(": done")] == [f"{step}: done" for step in STEPS]
    assert made(chain.folder) == learned.files
    out, said = chain.submit()
    assert out == learned.stdout
    assert said.count(": is done") == len(STEPS)
    assert not chain.jobs()


@pytest.mark.full
def test_a_job_that_fails_ends_the_chain_and_mended_it_goes_on(slurm, root, cheap, learned, tmp_path):
    broken = PROJECT.replace("[sample]", "[sample]\nmax-force = 1e-9")
    chain = Chain(slurm, root, cheap, tmp_path, broken)
    asks = chain.folder / "chain.conf"
    asks.write_text(ASKS + "setup() {\n    missing-program\n}\n")
    chain.submit()
    chain.wait()
    assert "label-0: failed with exit code 127" in "\n".join(chain.log()), "not even a setup fails in silence"
    asks.write_text(ASKS)
    chain.submit()
    chain.wait()
    assert any(line.startswith("label-test: failed") or line.startswith("sample-test: failed") for line in chain.log())
    assert "train-1: starts" not in "\n".join(chain.log())
    (chain.folder / "psiflow.toml").write_text(PROJECT)
    _, said = chain.submit()
    assert "train-0: is done" in said
    chain.wait()
    assert made(chain.folder) == learned.files


def slow(folder):
    """A project whose labels take as long as SECONDS_A_FRAME says, and each member of its committees 15 s."""
    reference = folder / "slow_emt.py"
    reference.write_text(SLOW_EMT)
    project = PROJECT.replace('[label]\nreference = "emt"', f'[label]\nreference = "{reference}"')
    return project.replace("[train]\n", '[train]\nset = ["pause=15"]\n')


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_job_that_gets_nowhere_is_not_put_back_for_ever(slurm, root, cheap, tmp_path):
    project = slow(tmp_path).replace("[label]\n", '[label]\ndeadline = "2 s"\n')
    chain = Chain(slurm, root, {**cheap, "SECONDS_A_FRAME": "5"}, tmp_path, project)
    chain.submit()
    chain.wait()
    log = "\n".join(chain.log())
    assert log.count("label-0: stopped before its end; requeued as job") == 2
    assert "label-0: stopped three times without progress, see " in log
    assert "train-0" not in log.partition("label-0: starts")[2]


@pytest.mark.full
@pytest.mark.timeout(2400)
def test_it_survives_limits_in_every_stage_a_cancelled_job_and_a_killed_script(slurm, root, cheap, recipe, tmp_path):
    project = slow(tmp_path).replace("steps = 120", "steps = 60000").replace("every = 5", "every = 100")
    chain = Chain(slurm, root, {**cheap, "SECONDS_A_FRAME": "2.5"}, tmp_path, project)
    # SLURM's own, of which psiflow keeps half a minute to stop in order
    (chain.folder / "chain.conf").write_text(ASKS.replace("--time=5", "--time=1"))
    with chain.command() as process:
        wait_for(lambda: len(chain.jobs()) >= 3, 60, "nothing was submitted")
        os.killpg(process.pid, signal.SIGKILL)
    chain.submit()
    wait_for(lambda: any("train-0: starts" in line for line in chain.log()), 300, "no training")
    time.sleep(1)
    slurm.run("scancel", chain.jobs()["train-0"])
    chain.wait()
    assert "train-0: done" not in chain.log()
    chain.submit()
    chain.wait(1800)
    back = {line.split(":")[0] for line in chain.log() if "requeued as job" in line}
    assert {step.split("-")[0] for step in back} == {"label", "train", "sample"}
    assert [line for line in chain.log() if line.endswith(": done")] == [f"{step}: done" for step in STEPS]
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "loop.conf").write_text(LOOP)
    (alone / "psiflow.toml").write_text(project)
    recipe("online-learning.sh", tmp_path / "start.xyz", alone, env=cheap)
    assert made(chain.folder) == made(alone)
