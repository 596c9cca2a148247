"""One command line for label, train and sample on every kind of site; the command's own environment has no trainer."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.commands.conftest import trained
from tests.commands.inputs import PSIFLOW, SMALL, WATER
from tests.commands.test_label_cp2k import TEMPLATE
from tests.conftest import ROOT
from tests.slurm.test_provider import folder

__all__ = ["folder", "trained"]  # fixtures

SITE = """
[providers.labels]
{labels}
[providers.models]
{models}
[environments.trainer]
prefix = "{prefix}"
[resources.core]
cores = 1
threads = 1
[resources.singlepoint]
cores = 1
walltime = "2 min"
executable = "cp2k.psmp"
[executors.default]
type = "{type}"
provider = "labels"
environment = "trainer"
resources = "core"
{more}
[executors.reference]
type = "{type}"
provider = "labels"
environment = "trainer"
resources = "singlepoint"
{more}
[executors.model]
type = "{other}"
provider = "models"
environment = "trainer"
resources = "core"
{more}
[use]
default = "default"
cp2k = "reference"
mace = "model"
"""
SLURM = """type = "slurm"
partition = "{partition}"
cores_per_node = 2
walltime = "10 min"
status_every = 2"""


def site(kind):
    """A site file of one kind, with labels and models on providers of their own."""
    slurm = "slurm" in kind
    labels, models = (SLURM.format(partition=p) if slurm else "" for p in ("cpu", "gpu"))
    name = {"slurm": "htex", "workqueue-slurm": "workqueue"}.get(kind, kind)
    more = 'address = "127.0.0.1"' if slurm else ""
    other = "htex" if kind == "threads" else name  # torch does not like several at once in one process
    return SITE.format(labels=labels, models=models, prefix=sys.prefix, type=name, other=other, more=more)


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """`psiflow` in an environment with what it needs and no more: no trainer, no ASE, no NumPy."""
    there = tmp_path_factory.mktemp("light")
    venv.create(there, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(there / "bin" / "python"), "install", "-q"]
    done = subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("mace", "nequip", "numpy", "ase", "torch"):
        assert subprocess.run([there / "bin" / "python", "-c", f"import {name}"], capture_output=True).returncode
    assert subprocess.run([sys.executable, "-c", "import nequip"], capture_output=True).returncode
    return str(there / "bin" / "psiflow")


def run(*command):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


def sites(light):
    """(command, its --site) for each kind that this machine has."""
    found = {"local": (PSIFLOW, []), "threads": (PSIFLOW, ["--site", "./threads.toml"])}
    found["slurm"] = (light, ["--site", "./slurm.toml"])
    if shutil.which("work_queue_worker") and _has_work_queue():
        for kind in ("workqueue", "workqueue-slurm"):
            found[kind] = (light, ["--site", f"./{kind}.toml"])
    for kind in ("threads", "slurm", "workqueue", "workqueue-slurm"):
        Path(f"{kind}.toml").write_text(site(kind))
    return found


def _has_work_queue():
    from psiflow_cli.runtime.executors import _work_queue

    return not _work_queue.why_no_work_queue()


@pytest.mark.full
def test_labels_are_the_same_bytes_everywhere(folder, light):
    if not shutil.which("cp2k.psmp"):
        pytest.skip("cp2k.psmp is not installed")
    box = 'Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3 pbc="T T T"'
    Path("cp2k.inp").write_text(TEMPLATE)
    Path("data.xyz").write_text(
        "".join(f"3\n{box}\nO 0 0 0\nH {x} 0.0 0.0\nH -0.24 0.93 0.0\n" for x in (0.95, 0.96, 0.97))
    )
    labels = {}
    for kind, (command, where) in sites(light).items():
        output = f"{kind}.xyz"
        run(command, "label", "data.xyz", "--reference", "cp2k", "--input", "cp2k.inp", "-o", output, *where)
        labels[kind] = Path(output).read_bytes()
    assert labels["local"].count(b"psiflow_id=") == 3
    assert {kind for kind, text in labels.items() if text != labels["local"]} == set()


@pytest.mark.full
def test_models_are_trained_and_moved_everywhere(folder, light, trained):
    Path("water.xyz").write_text(WATER)
    frames = {}
    for kind, (command, where) in sites(light).items():
        if kind in ("threads", "workqueue-slurm"):
            continue  # one is for light work, the other is both of its halves
        model, traj = f"{kind}.model", f"{kind}.xyz"
        data = (trained.train, "--valid", trained.test, "--arch", "mace", *SMALL, "--set", "max_num_epochs=1")
        run(command, "train", *data, "-o", model, *where)
        assert (Path(model) / "model.toml").is_file()
        dynamics = ("--model", trained.model, "--temperature", 200, "--steps", 20, "--every", 10, "--walkers", 2)
        run(command, "sample", "water.xyz", *dynamics, "--seed", 1, "-o", traj, *where)
        frames[kind] = Path(traj).read_bytes()
    assert frames["local"].count(b"walker=") == 4
    one_core = {kind: text for kind, text in frames.items() if kind != "local"}  # which takes all cores
    assert len(set(one_core.values())) == 1
