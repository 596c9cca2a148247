"""Blocks that end without finishing a task stop the run; Parsl alone would replace cancelled ones for ever."""

from __future__ import annotations

import dataclasses
import time
from types import SimpleNamespace

import msgspec
import pytest
from parsl.executors.high_throughput.errors import ManagerLost
from parsl.jobs.states import JobState, JobStatus

from psiflow_cli.errors import NoResources
from psiflow_cli.runtime import block_record, blocks, parsl_internals
from psiflow_cli.site import detect, load, resolve


class Executor:
    """Stands in for an executor whose blocks a scheduler keeps ending; a real queue would take minutes."""

    all_addresses = ("10.0.0.1", "192.168.0.1")

    def __init__(self) -> None:
        self.provider = SimpleNamespace(max_blocks=4)
        self.status_facade: dict[str, JobStatus] = {}
        self.blocks_to_job_id: dict[str, str] = {}

    def set(self, block: str, state: JobState, message: str = "") -> None:
        self.status_facade[block] = JobStatus(state, message)
        self.blocks_to_job_id[block] = f"job-{block}"

    def connected_managers(self) -> list[object]:
        return []


@pytest.fixture
def watched(tmp_path):
    resolved = resolve.executor_of(load.load("local"), "emt", "label", detect.machine())
    executor = Executor()
    return executor, blocks.Blocks(executor, resolved, tmp_path)


def test_three_cancelled_blocks_in_a_row_are_enough(watched):
    executor, watch = watched
    for number in range(3):
        executor.set(str(number), JobState.RUNNING)
        watch.look(pending=1)
        executor.set(str(number), JobState.CANCELLED, "slurmstepd: time limit")
        if number < 2:
            watch.look(pending=1)
    with pytest.raises(NoResources, match="3 blocks ended without finishing a task: slurmstepd: time limit"):
        watch.look(pending=1)


def test_a_finished_task_starts_the_count_again(watched):
    executor, watch = watched
    for number in range(6):
        executor.set(str(number), JobState.TIMEOUT)
        watch.look(pending=1)
        watch.worked()


def test_workers_that_never_connect_are_said_with_the_addresses(watched, monkeypatch):
    executor, watch = watched
    executor.set("0", JobState.RUNNING)
    watch.look(pending=1)
    now = time.time()
    monkeypatch.setattr(blocks, "time", SimpleNamespace(time=lambda: now + 121))
    with pytest.raises(NoResources, match=r"10\.0\.0\.1, 192\.168\.0\.1"):
        watch.look(pending=1)


def test_a_block_that_waits_in_the_queue_is_waited_for(watched, monkeypatch, tmp_path):
    executor, watch = watched
    executor.set("0", JobState.PENDING)
    watch.look(pending=1)
    monkeypatch.setattr(blocks, "time", SimpleNamespace(time=lambda: 1e12))
    watch.look(pending=1)
    assert "PENDING" in (tmp_path / block_record.FILE).read_text()
    assert watch.waits() == [], "a process of this host is in no queue"
    watch._resolved = dataclasses.replace(watch._resolved, provider=SimpleNamespace(type="slurm", clusters=""))
    assert watch.waits() == ["in the queue: job job-0"]
    executor.set("1", JobState.RUNNING)
    watch.look(pending=1)
    assert watch.waits() == []


def test_a_refused_block_is_no_end_while_others_live(watched, capsys):
    executor, watch = watched
    executor.set("0", JobState.RUNNING)
    for number in range(1, 9):
        executor.status_facade[str(number)] = JobStatus(JobState.FAILED, "sbatch: error: QOSMaxSubmitJobPerUserLimit")
        watch.look(pending=1)
    assert executor.provider.max_blocks == 1, "Parsl would ask for another one twice a second"
    assert "going on with 1: sbatch: error: QOSMaxSubmitJobPerUserLimit" in capsys.readouterr().err


def test_blocks_that_are_given_back_when_nothing_waits_do_not_count(watched):
    executor, watch = watched
    for number in range(9):
        executor.set(str(number), JobState.SCALED_IN)
    watch.look(pending=0)
    watch.look(pending=1)


def test_a_block_that_is_never_replaced_is_the_end(watched):
    executor, watch = watched
    run = msgspec.structs.replace(watch._resolved.run, strategy="none")
    watch._resolved = dataclasses.replace(watch._resolved, run=run)
    executor.set("0", JobState.FAILED, "gone")
    with pytest.raises(NoResources, match="1 block ended without finishing a task: gone"):
        watch.look(pending=1)


def test_a_lost_task_names_its_job_and_host(watched, tmp_path):
    executor, watch = watched
    executor.set("3", JobState.RUNNING)
    log = tmp_path / "parsl/000/default/interchange.log"
    log.parent.mkdir(parents=True)
    log.write_text("INFO: Registration info: {'uid': 'abc123', 'block_id': '3', 'os': 'Linux'}\n")
    pool = parsl_internals.lost_pool(ManagerLost(b"abc123", "node7"))
    assert watch.describe_loss(*pool) == "lost with job job-3 on host node7"
