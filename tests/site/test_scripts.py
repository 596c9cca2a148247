"""The scripts that batch systems would get: what a user asked for is in them, in the system's own words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from psiflow_cli import registry
from psiflow_cli.main import main
from psiflow_cli.runtime.executors import _work_queue
from psiflow_cli.runtime.script import PORT

SITE = """
[providers.batch]
type = "{kind}"
cores_per_node = 16
walltime = "1-02:30:00"
max_blocks = 4
{keys}
[resources.task]
cores = 4
walltime = "2h"
[executors.default]
provider = "batch"
resources = "task"
[use]
default = "default"
"""
# kind: (what the site says, what the script must say)
ROWS = {
    "slurm": (
        'partition = "rome"\naccount = "2026_001"\nqos = "long"\nclusters = "dodrio"\nconstraint = "a&b"\n'
        'exclusive = true\n'
        'gpus_per_node = 2\nmemory_per_node = "64 GB"\nnodes = 2\nsbatch = ["--mail-type=FAIL"]',
        ["--nodes=2", "--time=1590", "--ntasks-per-node=1", "--mail-type=FAIL", "--exclusive", "--partition=rome",
         "--account=2026_001", "--qos=long", "--constraint=a&b", "--clusters=dodrio", "--gpus-per-node=2", "--mem=64g",
         "--cpus-per-task=16"],
    ),
    "pbspro": (
        'queue = "q"\naccount = "a"\nselect = "mem=64gb"\nnodes = 2\ndirectives = ["-m e"]',
        ["-l select=2:ncpus=16:mem=64gb", "-l walltime=26:30:00", "-m e"],
    ),
    "torque": (
        'queue = "q"\naccount = "a"\ndirectives = ["-l mem=64gb"]',
        ["-l walltime=26:30:00", "-l mem=64gb"],
    ),
    "lsf": (
        'queue = "q"\nproject = "p"\ndirectives = ["-u me"]', ["-W 1590", "-q q", "-P p", "-nnodes 1", "-u me"],
    ),
    "grid_engine": ('queue = "q"\ndirectives = ["-pe smp 16"]', ["-l h_rt=26:30:00", "-pe smp 16"]),
    "condor": (
        'project = "p"\nrequirements = "(Arch == \\"X86_64\\")"\ndirectives = ["request_gpus = 1"]',
        ["RequestCpus = 16", 'requirements = (Arch == "X86_64")', "request_gpus = 1"],
    ),
}  # fmt: skip
BATCH = {"cores_per_node", "walltime", "max_blocks"}
CLOUDS = {
    "aws": 'image_id = "ami-1"\nkey_name = "k"',
    "azure": 'vm_reference = { publisher = "D", offer = "d", sku = "s", vm_size = "S", admin_username = "u" }',
}
NO_SCRIPT = {"local", "kubernetes", "aws", "googlecloud", "azure"}


def show(*arguments):
    return CliRunner().invoke(main, ["site", "show", *arguments])


def test_every_provider_has_its_row():
    assert set(ROWS) | NO_SCRIPT == set(registry.names("runtime.providers"))


@pytest.mark.parametrize("kind", ROWS)
def test_the_script_says_what_the_site_says(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    keys, expected = ROWS[kind]
    Path("mine.toml").write_text(SITE.format(kind=kind, keys=keys))
    done = show("mine.toml", "--script", "default")
    assert done.exit_code == 0, done.output
    said = [re.sub(r"^#(SBATCH|PBS|BSUB|\$) ", "", line) for line in done.output.splitlines()]
    said += [re.sub(r" +", " ", line) for line in said]
    assert [line for line in expected if line not in said] == [], done.output
    for option in ("-q q", "-A a") if kind in ("pbspro", "torque") else ():
        assert option in said[-1], "on qsub's command line"
    assert str(tmp_path) not in done.output
    assert not list(tmp_path.rglob("*.sh"))


@pytest.mark.parametrize("kind", registry.names("runtime.providers"))
@pytest.mark.parametrize("executor", registry.names("runtime.executors"))
def test_every_executor_on_every_provider_has_a_script_or_says_why_not(tmp_path, monkeypatch, executor, kind):
    monkeypatch.chdir(tmp_path)
    if executor == "workqueue" and (reason := _work_queue.why_no_work_queue()):
        pytest.skip(reason)
    site = SITE.format(kind=kind, keys=CLOUDS.get(kind, "")).replace(
        'provider = "b', f'type = "{executor}"\nprovider = "b'
    )
    known = {field.name for field in msgspec.structs.fields(registry.load("runtime.providers", kind).Provider)}
    lines = [line for line in site.splitlines() if line.split(" = ")[0] not in BATCH - known]
    Path("mine.toml").write_text("\n".join(lines))
    done = show("mine.toml", "--script", "default")
    if executor == "threads" or kind in NO_SCRIPT:
        assert done.exit_code in (2, 78), done.output
        assert len(done.output.splitlines()) == 2, done.output
        return
    assert done.exit_code == 0, done.output
    start = {"htex": "process_worker_pool", "workqueue": "work_queue_worker"}[executor]
    (words,) = {line for line in done.output.splitlines() if f"/{start}" in line}
    assert f"{PORT}" in words
    assert "/usr/bin/env" in words.split(), "by its absolute path"
    assert not re.search(r"^[0-9a-f]{64}$", done.output, re.MULTILINE), "no password"


def test_the_worker_pool_fits_the_node_and_drains_in_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(SITE.format(kind="slurm", keys=""))
    output = show("mine.toml", "--script", "default").output
    assert "--max_workers_per_node=4 " in output
    age = 26 * 3600 + 1800 - 2 * 3600 - 5  # of the block's script, counted by its shell
    assert f"--drain_period=$(({age} > SECONDS ? {age} - SECONDS : -1)) " in output


def shown(keys="", kind="slurm", task="", executor=""):
    """The script of a site with these lines in its tables, or what is said instead."""
    text = SITE.format(kind=kind, keys=keys).replace("cores = 4\n", f"cores = 4\n{task}\n")
    Path("mine.toml").write_text(text.replace('resources = "task"', f'resources = "task"\n{executor}'))
    return show("mine.toml", "--script", "default").output


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        ('memory_per_node = "64000 MB"', ["--mem=64000M"]),
        ('memory_per_node = "1.5 GB"', ["--mem=1536M"]),
        ('gpus_per_node = 4\ngpu_type = "a100"', ["--gpus-per-node=a100:4"]),
        ('gres = "gpu:a100:4,nvme:1"', ["--gres=gpu:a100:4,nvme:1"]),
        ('gres = "nvme:1"\ngpus_per_node = 2', ["--gres=nvme:1", "--gpus-per-node=2"]),
        ('gres = "gpu:2"\ngpus_per_node = 2', ["--gres=gpu:2"]),
    ],
)
def test_slurm_is_asked_for_memory_and_gpus_in_its_own_words(tmp_path, monkeypatch, keys, lines):
    monkeypatch.chdir(tmp_path)
    there = [line[8:] for line in shown(keys).splitlines() if line.startswith(("#SBATCH --mem", "#SBATCH --g"))]
    assert sorted(there) == sorted(lines)


def test_gpus_in_gres_are_those_of_a_node(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for keys, workers in (('gres = "gpu:a100:3"', 3), ('gres = "gres:gpu:2"', 2), ('gres = "gpu"', 1)):
        output = shown(keys, task='device = "cuda"').replace("cores = 4", "cores = 1")
        assert f"--max_workers_per_node={workers} " in output
    asked = "[resources.task] gpus: 1 requested, but a node of [providers.batch] has 0"
    assert asked in shown('gres = "nvme:1"', task='device = "cuda"')


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        (
            'gres = "gpu:2"\ngpus_per_node = 4',
            "[providers.batch] gres 'gpu:2' asks for 2 GPUs, but gpus_per_node is 4",
        ),
        ('gpu_type = "a100"', "[providers.batch] gpu_type 'a100' needs gpus_per_node"),
        ("parallelism = 2.0", "[providers.batch] parallelism: expected a number of at most 1"),
        ('launcher = "srunn"', "[providers.batch] launcher: unknown value 'srunn'"),
        ('nodes = 2\nlauncher = "single_node"', "launcher: single_node would leave all but one of a block's 2 nodes"),
        ('launcher_options = "--exact"', "[providers.batch] launcher_options: have no effect with blocks of one node"),
        ('gpu_type = "a100; rm"', "[providers.batch] gpu_type: expected text matching"),
    ],
)
def test_what_slurm_cannot_be_asked_is_told(tmp_path, monkeypatch, keys, what):
    monkeypatch.chdir(tmp_path)
    output = shown(keys)
    assert what in output
    assert len(output.splitlines()) == 2, output


@pytest.mark.parametrize(
    ("kind", "launcher", "start"),
    [
        ("slurm", "auto", "srun --ntasks 2 "), ("slurm", "mpiexec", "mpiexec "), ("pbspro", "auto", "mpiexec "),
        ("pbspro", "mpirun", "mpirun "), ("torque", "auto", "mpiexec "), ("lsf", "auto", "jsrun -n 2 "),
        ("grid_engine", "mpirun", "mpirun "), ("slurm", "aprun", "aprun "),
    ],
)  # fmt: skip
def test_pools_are_started_on_each_node_by_the_launcher(tmp_path, monkeypatch, kind, launcher, start):
    monkeypatch.chdir(tmp_path)
    output = shown(f'nodes = 2\nlauncher = "{launcher}"\nlauncher_options = "--overlap"', kind)
    (line,) = [line for line in output.splitlines() if line.startswith(start)]
    assert "--overlap" in line


def test_htcondor_has_no_launcher(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "HTCondor starts a worker pool in each slot itself" in shown('launcher = "srun"', "condor")


@pytest.mark.parametrize(
    ("task", "age"),
    [
        ('min_runtime = "10 min"', 26.5 * 3600 - 600 - 5),  # in place of the two hours of walltime
        ('min_runtime = "2h"', 26.5 * 3600 - 7200 - 5),
    ],
)
def test_a_task_starts_where_its_least_time_is_left(tmp_path, monkeypatch, task, age):
    monkeypatch.chdir(tmp_path)
    assert f"--drain_period=$(({age:.0f} > SECONDS ? " in shown(task=task)
    assert "min_runtime: 3h is more than walltime, 2h" in shown(task='min_runtime = "3h"')
    assert "min_runtime: 48h does not fit into a block" in shown(task='min_runtime = "48h"')
    assert "quoted strings" in shown(task="min_runtime = 12:00:00")


@pytest.mark.parametrize(
    ("kind", "line", "what"),
    [
        ("htex", "poll_period = 250", "--poll 250 "),
        ("htex", "worker_debug = true", " --debug "),
        ("htex", "poll_perod = 250", "parsl] poll_perod: parsl"),
        ("htex", "poll_perod = 250", "did you mean 'poll_period'"),
        ("htex", 'poll_period = "often"', "parsl] poll_period: expected int, got str"),
        ("htex", "worker_port_range = [1, 2, 3]", "parsl] worker_port_range: "),
        ("htex", "cores_per_worker = 2.0", "hint: use [resources] cores, or tasks_per_node"),
        ("htex", "max_workers_per_node = 2", "parsl] max_workers_per_node: psiflow sets it itself"),
        ("htex", "encrypted = false", "parsl] encrypted: psiflow sets it itself"),
        ("htex", "drain_period = 60", "hint: use [resources] min_runtime, or walltime"),
        ("htex", 'storage_access = ["x"]', "storage_access: expected Staging, got str"),
        ("workqueue", 'worker_options = "--debug=all"', "--wall-time=95400 --debug=all "),
        ("workqueue", "port = 9123", "parsl] port: psiflow sets it itself"),
        ("workqueue", 'env = { A = "b" }', "hint: use [resources] env"),
        ("workqueue", "autolabel = 1", "parsl] autolabel: expected bool, got int"),
    ],
)
def test_more_parameters_of_parsl_are_checked(tmp_path, monkeypatch, kind, line, what):
    monkeypatch.chdir(tmp_path)
    if kind == "workqueue" and (reason := _work_queue.why_no_work_queue()):
        pytest.skip(reason)
    output = shown(executor=f'type = "{kind}"\nparsl.{line}')
    assert what in output
    assert output.startswith("#!") or len(output.splitlines()) == 2


def test_a_local_provider_has_no_script():
    done = show("local", "--script", "default")
    assert done.exit_code == 2
    assert "has no submit script" in done.output


def test_an_unknown_executor_is_named(tmp_path):
    done = show("slurm", "--script", "referense")
    assert done.exit_code == 2
    assert "'reference'" in done.output


def test_the_schema_knows_every_key():
    schema = json.loads(CliRunner().invoke(main, ["site", "schema"]).output)
    tables = schema["$defs"]
    assert tables["Site"]["properties"]["executors"]["additionalProperties"]["$ref"] == "#/$defs/Executor"
    assert "tasks_per_node" in tables["Executor"]["properties"]
    alternatives = tables["Site"]["properties"]["providers"]["additionalProperties"]["anyOf"]
    assert len(alternatives) == len(registry.names("runtime.providers"))
    assert "partition" in tables["psiflow_cli.runtime.providers.slurm.Provider"]["properties"]
