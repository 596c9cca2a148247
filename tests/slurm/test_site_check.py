"""psiflow site check on the emulated cluster: a good site is green, and every mistake is one clear line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests import warm
from tests.commands.inputs import PSIFLOW
from tests.slurm.test_provider import SITE, folder

__all__ = ["folder"]  # a fixture

MPI = 'cores = 2\nranks = 2\nthreads = 1\nlaunch = "mpirun -np {ranks}"\nexecutable = "true"'


def check(*arguments, code=0):
    done = warm.server().run([PSIFLOW, "site", "check", *arguments], timeout=200)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_a_good_site_is_green(folder):
    Path("slurm.toml").write_text(SITE.replace("cores = 1", MPI))
    assert check("slurm.toml") == "default: good\n"
    assert json.loads(check("slurm.toml", "--submit", "--json")) == [{"executor": "default", "problem": ""}]
    assert sorted(os.listdir(".")) == ["in.xyz", "slurm.toml"]


def test_a_gpu_that_is_not_there_is_missed(folder, monkeypatch):
    gpu = SITE.replace("cores = 1", 'cores = 1\ngpus = 1\ndevice = "cuda"').replace(
        "cores_per_node = 2", "cores_per_node = 2\ngpus_per_node = 1\nsbatch = []"
    )
    Path("gpu.toml").write_text(gpu.replace("gpus_per_node = 1\n", 'gpus_per_node = 1\nworker_init = ["true"]\n'))
    text = Path("gpu.toml").read_text()
    # the emulated cluster has no GPU to give, so the probe of a worker stands in for one
    Path("gpu.toml").write_text(
        text.replace('type = "slurm"\npartition = "cpu"', 'type = "local"').replace("max_blocks = 2\n", "")
    )
    lines = [line for line in Path("gpu.toml").read_text().splitlines() if not line.startswith(LOCAL_HAS_NOT)]
    Path("gpu.toml").write_text("\n".join(lines))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("PSIFLOW_GPU_PROBE", "echo GPU 0")
    assert check("gpu.toml", "--submit") == "default: good\n"
    monkeypatch.setenv("PSIFLOW_GPU_PROBE", "true")
    assert "sees no GPU" in check("gpu.toml", "--submit", code=78)


LOCAL_HAS_NOT = ("cores_per_node", "gpus_per_node", "walltime", "status_every", "sbatch")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('partition = "cpu"', 'partition = "cpus"', "no partition 'cpus': the cluster has cpu, gpu"),
        ("cores = 1", 'cores = 1\nexecutable = "no-such-program"', "'no-such-program' was not found on the worker"),
        ("cores = 1", 'cores = 1\nscratch = "/proc/nowhere"', "cannot write its scratch folder /proc/nowhere"),
        ("cores = 1", 'cores = 1\nlaunch = "no-such-launcher -n {ranks}"', "no-such-launcher"),
        ("cores = 1", 'cores = 1\nranks = 1\nlaunch = "mpirun -np 2"', "started 2 ranks instead of 1"),
    ],
)
def test_mistakes_are_named(folder, old, new, what):
    assert old in SITE
    Path("slurm.toml").write_text(SITE.replace(old, new))
    said = check("slurm.toml", "--submit", code=78)
    assert what in said
    assert len(said.splitlines()) == 1


@pytest.mark.skipif(not Path("/etc/profile.d/lmod.sh").exists(), reason="lmod is not installed")
def test_a_wrong_module_is_named(folder):
    extra = '[environments.code]\nmodules = ["nothing/1.0"]\n'
    site = SITE.replace("cores = 1", 'cores = 1\nexecutable = "true"') + extra
    Path("slurm.toml").write_text(site.replace('resources = "task"', 'resources = "task"\nenvironment = "code"'))
    assert "module nothing/1.0 cannot be loaded" in check("slurm.toml", "--submit", code=78)


def test_an_environment_with_another_parsl_is_named(folder, tmp_path):
    other = tmp_path / "other" / "bin"
    other.mkdir(parents=True)
    stub = f"#!{sys.executable}\nimport sys, types\nsys.modules['parsl'] = m = types.ModuleType('parsl')\n"
    # a real environment with an old Parsl would be downloaded for this; only its answer matters here
    (other / "python").write_text(stub + "m.__version__ = '2024.1.1'\nexec(sys.argv[2])\n")
    (other / "python").chmod(0o755)
    site = SITE.replace('resources = "task"', 'resources = "task"\nenvironment = "other"')
    Path("slurm.toml").write_text(f'{site}\n[environments.other]\nprefix = "{tmp_path}/other"\n')
    assert "has parsl 2024.1.1, but psiflow runs with" in check("slurm.toml", code=78)
