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
        self.connected: list[str] = []

    def set(self, block: str, state: JobState, message: str = "") -> None:
        self.status_facade[block] = JobStatus(state, message)
        self.blocks_to_job_id[block] = f"job-{block}"

    def connected_managers(self) -> list[dict[str, str]]:
        return [{"block_id": block} for block in self.connected]


def watch_of(kind, folder):
    resolved = resolve.executor_of(load.load("local"), "emt", "label", detect.machine())
    executor = Executor()
    resolved = dataclasses.replace(resolved, provider=SimpleNamespace(type=kind))
    return executor, blocks.Blocks(executor, resolved, folder)


@pytest.fixture
def watched(tmp_path):
    """A queue that other blocks can come from."""
    return watch_of("kubernetes", tmp_path)


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


def test_blocks_at_work_that_are_ended_from_outside_are_replaced_for_longer(watched):
    """A bad day with scancel and dying nodes, on which no task gets to its end, says little against the site."""
    executor, watch = watched
    executor.provider.ends = ends = {}
    for number in range(11):
        executor.set(str(number), JobState.RUNNING)
        watch.look(pending=1)
        executor.set(str(number), JobState.CANCELLED)
        ends[f"job-{number}"] = "CANCELLED"
        watch.look(pending=1)
    executor.set("11", JobState.CANCELLED)
    ends["job-11"] = "CANCELLED"
    with pytest.raises(NoResources, match="12 blocks ended without finishing a task"):
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
    later(monkeypatch, watch, seconds=115)
    with pytest.raises(NoResources, match=r"10\.0\.0\.1, 192\.168\.0\.1"):
        later(monkeypatch, watch, seconds=10)


def test_a_block_that_waits_in_the_queue_is_waited_for(watched, monkeypatch, tmp_path):
    executor, watch = watched
    executor.set("0", JobState.PENDING)
    watch.look(pending=1)
    later(monkeypatch, watch, seconds=200)
    assert "PENDING" in (tmp_path / block_record.FILE).read_text()
    watch._is_queued = False
    assert watch.waits() == [], "a process of this host is in no queue"
    watch._is_queued = True
    assert watch.waits() == ["in the queue: job job-0"]
    monkeypatch.setattr(watch, "_useful", {"0"})
    assert watch.waits() == [], "it has finished a task, and the queue was asked before"
    monkeypatch.undo()
    executor.set("2", JobState.PENDING, "Priority (other jobs have priority)")
    watch.look(pending=1)
    assert watch.waits() == ["in the queue: job job-0; job job-2: Priority (other jobs have priority)"]
    executor.set("1", JobState.RUNNING)
    watch.look(pending=1)
    assert watch.waits() == []


def later(monkeypatch, watch, seconds):
    """Look at the blocks as often as a command would in this time."""
    for _ in range(seconds):
        now = blocks.time.time()
        monkeypatch.setattr(blocks, "time", SimpleNamespace(time=lambda now=now: now + 1))
        watch.look(pending=1)


def test_a_host_that_stood_still_has_seen_no_worker_come(watched, monkeypatch):
    executor, watch = watched
    executor.set("0", JobState.RUNNING)
    watch.look(pending=1)
    now = time.time()
    monkeypatch.setattr(blocks, "time", SimpleNamespace(time=lambda: now + 300))
    watch.look(pending=1)


def test_blocks_that_die_are_no_end_while_another_computes(watched):
    executor, watch = watched
    executor.set("0", JobState.RUNNING)
    executor.connected = ["0"]
    for number in range(1, 20):
        executor.set(str(number), JobState.MISSING, "no /scratch")
        watch.look(pending=1)
    assert executor.provider.max_blocks == 0, "a pause lasts"
    watch._admission.after_deaths.end()
    watch.look(pending=1)
    assert executor.provider.max_blocks == 4
    executor.connected = []
    watch.look(pending=1)
    assert executor.provider.max_blocks == 0, "the one that is left must show what it is worth first"
    executor.set("0", JobState.FAILED)
    with pytest.raises(NoResources, match="20 blocks ended without finishing a task: no /scratch"):
        watch.look(pending=1)


def test_a_pool_of_this_host_that_dies_again_and_again_is_no_more_waited_for(tmp_path):
    executor, watch = watch_of("local", tmp_path)
    for number in range(3):
        executor.set(str(number), JobState.MISSING, "no python")
    executor.set("3", JobState.RUNNING)
    with pytest.raises(NoResources, match="3 blocks ended without finishing a task: no python"):
        watch.look(pending=1)


def test_blocks_that_may_still_come_are_waited_for(watched):
    executor, watch = watched
    executor.set("0", JobState.PENDING)
    for number in range(1, 5):
        executor.set(str(number), JobState.MISSING)
    watch.look(pending=1)
    executor.set("0", JobState.RUNNING)
    watch.look(pending=1)
    executor.set("0", JobState.MISSING)
    with pytest.raises(NoResources, match="5 blocks"):
        watch.look(pending=1)


def test_a_silent_block_is_ended_where_others_work(watched, monkeypatch):
    executor, watch = watched
    cancelled = []
    executor.provider.cancel = cancelled.extend
    executor.set("0", JobState.RUNNING)
    executor.set("1", JobState.RUNNING)
    executor.connected = ["0"]
    watch.look(pending=1)
    watch.worked("0")
    later(monkeypatch, watch, seconds=125)
    assert cancelled == ["job-1"]


def test_what_is_wrong_on_one_node_only_is_that_nodes_fault(watched):
    executor, watch = watched
    executor.provider.cancel = lambda jobs: None
    for block in ("0", "1", "2"):
        executor.set(block, JobState.RUNNING)
    watch.look(pending=1)
    assert not watch.condemn("0", "no library"), "nothing else is connected"
    executor.connected = ["0", "1", "2"]
    assert not watch.condemn("", "no library"), "whose block is not known"
    assert watch.condemn("0", "no library")
    assert watch.condemn("0", "no library"), "of its other worker"
    assert not watch.condemn("1", "no library"), "two blocks, and nothing has ever been computed"
    watch.worked("2")
    assert watch.condemn("1", "no library")
    assert not watch.condemn("2", "no library"), "it could, before"


def test_a_refused_block_is_no_end_while_others_live(watched, capsys):
    executor, watch = watched
    executor.set("0", JobState.RUNNING)
    executor.status_facade["1"] = JobStatus(JobState.FAILED, "sbatch: error: QOSMaxSubmitJobPerUserLimit")
    watch.look(pending=1)
    assert executor.provider.max_blocks == 0, "Parsl would ask for another one twice a second"
    assert "after a pause: sbatch: error: QOSMaxSubmitJobPerUserLimit" in capsys.readouterr().err


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
