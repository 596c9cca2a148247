"""Blocks that end without finishing a task stop the run; Parsl alone would replace cancelled ones for ever."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from parsl.jobs.states import JobState, JobStatus

from psiflow_cli.errors import NoResources
from psiflow_cli.runtime import blocks
from psiflow_cli.site import detect, load, resolve


class Executor:
    """Stands in for an executor whose blocks a scheduler keeps ending; a real queue would take minutes."""

    all_addresses = ("10.0.0.1", "192.168.0.1")

    def __init__(self) -> None:
        self.status_facade: dict[str, JobStatus] = {}
        self.blocks_to_job_id: dict[str, str] = {}

    def set(self, block: str, state: JobState, message: str = "") -> None:
        self.status_facade[block] = JobStatus(state, message)
        self.blocks_to_job_id[block] = f"job-{block}"

    def connected_managers(self) -> list[object]:
        return []


@pytest.fixture
def watched(tmp_path):
    target = resolve.target(load.load("local"), "emt", "label", detect.machine())
    executor = Executor()
    return executor, blocks.Blocks(executor, target, tmp_path)


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
    now = blocks.time.time()
    monkeypatch.setattr(blocks, "time", SimpleNamespace(time=lambda: now + 121))
    with pytest.raises(NoResources, match=r"10\.0\.0\.1, 192\.168\.0\.1"):
        watch.look(pending=1)


def test_a_block_that_waits_in_the_queue_is_waited_for(watched, monkeypatch, tmp_path):
    executor, watch = watched
    executor.set("0", JobState.PENDING)
    watch.look(pending=1)
    monkeypatch.setattr(blocks, "time", SimpleNamespace(time=lambda: 1e12))
    watch.look(pending=1)
    assert "PENDING" in (tmp_path / blocks.FILE).read_text()
