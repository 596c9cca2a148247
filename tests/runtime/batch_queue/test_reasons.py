"""Which reasons never pass by themselves, as the batch systems put them."""

from __future__ import annotations

import dataclasses
import time
from types import SimpleNamespace

import msgspec
import pytest
from parsl.jobs.states import JobState, JobStatus

from psiflow_cli import protocols, registry
from psiflow_cli.errors import NoResources
from psiflow_cli.runtime.batch_queue import cost, reasons, slurm_reasons, waiting
from psiflow_cli.runtime.batch_queue.cost import Usage
from psiflow_cli.runtime.providers import slurm
from psiflow_cli.site import detect, load, resolve, schema

LASTING = """JobHeldUser JobHeldAdmin JobHoldMaxRequeue launch_failed_requeued_held BadConstraints
DependencyNeverSatisfied PartitionNodeLimit PartitionTimeLimit PartitionConfig AccountNotAllowed InvalidAccount
InvalidQOS QOSNotAllowed AssocMaxCpuPerJobLimit AssocMaxNodePerJobLimit AssocMaxWallDurationPerJobLimit
QOSMaxCpuPerJobLimit QOSMaxGRESPerJob QOSMaxMemoryPerJob QOSMaxWallDurationPerJobLimit QOSMaxCpuMinutesPerJobLimit
QOSMaxCpuPerNode QOSMaxNodePerJobLimit QOSMinCpuNotSatisfied QOSMinGRES AssocGrpCPUMinutesLimit AssocGrpBillingMinutes
QOSGrpCPUMinutesLimit QOSGrpGRESMinutes ReservationDeleted InvalidReservation DeadLine"""
PASSING = """Priority Resources None BeginTime Dependency Licenses PartitionDown PartitionInactive JobArrayTaskLimit
AssocGrpCpuLimit AssocGrpNodeLimit AssocGrpMemLimit AssocGrpGRES AssocGrpJobsLimit AssocMaxJobsLimit
AssocGrpCPURunMinutesLimit QOSGrpCPURunMinutesLimit QOSGrpNodeLimit QOSMaxCpuPerUserLimit QOSMaxJobsPerUserLimit
QOSMaxMemoryPerUser QOSMaxGRESPerUser MaxCpuPerAccount QOSUsageThreshold QOSJobLimit ReqNodeNotAvail Reservation
NodeDown FrontEndDown Cleaning BurstBufferStageIn SchedDefer FedJobLock AssociationJobLimit QOSResourceLimit
Prolog"""
NODES = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"


@pytest.mark.parametrize("reason", [*LASTING.split(), "launch failed requeued held"])
def test_what_never_passes(reason):
    assert slurm_reasons.lasting(reason)
    assert slurm_reasons.lasting(slurm_reasons.explained(reason)), "explained, it is the same"


@pytest.mark.parametrize("reason", [*PASSING.split(), NODES, "ReqNodeNotAvail, UnavailableNodes:n1", "", "ANewOne"])
def test_what_may_pass(reason):
    assert not slurm_reasons.lasting(slurm_reasons.explained(reason))


PBS = """Job Id: 12.head
    Job_Name = parsl
    job_state = Q
    comment = Can Never Run: Insufficient amount of resource: ncpus (R: 40 A:
\t16 T: 16)
    Variable_List = PBS_O_HOME=/home/u,
\tcomment = none

Job Id: 13.head
    job_state = H
    Hold_Types = u
Job Id: 14.head
    job_state = R
"""
LSF = """JOBID   USER    STAT  QUEUE      FROM_HOST   EXEC_HOST   JOB_NAME   SUBMIT_TIME
7678    john    PEND  priority   hostD                   verilog    Oct 28 13:08
 Queue's resource requirements not satisfied: 3 hosts;
 Not enough job slots: 1 host;
7679    john    PSUSP priority   hostD                   verilog    Oct 28 13:08
 The job was suspended by the user while pending;
"""
GRID_ENGINE = """==============================================================
job_number:                 31
scheduling info:            queue instance "all.q@n1" dropped because it is full
                            queue instance "all.q@n2" dropped because it is full
job_number:                 32
"""


@pytest.mark.parametrize(
    ("parse", "text", "told", "lasting"),
    [
        (
            reasons.of_pbs, PBS,
            {
                "12.head": "Can Never Run: Insufficient amount of resource: ncpus (R: 40 A:16 T: 16)",
                "13.head": "held (u)",
            },
            [True, True],
        ),
        (
            reasons.of_lsf, LSF,
            {
                "7678": "Queue's resource requirements not satisfied: 3 hosts; Not enough job slots: 1 host;",
                "7679": "The job was suspended by the user while pending;",
            },
            [False, True],
        ),
        (reasons.of_grid_engine, GRID_ENGINE, {"31": 'queue instance "all.q@n1" dropped because it is full'}, [False]),
        (reasons.of_condor, "5.0 undefined\n6.0 Error from n1: gone\n", {"6.0": "held: Error from n1: gone"}, [True]),
    ],
)  # fmt: skip
def test_what_other_batch_systems_say(parse, text, told, lasting):
    assert parse(text) == told
    assert [bool(reasons.lasting(reason)) for reason in told.values()] == lasting
    assert parse("") == parse("qstat: Unknown Job Id 3\n") == {}


def test_every_batch_system_tells_why_jobs_wait():
    modules = {name: registry.load("runtime.providers", name) for name in registry.names("runtime.providers")}
    batch = {name: module for name, module in modules.items() if issubclass(module.Provider, schema.BatchProvider)}
    assert len(batch) >= 6
    assert all(isinstance(module, protocols.JudgesWaiting) for module in batch.values())
    asked = {name for name, module in batch.items() if isinstance(module, protocols.TellsWhy)}
    assert asked == set(batch) - {"slurm"}, "squeue tells states and reasons in one answer"


def test_a_held_job_counts_as_one_that_waits(tmp_path, monkeypatch):
    """Parsl's scaling counts running and pending jobs only, and would submit others in its place without end."""
    program = tmp_path / "qstat"
    program.write_text(f"#!/bin/sh\necho $* >> {tmp_path}/asked\ncat <<'E'\n{PBS}E\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    states = {"12.head": JobState.PENDING, "13.head": JobState.HELD, "14.head": JobState.RUNNING}
    provider = SimpleNamespace(status=lambda jobs: [JobStatus(states[job]) for job in jobs])
    reasons.attach(provider, "pbspro", ["qstat", "-f"], reasons.of_pbs)
    for _ in range(3):
        first, second, third = provider.status(list(states))
    assert (first.message or "").startswith("Can Never Run")
    assert (second.state, second.message) == (JobState.PENDING, "held (u)")
    assert (third.state, third.message) == (JobState.RUNNING, None)
    assert (tmp_path / "asked").read_text() == "-f 12.head 13.head\n", "once a minute"


def record(state, reason=""):
    return {"state": state, "since": 0.0, "asked": 0.0, "reason": reason}


def test_only_jobs_that_all_never_start_end_the_run(monkeypatch):
    resolved = resolve.executor_of(load.load("local"), "emt", "label", detect.machine())
    run = msgspec.structs.replace(resolved.run, queue_patience="10 min")
    provider = slurm.Provider(type="slurm", cores_per_node=40)
    watch = waiting.Waiting(dataclasses.replace(resolved, run=run, provider=provider))
    monkeypatch.setattr(slurm, "problems", lambda _: ["cores_per_node: asked for 40, but partition 'cpu' has 16"])
    now = time.time()

    def check(minutes, *records):
        monkeypatch.setattr(waiting, "time", SimpleNamespace(time=lambda: now + 60 * minutes))
        watch.check({str(number): each for number, each in enumerate(records)})

    held, other = record("PENDING", "JobHeldUser (held by its user)"), record("PENDING", "Priority")
    check(0, held, other)
    check(1000, held, other)
    check(1001, held, record("RUNNING"))
    check(1002, held)
    check(1003, held, other)
    check(1004, held, record("COMPLETED"))
    check(1013, held)
    with pytest.raises(
        NoResources, match=r"no job can start: job 0: JobHeldUser \(held by its user\); cores_per.* 16$"
    ):
        check(1015, held)


def test_what_jobs_cost(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(cost, "time", SimpleNamespace(time=lambda: clock.now))
    assert cost.core_seconds(tmp_path, 5.0) == 0
    paid = cost.Cost(tmp_path, 4)
    paid.runs("1", Usage(16, 30.0, 990.0))  # began at 960
    paid.runs("2", None)
    assert cost.core_seconds(tmp_path, 1010.0) == 16 * 50 + 4 * 10
    clock.now = 1100.0
    paid.ended("1", Usage(16, 100.0, 1100.0))
    paid.ended("1")
    paid.ended("3")  # was cancelled in the queue
    assert cost.core_seconds(tmp_path, 1100.0) == 16 * 100 + 4 * 100
    assert cost.core_seconds(tmp_path, None) == 16 * 100 + 4 * 100, "of a dead command: as long as it was seen to run"
    clock.now = 5000.0
    after_a_kill = cost.Cost(tmp_path, 4)
    after_a_kill.runs("9", None, 4990.0)
    after_a_kill.end()
    after_a_kill.end()
    assert cost.core_seconds(tmp_path, 9999.0) == 16 * 100 + 4 * 100 + 4 * 10


def test_every_run_of_a_requeued_job_costs(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "time", SimpleNamespace(time=lambda: 1300.0))
    paid = cost.Cost(tmp_path, 4)
    paid.runs("1", Usage(16, 100.0, 1000.0))
    paid.runs("1", Usage(16, 20.0, 1200.0))
    assert cost.core_seconds(tmp_path, 1200.0) == 16 * (100 + 20)
    paid.ended("1", Usage(16, 5.0, 1300.0))  # requeued once more in between
    assert cost.core_seconds(tmp_path, 1300.0) == 16 * (100 + 20 + 5)
