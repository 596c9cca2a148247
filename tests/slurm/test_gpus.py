"""GPUs of the emulated cluster: its nodes give away two device files each, and SLURM says which ones in each block."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from psiflow_cli.runtime.executors import _work_queue
from tests.commands import inputs
from tests.commands.inputs import PSIFLOW
from tests.slurm.test_provider import folder, run
from tests.slurm.test_site_check import check

__all__ = ["folder"]  # a fixture

SITE = """
[providers.gpu]
type = "slurm"
partition = "gpu"
sbatch = ["--nodelist=n7"]
cores_per_node = 2
gpus_per_node = {per_node}
memory_per_node = "4000 MB"
max_blocks = {blocks}
init_blocks = {blocks}
status_every = 2
{provider}
[resources.task]
device = "cuda"
{resources}
[executors.default]
provider = "gpu"
resources = "task"
address = "127.0.0.1"
{executor}
[use]
default = "default"
"""
REFERENCE = (
    '''"""Says what GPUs it sees, and in which job."""
import os, time
'''
    + inputs.REFERENCE
    + """DEFAULT_TASK_SECONDS = 10.0  # one frame a task

def label(frames, settings, context):
    with open(settings["seen"], "a") as stream:
        print(os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["SLURM_JOB_ID"], os.getpid(), file=stream)
    begin, wanted = time.monotonic(), int(settings["workers"])
    while time.monotonic() < begin + 60 and len({line.split()[-1] for line in open(settings["seen"])}) < wanted:
        time.sleep(0.1)
    return [{"energy": 0.0, "forces": [[0.0] * 3] * 4, "stress": None, "code": "none"} for _ in frames]
"""
)


def seen(folder, workers, frames=8, **tables):
    """{GPUs that a task saw: {(job, process)}} of so many at once, with these lines in the tables of the site."""
    values = {"per_node": 1, "blocks": 1, "provider": "", "resources": "", "executor": "", **tables}
    Path("gpu.toml").write_text(SITE.format(**values))
    Path("mine.py").write_text(REFERENCE)
    first = Path("in.xyz").read_text().splitlines(keepends=True)
    Path("some.xyz").write_text("".join(first[: 6 * frames]))
    run([
        PSIFLOW, "label", "some.xyz", "--reference", "./mine.py", "--set", f"seen={folder}/seen",
        "--set", f"workers={workers}", "--site", "gpu.toml",
    ])  # fmt: skip
    rows = [line.split() for line in Path("seen").read_text().splitlines()]
    assert len(rows) == frames
    return {gpus: {(job, pid) for other, job, pid in rows if other == gpus} for gpus, _, _ in rows}


def test_two_blocks_on_a_node_use_the_gpu_that_each_has_got(folder):
    """SLURM gives GPU 0 to one job and GPU 1 to the other: a worker that counts from 0 would use the other job's."""
    there = seen(folder, 4, blocks=2, executor="tasks_per_gpu = 2")
    assert set(there) == {"0", "1"}
    assert [len({job for job, _ in there[gpu]}) for gpu in "01"] == [1, 1]
    assert max(len(workers) for workers in there.values()) == 2, "tasks that share a GPU"


@pytest.mark.full
def test_a_task_sees_both_its_gpus(folder):
    assert set(seen(folder, 1, frames=2, per_node=2, resources="gpus = 2")) == {"0,1"}


@pytest.mark.full
@pytest.mark.skipif(bool(_work_queue.why_no_work_queue()), reason="Work Queue is not installed")
def test_tasks_of_work_queue_see_what_the_block_has_got(folder):
    lines = 'worker_init = ["export CUDA_VISIBLE_DEVICES=6,7"]'
    assert set(seen(folder, 2, per_node=2, provider=lines, executor='type = "workqueue"')) == {"6", "7"}


@pytest.mark.full
def test_a_block_with_fewer_gpus_is_told(folder, monkeypatch):
    """The site says two GPUs, of which the block shows one."""
    monkeypatch.setenv("PSIFLOW_GPU_PROBE", "echo GPU 0")
    hidden = 'worker_init = ["export CUDA_VISIBLE_DEVICES=1"]'
    text = SITE.format(per_node=2, blocks=1, provider=hidden, resources="", executor="")
    Path("gpu.toml").write_text(text)
    assert check("gpu.toml", "--submit", code=78) == (
        "default: its node has GPUs for 1 task at a time instead of 2\n"
    )  # fmt: skip
    Path("gpu.toml").write_text(text.replace('device = "cuda"', 'device = "cuda"\ngpus = 2'))
    said = check("gpu.toml", "--submit", code=78)
    assert "a task needs 2 GPUs, but a worker on" in said
    assert f"{os.uname().nodename} sees 1: CUDA_VISIBLE_DEVICES is '1'" in said
