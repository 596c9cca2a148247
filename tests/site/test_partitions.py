"""Which partitions are of use, and the least that their nodes have."""

from __future__ import annotations

import os

import pytest

from psiflow_cli.site.partitions import usable
from tests.site.sites import machine

HERE = machine(cores=2, memory_mb=4000)


def partition(name, **facts):
    return {"PartitionName": name, "State": "UP", "MaxTime": "3-00:00:00", "AllowAccounts": "ALL", **facts}


def node(partitions, cpus=64, memory=256000, gres="(null)", **facts):
    counts = {"CPUTot": str(cpus), "RealMemory": str(memory), "Gres": gres}
    return {"Partitions": partitions, "State": "IDLE", "NodeHostName": "elsewhere", **counts, **facts}


def one(facts, *nodes, here=HERE):
    found, left_out = usable([partition("p", **facts)], list(nodes), [], here)
    assert left_out == []
    return found[0]


def test_the_least_of_unlike_nodes():
    nodes = one({}, node("p", 64, 512000), node("p,q", 128, 256000), node("q", 8, 1000))
    assert (nodes.count, nodes.cores, nodes.memory_mb, nodes.gpus) == (2, (64, 128), (256000, 512000), (0, 0))
    assert nodes.max_time == 3 * 86400


def test_a_partition_where_some_nodes_have_gpus_becomes_two():
    plain, gpu = usable(
        [partition("p", Default="YES")], [node("p"), node("p", gres="gpu:4"), node("p", gres="gpu:2")], [], HERE
    )[0]
    assert (plain.name, plain.partition, plain.gpus) == ("p", "p", (0, 0))
    assert (gpu.name, gpu.partition, gpu.gpus, gpu.count) == ("p-gpu", "p", (2, 4), 2)
    assert plain.default


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("(null)", 0),
        ("gpu:4", 4),
        ("gpu:a100:4(S:0-1)", 4),
        ("gpu:a100:2(S:0,2),gpu:v100:3(S:1),nvme:1", 5),
        ("shard:8", 0),
        ("gpu:1g.5gb:7(S:0)", 7),
        ("gpu", 1),
    ],
)
def test_gpus_are_counted(gres, gpus):
    assert one({}, node("p", gres=gres)).gpus == (gpus, gpus)


@pytest.mark.parametrize(
    ("facts", "cores", "memory"),
    [
        ({"MaxCPUsPerNode": "32"}, 32, 256000),
        ({"MaxMemPerNode": "100000"}, 64, 100000),
        ({"MaxMemPerCPU": "2000"}, 64, 128000),
        ({"MaxMemPerCPU": "2000", "MaxCPUsPerNode": "10"}, 10, 20000),
        ({"MaxMemPerNode": "UNLIMITED", "MaxCPUsPerNode": "UNLIMITED"}, 64, 256000),
    ],
)
def test_the_limits_of_a_partition_hold(facts, cores, memory):
    nodes = one(facts, node("p"))
    assert (nodes.cores[0], nodes.memory_mb[0]) == (cores, memory)


def test_what_the_system_keeps_for_itself_is_not_asked_for():
    nodes = one({}, node("p", CPUEfctv="60", MemSpecLimit="6000"))
    assert (nodes.cores[0], nodes.memory_mb[0]) == (60, 250000)


def test_a_node_that_is_this_host_has_no_more_than_it():
    here = node("p", NodeHostName=os.uname().nodename)
    nodes = one({}, here)
    assert (nodes.cores, nodes.memory_mb) == ((2, 2), (4000, 4000))
    assert nodes.claimed == "64 cores and 256000 MB"
    assert one({}, node("p", 2, 4000, NodeHostName=os.uname().nodename)).claimed == ""
    in_a_job = type(HERE)(cores=1, memory_mb=100, gpus=(), nodes=1, slurm_job="7")
    assert one({}, here, here=in_a_job).cores == (64, 64)


@pytest.mark.parametrize(
    ("facts", "nodes", "reason"),
    [
        ({"State": "DOWN"}, [node("p")], "p (down)"),
        ({}, [], "p (no nodes)"),
        ({}, [node("p", State="DOWN*"), node("p", State="IDLE+DRAIN")], "p (all of its nodes are down)"),
        ({}, [node("p", State="IDLE*")], "p (all of its nodes are down)"),
        ({"MaxTime": "00:02:00"}, [node("p")], "p (jobs end after 00:02:00)"),
        ({"MinNodes": "128"}, [node("p")], "p (only for jobs of 128 nodes or more)"),
        ({"AllowAccounts": "theirs,others"}, [node("p")], "p (not for your account)"),
    ],
)
def test_what_is_of_no_use_is_left_out_with_the_reason(facts, nodes, reason):
    assert usable([partition("p", **facts)], nodes, ["mine"], HERE) == ([], [reason])


@pytest.mark.parametrize("state", ["IDLE", "MIXED+PLANNED", "ALLOCATED", "IDLE+CLOUD+POWERED_DOWN", "IDLE~"])
def test_nodes_that_are_busy_or_asleep_count(state):
    assert one({}, node("p", State=state)).count == 1


def test_without_a_limit_on_time():
    assert one({"MaxTime": "UNLIMITED"}, node("p")).max_time is None
