"""The site file that `psiflow site init` writes loads and says what was found, whatever the cluster."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from psiflow_cli import duration, toml
from psiflow_cli.errors import BadConfig, CannotCreate
from psiflow_cli.site import cluster, environments, load, resolve, starter, starter_tasks
from psiflow_cli.site.check import check
from psiflow_cli.site.cluster import Cluster
from psiflow_cli.site.partitions import Nodes
from tests.site.sites import machine

CPU = Nodes("cpu", "cpu", 100, (128, 128), 1, (256000, 256000), (0, 0), 3 * 86400.0, True)
GPU = Nodes("gpu", "gpu", 20, (48, 64), 1, (250000, 500000), (4, 8), None, False)
DEBUG = Nodes("debug", "debug", 500, (128, 128), 1, (256000, 256000), (0, 0), 1800.0, False)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """The text for a cluster, and the site that it is."""
    monkeypatch.setattr(starter_tasks, "missing", lambda family: "")

    def made(*nodes, accounts=(), left_out=(), name="tier1", federated=False):
        text = starter.for_cluster(Cluster(name, list(nodes), list(left_out), list(accounts), federated), "tier1")
        path = tmp_path / "tier1.toml"
        path.write_text(text)
        return text, load.parse(path)

    return made


def test_labels_on_cpus_models_on_gpus(write):
    text, site = write(DEBUG, GPU, CPU, left_out=["old (down)"])
    assert "# Left out: old (down)\n" in text
    assert "which have 48 to 64 cores, 250000 to 500000 MB, 4 to 8 GPUs" in text
    assert [site.executors[name].provider for name in ("default", "reference", "model")] == ["cpu", "cpu", "gpu"]
    assert site.executor_for("cp2k", "label") == "reference"
    assert site.executor_for("mace", "evaluate") == "model"
    gpu = site.providers["gpu"]
    assert (gpu.cores_per_node, gpu.memory_per_node, gpu.gpus_per_node) == (48, "244 GB", 4)
    assert duration.parse(site.providers["debug"].walltime) == 1800
    model = resolve.of_executor(site, "model", machine())
    assert (model.context["device"], model.cores, model.workers_per_node) == ("cuda", 12, 4)
    reference = resolve.of_executor(site, "reference", machine())
    assert (reference.context["ranks"], reference.workers_per_node) == (16, 8)


@pytest.mark.parametrize("nodes", [[CPU], [GPU], [DEBUG], [replace(CPU, cores=(1, 1), memory_mb=(1, 1))]])
def test_every_executor_fits_on_its_nodes(write, nodes):
    _, site = write(*nodes)
    for label in site.executors:
        target = resolve.of_executor(site, label, machine())
        assert target.workers >= 1
        assert (target.context["walltime"] or 0) < target.provider.block_walltime


@pytest.mark.parametrize("cores", [1, 2, 3, 7, 23, 36, 48, 96, 128])
def test_few_cores_are_left_idle(write, cores):
    _, site = write(replace(CPU, cores=(cores, cores)))
    reference = resolve.of_executor(site, "reference", machine())
    assert reference.cores <= 16
    assert reference.workers_per_node * reference.cores >= 0.9 * cores


def test_hardware_threads_are_no_cores(write):
    _, site = write(replace(CPU, cores=(256, 256), threads_per_core=2))
    reference = resolve.of_executor(site, "reference", machine())
    assert (reference.context["ranks"], reference.cores, reference.workers_per_node) == (16, 32, 8)


def test_accounts_and_clusters(write):
    text, site = write(CPU, accounts=["mine", "ours"], federated=True)
    assert site.providers["cpu"].account == "mine"
    assert "# or ours" in text
    assert site.providers["cpu"].clusters == "tier1"
    assert "account" not in write(CPU)[0]


@pytest.mark.parametrize("name", ["a.b", 'a"b', "a\\nb", "é", "a b", "#x"])
def test_odd_names_are_quoted(write, name):
    _, site = write(replace(CPU, name=name), name=name)
    assert list(site.providers) == [name]
    assert site.description.startswith(f"{name}: ")
    assert site.executors["default"].provider == name


def test_what_would_shadow_other_files_gets_another_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, path in (("psiflow", "psiflow-site.toml"), ("local", "local-site.toml"), ("../a b", "a-b.toml")):
        found = Cluster(name, [CPU], [], [])
        monkeypatch.setattr(cluster, "ask", lambda here, found=found: found)
        site = starter.make("", False)
        assert site.path.lstrip("-") == path
        assert load.load(site.name)
    with pytest.raises(CannotCreate, match="exists already"):
        starter.make("", False)


def test_the_hint_works_from_any_directory(tmp_path, monkeypatch):
    """By its name only where that is looked up from everywhere."""
    monkeypatch.setattr(cluster, "ask", lambda here: Cluster("c", [CPU], [], []))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "psiflow" / "site.d").mkdir(parents=True)
    (tmp_path / "my sites").mkdir()
    monkeypatch.chdir(tmp_path / "my sites")
    assert starter.make("", False).name == f"'{tmp_path}/my sites/c.toml'"
    assert starter.make("../config/psiflow/site.d/mine.toml", False).name == "mine"
    assert starter.make("../two.toml", False).name == f"{tmp_path}/two.toml"
    assert f"psiflow site check --submit '{tmp_path}/my sites/c.toml' tries it." in Path("c.toml").read_text()


def test_a_family_without_an_environment_is_a_comment(write, monkeypatch):
    def nothing(family, executor):
        raise BadConfig("torch is not installed", f"psiflow env create {family}")

    monkeypatch.undo()
    monkeypatch.setattr(environments, "python_for", nothing)
    text = starter.for_cluster(Cluster("c", [CPU], [], []), "c")
    assert '# mace.train = "training"        # first: psiflow env create mace\n' in text
    path = Path("/dev/null")  # only names the file in messages
    assert check(path, toml.loads(text)).use == {"default": "default"}


SACCTMGR = """#!{python}
import sys
if "user" in sys.argv:
    print("second")
else:
    print("other|elsewhere\\ntier1|first\\ntier1|second\\ntier1|first")
"""


@pytest.mark.parametrize(
    ("name", "shell", "accounts"),
    [
        ("Tier1", "", ["second", "first"]),
        ("Tier1", "first", ["first", "second"]),
        ("Tier1", "closed", ["second", "first"]),
        ("nowhere", "", []),
        ("nowhere", "mine", ["mine"]),
    ],
)
def test_the_accounts_of_this_cluster(tmp_path, monkeypatch, name, shell, accounts):
    """No accounting database is emulated, so a stand-in gives sacctmgr's answer."""
    monkeypatch.setenv("SBATCH_ACCOUNT", shell)
    program = tmp_path / "sacctmgr"
    program.write_text(SACCTMGR.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cluster._accounts(name) == accounts


def test_slurm_that_does_not_answer(tmp_path, monkeypatch):
    program = tmp_path / "sinfo"
    program.write_text("#!/bin/sh\nexec sleep 20\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(cluster, "_TIMEOUT_S", 0.2)
    assert cluster.ask(machine()) == "sinfo did not answer within 0.2 s"
    monkeypatch.setenv("PATH", "")
    assert cluster.ask(machine()) == "sinfo is not installed here"
