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
from psiflow_cli.runtime import parsl_internals
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
    if executor == "workqueue" and (reason := parsl_internals.why_no_work_queue()):
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


def test_a_local_provider_has_no_script():
    done = show("local", "--script", "default")
    assert done.exit_code == 2
    assert "no script" in done.output


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
