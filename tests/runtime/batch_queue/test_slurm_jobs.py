"""What squeue's list makes of jobs: an answer that does not list one has not ended it."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from parsl.jobs.states import JobState, JobStatus

from psiflow_cli.runtime.batch_queue import slurm_jobs
from psiflow_cli.runtime.batch_queue.shared_answer import Answer

NOW = time.time()


class Queue:
    """A provider's jobs, and a squeue whose answers a test gives; a real one would take minutes to forget a job."""

    def __init__(self, monkeypatch):
        self.jobs = slurm_jobs.SlurmJobs("", 30, 5)
        self.jobs._shared = SimpleNamespace(newest=lambda: self.answer)
        self.known = {"7": {"status": JobStatus(JobState.PENDING), "job_stdout_path": "o", "job_stderr_path": "e"}}
        monkeypatch.setattr(slurm_jobs.time, "time", lambda: NOW)
        self.jobs.submitted("7")
        monkeypatch.setattr(slurm_jobs.time, "time", lambda: NOW + 1000)

    def says(self, text, after=10.0, exit_code=0):
        self.answer = Answer(NOW + after, exit_code, text)
        self.jobs.update(self.known)
        return self.known["7"]["status"]


@pytest.fixture
def queue(monkeypatch):
    return Queue(monkeypatch)


def test_an_answer_from_before_the_submission_says_nothing(queue):
    assert queue.says("7|COMPLETED|2|0:10|None\n", after=-1.0).state is JobState.PENDING


def test_states_reasons_and_costs(queue):
    status = queue.says("CLUSTER: a\n6|RUNNING|1|1:00|None\n7|PENDING|2|0:00|JobHeldUser\n", 10)
    assert (status.state, status.message) == (JobState.PENDING, "JobHeldUser (held by its user)")
    assert "usage" not in queue.known["7"]
    status = queue.says("7|RUNNING|32|1-00:01:05|None\n", 20)
    assert (status.state, status.message) == (JobState.RUNNING, None)
    assert queue.known["7"]["usage"] == (32, 86465.0, NOW + 20)
    assert queue.says("7|SUSPENDED|32|1:05|None\n", 30).message == "SUSPENDED"
    assert queue.says("7|A_NEW_STATE|32|1:05|None\n", 40).state is JobState.UNKNOWN
    status = queue.says("7|NODE_FAIL|32|1:05|NodeDown\n", 50)
    assert (status.state, status.message) == (JobState.CANCELLED, "NodeDown")
    assert queue.says("7|RUNNING|32|1:05|None\n", 60).state is JobState.CANCELLED, (
        "what has ended is not asked for again"
    )


def test_a_queue_that_fails_or_forgets_once_has_not_ended_a_job(queue):
    assert queue.says("7|RUNNING|2|0:10|None\n", 10).state is JobState.RUNNING
    assert queue.says("", 20, exit_code=1).state is JobState.RUNNING
    assert queue.says("", 30).state is JobState.RUNNING, "once may be a controller that restarts"
    assert queue.says("", 30).state is JobState.RUNNING, "the same answer, not a second one"
    assert queue.says("7|RUNNING|2|0:40|None\n", 40).state is JobState.RUNNING
    assert queue.says("", 50).state is JobState.RUNNING
    assert queue.says("", 60).state is JobState.COMPLETED


def test_a_young_job_that_was_never_listed_is_waited_for(queue):
    assert [queue.says("", after).state for after in (5, 15, 25, 59)] == [JobState.PENDING] * 4
    assert queue.says("", 61).state is JobState.COMPLETED


@pytest.mark.parametrize(
    ("text", "seconds"), [("0:00", 0), ("1:02", 62), ("2:03:04", 7384), ("1-02:03:04", 93784), ("INVALID", 0), ("", 0)]
)
def test_run_times(text, seconds):
    assert slurm_jobs._seconds(text) == seconds


def test_a_users_own_variables_do_not_hide_jobs(monkeypatch):
    monkeypatch.setenv("SQUEUE_PARTITION", "gpu")
    jobs = slurm_jobs.SlurmJobs("", 30, 5)
    assert "SQUEUE_PARTITION" not in jobs._shared._environment
