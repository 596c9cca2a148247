"""Refused submissions: which of them may pass, in the words of the batch systems themselves."""

from __future__ import annotations

import pytest

from psiflow_cli.runtime.block_faults import admission, refusals
from psiflow_cli.runtime.block_faults.refusals import Answer, Kind

_POLICY = (
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)
PASSING = [
    "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
    "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
    "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
    "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode",
    "sbatch: error: Batch job submission failed: Required partition not available (inactive or drain)",
    "sbatch: error: Batch job submission failed: Protocol authentication error",
    "sbatch: error: If munged is up, restart with --num-threads=10",
    f"sbatch: error: QOSMaxSubmitJobPerUserLimit; sbatch: error: {_POLICY}",
    f"sbatch: error: AssocGrpSubmitJobsLimit; sbatch: error: {_POLICY}",
    f"sbatch: error: {_POLICY}",
    "qsub: would exceed queue generic's per-user limit",
    "qsub: Maximum number of jobs already in queue for user",
    "qsub: cannot connect to server pbs01 (errno=111)",
    "qsub: Queue is not enabled",
    "Unable to run job: job rejected: only 10 jobs are allowed per user (current job count: 10)",
    'error: unable to send message to qmaster using port 6444 on host "head": got send error',
    "LSF is down. Please wait ...",
    "User <me>: Pending job threshold reached. Retrying in 60 seconds...",
    "normal: Queue has been closed. Job not submitted.",
    "ERROR: Failed to connect to local queue manager",
    "ERROR: Number of submitted jobs would exceed MAX_JOBS_PER_OWNER",
    "Command 'sbatch x' timed out after 60 seconds",
]
LASTING = [
    "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
    "sbatch: error: Batch job submission failed: Invalid partition name specified",
    "sbatch: error: Batch job submission failed: Invalid qos specification",
    "sbatch: error: Batch job submission failed: Requested node configuration is not available",
    "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
    "sbatch: error: Batch job submission failed: Access/permission denied",
    "sbatch: error: Memory specification can not be satisfied",
    "sbatch: unrecognized option '--nope=1'",
    f"sbatch: error: QOSMaxWallDurationPerJobLimit; sbatch: error: {_POLICY}",
    f"sbatch: error: QOSMaxCpuPerJobLimit; sbatch: error: {_POLICY}",
    "/bin/sh: 1: sbatch: not found",
    "qsub: Unknown queue",
    "qsub: Job exceeds queue and/or server resource limits",
    "qsub: Illegal attribute or resource value",
    'Unable to run job: unknown resource "nope".',
    "nope: No such queue. Job not submitted.",
    "ERROR: Parse error in expression",
]


@pytest.mark.parametrize("words", PASSING)
def test_what_may_pass_is_tried_again(words):
    assert refusals.kind(words) is Kind.PASSING


@pytest.mark.parametrize("words", LASTING)
def test_what_stays_is_not(words):
    assert refusals.kind(words) is Kind.LASTING


def test_the_words_are_the_batch_systems_own():
    banner = "*** maintenance on Monday ***\nsbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: no\n"
    assert (
        refusals.words([Answer(1, "", banner)], "") == "sbatch: error: QOSMaxSubmitJobPerUserLimit; sbatch: error: no"
    )
    assert refusals.words([Answer(1, "said on stdout\n", "")], "") == "said on stdout"
    assert refusals.words([], "Parsl's") == "Parsl's"


@pytest.fixture
def door(tmp_path, monkeypatch):
    """An admission with three tries and a minute's patience, whose time is `door.now`."""
    door = admission.Admission(tmp_path, 3, 60)
    door.now = 1000.0
    monkeypatch.setattr(admission.time, "time", lambda: door.now)
    return door


def test_pauses_grow_to_a_minute_and_end_with_success(door):
    pauses = []
    for _ in range(9):
        door.refused("Unable to contact slurm controller")
        begin = door.now
        while not door.limit(4):
            door.now += 0.5
        pauses.append(door.now - begin)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    door.accepted()
    door.refused("again")
    door.now += 1
    assert door.limit(4) == 4
    assert (door.folder / admission.LOG).read_text().count("Unable to contact") == 9


def test_patience_counts_from_when_nothing_is_left(door):
    assert not door.is_hopeless(alone_since=0)
    door.refused("Unable to contact slurm controller")
    door.now += 61
    assert door.is_hopeless(alone_since=0)
    assert not door.is_hopeless(alone_since=door.now - 30), "a block was there half a minute ago"


def test_unknown_words_are_tried_a_few_times_and_lasting_ones_never(door):
    for _ in range(3):
        door.refused("the stars are not right")
        assert not door.is_hopeless(0)
    door.refused("the stars are not right")
    assert door.is_hopeless(0)
    door.accepted()
    door.refused("Invalid partition name specified")
    assert door.is_hopeless(0)
