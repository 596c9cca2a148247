"""What each task sees of the GPUs that a block has got."""

from __future__ import annotations

import subprocess
import sys

import pytest

from psiflow_cli.worker.pool import gpu_slots, task_slot
from psiflow_cli.worker.pool.gpu_slots import CUDA, HIP, ROCR, SLOTS


def plan(each=1, tasks=1, expected="0,1", most=99):
    return {"ids": expected.split(","), "each": each, "tasks": tasks, "most": most}


@pytest.mark.parametrize(
    ("plan", "environment", "shared"),
    [
        (plan(), {}, f"{CUDA}=0;1"),  # the scheduler says nothing
        (plan(), {CUDA: "2,3"}, f"{CUDA}=2;3"),  # the half of a node
        (plan(), {CUDA: "5"}, f"{CUDA}=5"),  # less than the site says
        (plan(), {CUDA: "0,1,2,3"}, f"{CUDA}=0;1;2;3"),
        (plan(each=2, expected="0,1,2,3,4"), {}, f"{CUDA}=0,1;2,3"),
        (plan(each=2), {CUDA: "4,6,7"}, f"{CUDA}=4,6"),
        (plan(tasks=2), {CUDA: "2,3"}, f"{CUDA}=2;3;2;3"),  # two tasks at once have a GPU each
        (plan(tasks=3, most=4), {}, f"{CUDA}=0;1;0;1"),
        (plan(tasks=2, each=2), {}, f"{CUDA}=0,1;0,1"),
        (plan(), {CUDA: "MIG-a,MIG-b"}, f"{CUDA}=MIG-a;MIG-b"),
        (plan(), {CUDA: "GPU-12,GPU-34"}, f"{CUDA}=GPU-12;GPU-34"),
        (plan(), {CUDA: " 1, 0 ,-1,3"}, f"{CUDA}=1;0"),
        (plan(), {ROCR: "4,5"}, f"{ROCR}=4;5"),
        (plan(), {HIP: "4,5"}, f"{HIP}=4;5"),
        (plan(), {ROCR: "4,5", HIP: "0,1"}, f"{HIP}=0;1"),  # HIP counts among those of ROCR
        (plan(), {ROCR: "4,5", HIP: "4,5"}, f"{ROCR}=4;5"),  # and here means the same ones
        (plan(), {ROCR: "0,1", CUDA: "2,3"}, f"{CUDA}=2;3"),  # SLURM sets both where it is not told the maker
    ],
)
def test_slots_are_made_of_what_the_block_has(plan, environment, shared):
    assert gpu_slots.share(plan, environment) == shared


@pytest.mark.parametrize(
    ("plan", "environment", "why"),
    [
        (plan(each=2), {CUDA: "3"}, r"needs 2 GPUs, but a worker on .* sees 1: CUDA_VISIBLE_DEVICES is '3'"),
        (plan(), {CUDA: ""}, "sees 0: CUDA_VISIBLE_DEVICES is ''"),
        (plan(), {CUDA: "NoDevFiles"}, "sees 0"),
        (plan(), {ROCR: ""}, "sees 0: ROCR_VISIBLE_DEVICES is ''"),
        (plan(each=2), {CUDA: "MIG-a,MIG-b"}, "only one MIG instance: set gpus = 1"),
    ],
)
def test_too_few_are_named(plan, environment, why):
    with pytest.raises(ValueError, match=why):
        gpu_slots.share(plan, environment)


@pytest.mark.parametrize(
    ("slots", "number", "before", "after"),
    [
        (f"{CUDA}=2;3", 1, {CUDA: "2,3"}, {CUDA: "3", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        (f"{CUDA}=2,3", 0, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, {CUDA: "2,3", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}),
        # with HIP_VISIBLE_DEVICES=5 too, HIP would look for the sixth of one GPU
        (f"{ROCR}=4;5", 1, {CUDA: "4,5", HIP: "4,5", "GPU_DEVICE_ORDINAL": "4,5"}, {ROCR: "5"}),
        (f"{HIP}=0;1", 1, {ROCR: "4,5", CUDA: "0,1"}, {ROCR: "4,5", HIP: "1"}),
    ],
)
def test_a_slot_is_taken_by_one_variable(slots, number, before, after):
    environment = {**before, SLOTS: slots}
    gpu_slots.take(number, environment)
    del environment[SLOTS]
    assert environment == after


def test_a_worker_takes_the_slot_of_its_rank(monkeypatch):
    for name in (SLOTS, CUDA, "CUDA_DEVICE_ORDER", "PARSL_WORKER_RANK"):
        monkeypatch.delenv(name, raising=False)
    gpu_slots.take_own()
    monkeypatch.setenv(SLOTS, f"{CUDA}=2,3;6,7")
    gpu_slots.take_own()  # no worker of a pool
    assert CUDA not in gpu_slots.os.environ
    monkeypatch.setenv("PARSL_WORKER_RANK", "1")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    monkeypatch.setenv(CUDA, "of Parsl")
    gpu_slots.take_own()
    assert gpu_slots.os.environ[CUDA] == "6,7"


def test_tasks_of_work_queue_at_once_share_no_gpu(tmp_path, monkeypatch):
    """Three tasks for two GPUs, of which the third waits for one of the others."""
    monkeypatch.setenv(SLOTS, f"{CUDA}=4;7")
    (tmp_path / "sandbox").mkdir()
    shell = f"echo ${CUDA}; read line"
    command = [sys.executable, task_slot.__file__, "1", "sh", "-c", shell]
    tasks = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path / "sandbox"
        )
        for _ in range(2)
    ]  # fmt: skip
    seen = [task.stdout.readline() for task in tasks]
    assert sorted(seen) == ["4\n", "7\n"]
    third = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path / "sandbox"
    )
    tasks[1].communicate("end\n", timeout=20)
    assert third.stdout.readline() == seen[1]
    for task in (tasks[0], third):
        task.communicate("end\n", timeout=20)
