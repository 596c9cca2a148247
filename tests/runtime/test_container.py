"""Workers in a container: the words, and a run through a stand-in for Apptainer, which Debian 12 does not have.

The stand-in takes the options that the real one documents, notes them, and runs the rest on the host.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from psiflow_cli.errors import BadConfig
from psiflow_cli.runtime import container
from psiflow_cli.runtime.script import script
from psiflow_cli.site import load, resolve
from tests.commands.inputs import PSIFLOW, WATER
from tests.site.sites import machine

SITE = """
[providers.here]
[environments.image]
container = "{image}"
prefix = "{prefix}"
binds = ["/data:/data:ro", "$SOMEWHERE"]
{more}
[resources.task]
{resources}
[executors.default]
provider = "here"
resources = "task"
environment = "image"
[use]
default = "default"
"""
APPTAINER = """#!/usr/bin/env python3
import json, os, sys
words = sys.argv[1:]
assert words.pop(0) == "exec"
noted = {"binds": [], "env": {}}
while words[0].startswith("--"):
    option = words.pop(0)
    if option == "--bind":
        noted["binds"].append(words.pop(0))
    elif option == "--env":
        name, _, value = words.pop(0).partition("=")
        noted["env"][name] = value
    else:
        sys.exit(f"unknown option {option}")
noted["image"] = words.pop(0)
with open(os.environ["NOTES"], "a") as notes:
    print(json.dumps(noted), file=notes)
os.execvp(words[0], words)
"""


@pytest.fixture
def target(tmp_path, monkeypatch):
    """The resolved executor of a site with an image."""
    monkeypatch.setenv("SOMEWHERE", "/some/where")
    (tmp_path / "image.sif").touch()

    def resolved(image=tmp_path / "image.sif", more="", prefix="", resources="", gpus=()):
        path = tmp_path / "site.toml"
        path.write_text(SITE.format(image=image, more=more, prefix=prefix, resources=resources))
        return resolve.executor_of(load.parse(path), "mace", "evaluate", machine(gpus=gpus))

    return resolved


def test_the_words(target, tmp_path):
    words = container.words(target(), Path("/run/folder"))
    package = Path(container.__file__).parents[1]
    assert words == [
        "apptainer", "exec",
        "--bind", f"{package}:/opt/psiflow/psiflow_cli:ro",
        "--bind", "/run/folder",
        "--bind", "/data:/data:ro",
        "--bind", "/some/where",
        "--env", "PYTHONPATH=/opt/psiflow",
        str(tmp_path / "image.sif"),
    ]  # fmt: skip


def test_more_options_stand_before_the_image(target, monkeypatch):
    """Each a word of its own, whatever is in it; the file system's name may be in a variable."""
    monkeypatch.setenv("NODE_DISK", "/local disk")
    more = 'container_options = ["--no-mount", "home", "--writable-tmpfs", "-W", "$NODE_DISK"]'
    assert container.words(target(more=more))[-6:-1] == [
        "--no-mount", "home", "--writable-tmpfs", "-W", "/local disk",
    ]  # fmt: skip
    for word in ("--cleanenv", "-C"):
        with pytest.raises(BadConfig, match=rf"container_options: {word} hides the environment"):
            target(more=f'container_options = ["{word}"]')


@pytest.mark.parametrize(("more", "flag"), [("", "--nv"), ('gpu_flag = "--rocm"', "--rocm")])
def test_gpus_get_in(target, more, flag):
    found = target(more=more, resources='device = "cuda"', gpus=["0"])
    assert container.words(found)[2] == flag


def test_singularity_is_another_name(target):
    assert container.words(target(more='container_command = "singularity"'))[0] == "singularity"


def test_the_python_is_the_images(target):
    assert target().python == "python3"
    assert target(prefix="/opt/conda").python == "/opt/conda/bin/python"


def test_a_uri_is_left_as_it_is(target):
    assert container.words(target(image="docker://me/mace:1"))[-1] == "docker://me/mace:1"


def test_an_image_that_is_not_there_is_said(target):
    with pytest.raises(BadConfig, match=r"\[environments.image\] container: /nowhere.sif does not exist"):
        container.words(target(image="/nowhere.sif"))


@pytest.mark.parametrize("key", ["modules", "source"])
def test_modules_do_not_reach_inside(target, key):
    with pytest.raises(BadConfig, match=rf"\[environments.image\] {key}: has no effect inside a container"):
        target(more=f'{key} = ["x"]')


def test_a_batch_job_starts_the_container(tmp_path):
    image = tmp_path / "an image.sif"
    image.touch()
    text = SITE.format(image=image, more="", prefix="", resources="").replace(
        "[providers.here]", '[providers.here]\ntype = "slurm"\ncores_per_node = 4\nworker_init = ["module load it"]'
    )
    path = tmp_path / "site.toml"
    path.write_text(text)
    made = script(resolve.of_executor(load.parse(path), "default", machine()))
    line = next(line for line in made.splitlines() if "apptainer exec" in line)
    assert f"{shlex.quote(str(image))} python3 -m parsl.executors.high_throughput.process_worker_pool" in line
    assert made.index("module load it") < made.index("apptainer exec")


@pytest.mark.parametrize("suffix", [".xyz", ".traj"])
def test_a_run_goes_through_it(tmp_path, monkeypatch, suffix):
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "apptainer"
    command.write_text(APPTAINER)
    command.chmod(0o755)
    (tmp_path / "image.sif").touch()
    Path(tmp_path, "in.xyz").write_text(WATER)
    if suffix == ".traj":
        ase_io = pytest.importorskip("ase.io")
        ase_io.write(tmp_path / "in.traj", ase_io.read(tmp_path / "in.xyz"))
    (tmp_path / "site.toml").write_text(
        SITE.format(image=tmp_path / "image.sif", more="", prefix=sys.prefix, resources="")
    )
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setenv("SOMEWHERE", "/some/where")
    done = subprocess.run(
        [PSIFLOW, "label", f"in{suffix}", "--reference", "emt", "--site", "./site.toml", "-o", "out.xyz"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "energy=" in (tmp_path / "out.xyz").read_text()
    notes = (tmp_path / "notes").read_text().splitlines()
    assert len(notes) == 1 + (suffix == ".traj")
    assert str(tmp_path / "out.xyz.run") in notes[-1]
