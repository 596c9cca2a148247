"""What a site says to no effect is named, and what has an effect is not."""

from __future__ import annotations

import pytest

from psiflow_cli.site import load, resolve, unused
from tests.conftest import ROOT
from tests.site.sites import machine

SITE = """
[providers.batch]
type = "slurm"
cores_per_node = 16
gpus_per_node = 2
memory_per_node = "64 GB"
partition = "gpu"
[environments.own]
[resources.task]
cores = 4
device = "cuda"
[executors.default]
provider = "batch"
environment = "own"
resources = "task"
[use]
default = "default"
"""
BATCH = SITE.split("[environments")[0].strip()
PBS = '[providers.batch]\ntype = "pbspro"\ncores_per_node = 16\ngpus_per_node = 2'


def said(tmp_path, *changes):
    text = SITE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    site = load.parse(path)
    resolved = resolve.of_executor(site, "default", machine(cores=16))
    return [*unused.tables(site), *unused.keys(site, resolved)]


def test_a_site_without_waste_is_left_alone(tmp_path):
    assert said(tmp_path) == []


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "site.d").glob("*.toml")))
def test_nothing_is_wasted_in_a_shipped_site(name):
    if name == "reference":
        pytest.skip("it shows every key, to read")
    site = load.parse(ROOT / "site.d" / f"{name}.toml")
    assert list(unused.tables(site)) == []
    for label in site.executors:
        resolved = resolve.of_executor(site, label, machine(cores=128, gpus="01234567", memory_mb=10**6))
        assert list(unused.keys(site, resolved)) == []


TASK, EXECUTOR = "[resources.task]\n", "[executors.default]\n"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("[use]", '[executors.spare]\nprovider = "batch"\nresources = "task"\n[use]'), "executors.spare]: not used"),
        (("[use]", "[providers.spare]\n[use]"), "[providers.spare]: not used by any executor"),
        (("[use]", "[resources.spare]\n[use]"), "[resources.spare]: not used by any executor"),
        (("[use]", "[environments.spare]\n[use]"), "[environments.spare]: not used by any executor"),
        ((TASK, f'{TASK}ranks = 4\nlaunch = "mpirun -np 8"\n'), "launch: starts 8 ranks, but ranks is 4"),
        ((TASK, f'{TASK}launch = "srun --ntasks=2 --mpi=pmix"\n'), "launch: starts 2 ranks, but ranks is 1"),
        ((TASK, f'{TASK}launch = "srun -n4"\n'), "launch: starts 4 ranks"),
        ((TASK, f'{TASK}ranks = 4\nlaunch = "mpirun"\n'), "launch: does not contain {ranks}"),
        ((f"{TASK}cores = 4", f"{TASK}ranks = 8\ncores = 4"), "cores: 4 is less than ranks times threads"),
        ((TASK, f'{TASK}threads = 4\nenv = {{ OMP_NUM_THREADS = "1" }}\n'), "OMP_NUM_THREADS = 1 overrides threads"),
        ((TASK, f'{TASK}env = {{ CUDA_VISIBLE_DEVICES = "0" }}\n'), "CUDA_VISIBLE_DEVICES overrides the GPUs"),
        ((EXECUTOR, f"{EXECUTOR}tasks_per_node = 8\n"), "tasks_per_node: 8, but cores, memory and GPUs of a node are"),
        (('device = "cuda"', ""), "gpus_per_node: blocks have GPUs, but no task"),
        ((f'{TASK}cores = 4\ndevice = "cuda"', f"{TASK}cores = 4"), "gpus_per_node: blocks have GPUs"),
        ((EXECUTOR, f'{EXECUTOR}on_oom = "default"\n'), "on_oom: names the executor itself"),
        ((EXECUTOR, f'{EXECUTOR}type = "threads"\n'), "provider: slurm starts nothing"),
        ((EXECUTOR, f'{EXECUTOR}type = "threads"\n'), "environment: has no effect, since threads"),
        (("[environments.own]", '[environments.own]\nbinds = ["/x"]'), "own] binds: has no effect without a container"),
        (('partition = "gpu"', 'partition = "gpu"\nsbatch = ["-p cpu"]'), "sbatch: -p repeats partition"),
        (('partition = "gpu"', 'sbatch = ["--time=1:00"]'), "sbatch: --time repeats walltime"),
        (('partition = "gpu"', 'sbatch = ["--gpus-per-node=1"]'), "--gpus-per-node repeats gpus_per_node"),
        (('partition = "gpu"', "init_blocks = 3"), "init_blocks: 3 is more than max_blocks, 1"),
        ((BATCH, f'{PBS}\ndirectives = ["-l  walltime=1:00"]'), "directives: -l walltime repeats walltime"),
        ((BATCH, "[providers.batch]"), None),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_named(tmp_path, change, what):
    if what is None:  # this machine's own process, on CPUs
        assert said(tmp_path, change, ('device = "cuda"', "")) == []
        return
    assert [sentence for sentence in said(tmp_path, change) if what in sentence], said(tmp_path, change)


@pytest.mark.parametrize(
    "change",
    [
        (TASK, f'{TASK}ranks = 4\nlaunch = "mpirun -np {{ranks}} -bind-to core"\n'),
        (TASK, f'{TASK}ranks = 2\nlaunch = "srun -n 2 -c 8"\n'),
        (TASK, f'{TASK}launch = "numactl -N 0"\n'),
        ('partition = "gpu"', 'sbatch = ["--partition=cpu"]'),  # the only one that says it
        ('partition = "gpu"', 'sbatch = ["--mail-type=FAIL", "--gpu-bind=none", "--time-min=5"]'),
        (EXECUTOR, f"{EXECUTOR}tasks_per_node = 2\ntasks_per_gpu = 2\n"),
    ],
)  # fmt: skip
def test_what_has_an_effect_is_not(tmp_path, change):
    assert said(tmp_path, change) == []
