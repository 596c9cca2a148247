"""psiflow site init on the emulated cluster: what it writes is green, and each mistake made in it is one line."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from psiflow_cli.site import load
from tests import warm
from tests.commands.inputs import PSIFLOW
from tests.slurm.test_site_check import check


@pytest.fixture(scope="module")
def written(slurm, tmp_path_factory):
    """The text of the file that `psiflow site init` writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("init"))
        for name, value in slurm.environment.items():
            patch.setenv(name, value)
        done = warm.server().run([PSIFLOW, "site", "init"])
        assert done.returncode == 0, done.stderr
        anywhere = f"psiflow site check --submit {Path('emulated.toml').absolute()}\n"
        assert f"wrote emulated.toml; next: {anywhere}" in done.stderr
        assert done.stdout == ""
        again = warm.server().run([PSIFLOW, "site", "init"])
        assert again.returncode == 73
        assert "emulated.toml: exists already" in again.stderr
        return Path("emulated.toml").read_text()


@pytest.fixture
def folder(slurm, written, tmp_path, monkeypatch):
    """A folder with that file; a stand-in says that there are GPUs."""
    monkeypatch.chdir(tmp_path)
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PSIFLOW_GPU_PROBE", "echo GPU 0")
    Path("emulated.toml").write_text(written)
    return tmp_path


def change(pattern, new, within=""):
    """Change the first match in the file, or in the table of a name."""
    text = Path("emulated.toml").read_text()
    start = text.index(f"[{within}]") if within else 0
    changed = text[:start] + re.sub(pattern, new, text[start:], count=1, flags=re.MULTILINE)
    assert changed != text
    Path("emulated.toml").write_text(changed)


def leave_models_out():
    """A job less to wait for, and no torch to import."""
    for label in ("model", "training"):
        change(rf"^\[executors\.{label}\].*\n(.+\n)*", "")
    text = Path("emulated.toml").read_text()
    Path("emulated.toml").write_text(re.sub(r"^mace\..*\n", "", text, flags=re.MULTILINE))


def test_what_is_written_is_what_slurm_has(folder):
    site = load.load("emulated")
    cpu, gpu = site.providers["cpu"], site.providers["gpu"]
    assert (cpu.partition, cpu.memory_per_node, cpu.gpus_per_node, cpu.max_blocks) == ("cpu", "15 GB", 0, 4)
    assert (gpu.partition, gpu.gpus_per_node, gpu.max_blocks) == ("gpu", 2, 2)
    assert cpu.account == ""
    assert site.executors["reference"].provider == "cpu"
    assert site.executors["model"].provider == "gpu"
    text = Path("emulated.toml").read_text()
    assert "SLURM reports 16 cores" in text, "eight nodes of 16 cores on this host are an exaggeration"


@pytest.mark.full
def test_what_is_written_is_green(slurm, folder):
    good = "".join(f"{label}: good\n" for label in ("default", "reference", "model", "training"))
    assert check("emulated") == good
    assert check("--submit", "emulated") == good
    assert slurm.run("squeue", "-h", "-t", "pending,running") == ""
    assert [path.name for path in folder.iterdir()] == ["emulated.toml"]


@pytest.mark.full
def test_a_wrong_partition(folder):
    change('partition = "cpu"', 'partition = "cpus"')
    said = check("emulated", "--submit", code=78)
    problem = "no partition 'cpus': the cluster has cpu, gpu"
    assert said == f"default: {problem}\nreference: {problem}\nmodel: good\ntraining: good\n"


@pytest.mark.full
def test_a_block_longer_than_the_partition_allows(slurm, folder):
    slurm.run("scontrol", "update", "partitionname=gpu", "maxtime=1:00:00")
    try:
        problem = "walltime 12:00:00 is more than partition 'gpu' allows: 1:00:00"
        said = check("emulated", code=78)
        assert said == f"default: good\nreference: good\nmodel: {problem}\ntraining: {problem}\n"
        subprocess.run([PSIFLOW, "site", "init", "--overwrite", "-q"], check=True, timeout=60)
        assert load.load("emulated").providers["gpu"].walltime == "01:00:00"
        assert "walltime" not in check("emulated")
    finally:
        slurm.run("scontrol", "update", "partitionname=gpu", "maxtime=infinite")


def test_a_partition_that_is_down_is_left_out(slurm, folder):
    slurm.run("scontrol", "update", "partitionname=gpu", "state=down")
    try:
        done = warm.server().run([PSIFLOW, "site", "init", "-o", "-"])
    finally:
        slurm.run("scontrol", "update", "partitionname=gpu", "state=up")
    assert "# Left out: gpu (down)\n" in done.stdout
    assert "[providers.gpu]" not in done.stdout
    assert 'device = "cuda"' not in done.stdout


def test_nothing_can_be_used(slurm, folder):
    slurm.run("scontrol", "update", "partitionname=gpu", "state=down")
    slurm.run("scontrol", "update", "partitionname=cpu", "state=down")
    try:
        done = warm.server().run([PSIFLOW, "site", "init", "-o", "new.toml"])
    finally:
        slurm.run("scontrol", "update", "partitionname=gpu", "state=up")
        slurm.run("scontrol", "update", "partitionname=cpu", "state=up")
    assert done.returncode == 69
    assert done.stderr == "psiflow: no partition of emulated can be used: cpu (down), gpu (down)\n"
    assert not Path("new.toml").exists()


@pytest.mark.full
def test_an_executable_that_is_not_there(folder):
    leave_models_out()
    change(r'^(# )?executable = "[^"]+".*', 'executable = "no-such-program"')
    said = check("emulated", "--submit", code=78)
    assert said == "default: good\nreference: executable 'no-such-program' was not found on the worker\n"


@pytest.mark.full
@pytest.mark.skipif(not Path("/etc/profile.d/lmod.sh").exists(), reason="lmod is not installed")
def test_a_wrong_module(folder):
    leave_models_out()
    change(r'^provider = "cpu"', 'provider = "cpu"\nenvironment = "code"', "executors.reference")
    Path("emulated.toml").write_text(
        Path("emulated.toml").read_text() + '\n[environments.code]\nmodules = ["CP2K/0.0"]\n'
    )
    said = check("emulated", "--submit", code=78)
    assert re.fullmatch("default: good\nreference: .*module CP2K/0.0 cannot be loaded\n", said)


@pytest.fixture
def another(tmp_path):
    """Make a virtual environment that sees this one's packages, with those named here in the place of its own."""
    prefix = tmp_path / "another"
    venv.create(prefix, symlinks=True)
    packages = next(prefix.glob("lib/python*/site-packages"))
    (packages / "all.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")) + "\n")

    def make(**modules):
        for name, text in modules.items():
            (packages / name).mkdir()
            (packages / name / "__init__.py").write_text(text)
        return prefix

    yield make
    shutil.rmtree(prefix)


def use(prefix, executor):
    change(r'^(provider = ".*")', r'\1\nenvironment = "another"', f"executors.{executor}")
    with Path("emulated.toml").open("a") as stream:
        stream.write(f'\n[environments.another]\nprefix = "{prefix}"\n')


@pytest.mark.full
def test_an_environment_with_another_parsl(folder, another):
    prefix = another(parsl='__version__ = "2024.1.1"')
    use(prefix, "default")
    said = check("emulated", "--submit", code=78)
    assert f"default: {prefix}/bin/python has parsl 2024.1.1, but psiflow runs with 2" in said
    assert said.count(": good\n") == 3


def test_an_environment_without_what_a_family_needs(folder, another):
    pytest.importorskip("mace", reason="mace-torch is not installed")
    prefix = another(torch="raise OSError('libcuda.so.1: cannot open shared object file')")
    use(prefix, "training")
    said = check("emulated", code=78)
    assert f"training: mace: in {prefix} torch cannot be imported: OSError: libcuda.so.1: cannot open" in said
    # of the model's executor, by the torch of this environment
    assert said.count(": good\n") + said.count("model: torch") == 3


@pytest.mark.full
def test_an_environment_that_lacks_a_family(folder, tmp_path):
    pytest.importorskip("mace", reason="mace-torch is not installed")
    bare = tmp_path / "bare"
    venv.create(bare, symlinks=True)
    use(bare, "model")
    said = check("emulated", code=78).splitlines()
    assert f"model: mace: mace, torch and ase are not installed in {bare}: psiflow env create mace" in said
    assert f"model: {bare}/bin/python has no parsl" in said
