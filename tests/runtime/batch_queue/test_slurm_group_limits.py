"""A job that by itself exceeds what others share never starts; recorded words, since accounting needs a database."""

from __future__ import annotations

import pytest

from psiflow_cli.errors import NoResources
from psiflow_cli.runtime.batch_queue import slurm_group_limits, slurm_reasons

JOB = (
    "JobId=3 JobName=a=b UserId=u(1000) Account=chem QOS=normal Partition=cpu JobState=PENDING Reason=QOSGrpCpuLimit "
    "TRES=cpu=40,mem=100G,node=2,billing=40,gres/gpu=2 Comment=QOS=other"
)


@pytest.fixture
def slurm(monkeypatch):
    """What SLURM's commands print, by what is asked about."""
    answers = {
        "job": JOB, "config": "ClusterName             = tier1\n", "partition": "PartitionName=cpu QoS=N/A",
        "qos": "cpu=64|node=4|\n", "assoc": "|mem=200G\nother|cpu=1\nu|\n",
    }  # fmt: skip
    monkeypatch.setattr(slurm_group_limits, "ask", lambda *words: answers[words[words.index("show") + 1]])
    return answers


@pytest.mark.parametrize(
    ("what", "answer", "told"),
    [
        ("qos", "cpu=16||\n", "alone asks for cpu=40, more than the 16 of QOS normal"),
        ("qos", "|gres/gpu=1|\n", "alone asks for gres/gpu=2, more than the 1 of QOS normal"),
        ("assoc", "|\nu|mem=0.05T\n", "alone asks for mem=102400 MB, more than the 52428.8 MB of account chem"),
        ("partition", "PartitionName=cpu QoS=short", ""),
        ("qos", "", ""),
    ],
)
def test_a_limit_that_one_job_exceeds(slurm, what, answer, told):
    slurm[what] = answer
    word = "AssocGrpMemLimit" if what == "assoc" else "QOSGrpCpuLimit"
    assert slurm_group_limits.beyond("3", word, "") == told
    reason = slurm_reasons.explained(word, told)
    assert bool(slurm_reasons.lasting(reason)) == bool(told)


@pytest.mark.parametrize("reason", ["Priority", "QOSMaxJobsPerUserLimit", "AssocGrpCPURunMinutesLimit", ""])
def test_other_reasons_are_not_asked_about(slurm, reason):
    slurm["qos"] = "cpu=1||\n"
    assert slurm_group_limits.beyond("3", reason, "") == ""


def test_without_accounting_nothing_is_known(slurm, monkeypatch):
    def refuse(*_words):
        raise NoResources("sacctmgr: Slurm accounting storage is disabled")

    monkeypatch.setattr(slurm_group_limits, "ask", refuse)
    assert slurm_group_limits.beyond("3", "QOSGrpCpuLimit", "") == ""
