"""What this process may use, from files and variables put in place here."""

from __future__ import annotations

import os
import stat

import pytest

from psiflow_cli.site import detect

UNLIMITED_V1 = "9223372036854771712"


@pytest.fixture
def machine(monkeypatch):
    """`detect.machine()` with these files, these variables, and affinity to 16 CPUs."""

    def look(files=(), **variables):
        there = {"/proc/meminfo": "MemTotal:       67108864 kB\nMemFree: 1 kB", **dict(files)}
        monkeypatch.setattr(detect, "_read", lambda path: there.get(str(path), ""))
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
        for name in [n for n in os.environ if n.startswith("SLURM_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return detect.machine()

    return look


def test_a_shell_that_salloc_left_on_the_login_node_uses_what_its_job_has(machine, monkeypatch):
    monkeypatch.setattr(detect.shutil, "which", lambda program: f"/usr/bin/{program}")
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NUM_NODES": "3", "SLURM_JOB_CPUS_PER_NODE": "64(x2),48"}
    assert machine(**job, SLURM_MEM_PER_CPU="2000", SLURM_GPUS_PER_NODE="a100:4") == detect.Machine(
        cores=48, memory_mb=96000, gpus=("0", "1", "2", "3"), nodes=3, slurm_job="77"
    )
    here = machine(**job, SLURMD_NODENAME="n1", SLURM_CPUS_ON_NODE="8")
    assert (here.cores, here.gpus) == (8, ())


def test_without_limits(machine):
    assert machine() == detect.Machine(cores=16, memory_mb=65536, gpus=(), nodes=1, slurm_job="")


@pytest.mark.parametrize(
    ("files", "cores", "memory_mb"),
    [
        # v2, seen from inside a container: the root of the tree has the limits
        ({"/sys/fs/cgroup/cpu.max": "250000 100000", "/sys/fs/cgroup/memory.max": str(2**32)}, 2, 4096),
        ({"/sys/fs/cgroup/cpu.max": "max 100000", "/sys/fs/cgroup/memory.max": "max"}, 16, 65536),
        ({"/sys/fs/cgroup/cpu.max": "50000 100000"}, 1, 65536),
        # v2 on the host: a limit stands above the process's own cgroup
        (
            {
                "/proc/self/cgroup": "0::/system.slice/job_7/step_0",
                "/sys/fs/cgroup/system.slice/job_7/memory.max": str(2**33),
                "/sys/fs/cgroup/system.slice/job_7/cpu.max": "400000 100000",
                "/sys/fs/cgroup/system.slice/job_7/step_0/memory.max": "max",
            },
            4,
            8192,
        ),
        # v1, each controller with a tree of its own
        (
            {
                "/proc/self/cgroup": "4:memory:/slurm/job_7\n1:cpu,cpuacct:/slurm/job_7\n0::/",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes": UNLIMITED_V1,
                "/sys/fs/cgroup/memory/slurm/job_7/memory.limit_in_bytes": str(3 * 2**30),
                "/sys/fs/cgroup/cpu/slurm/job_7/cpu.cfs_quota_us": "300000",
                "/sys/fs/cgroup/cpu/slurm/job_7/cpu.cfs_period_us": "100000",
            },
            3,
            3072,
        ),
        (
            {
                "/proc/self/cgroup": "1:cpu:/",
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            16,
            65536,
        ),
    ],
)
def test_cgroups(machine, files, cores, memory_mb):
    found = machine(files)
    assert (found.cores, found.memory_mb) == (cores, memory_mb)


def test_slurm(machine):
    job = {"SLURM_JOB_ID": "77", "SLURM_JOB_NUM_NODES": "3", "SLURM_CPUS_ON_NODE": "4"}
    found = machine(**job, SLURM_MEM_PER_NODE="8000")
    assert found == detect.Machine(cores=4, memory_mb=8000, gpus=(), nodes=3, slurm_job="77")
    assert machine(**job, SLURM_MEM_PER_CPU="1500").memory_mb == 6000
    assert machine(**job, SLURM_MEM_PER_NODE="0").memory_mb == 65536  # all of the node's
    assert machine(SLURM_JOB_ID="77", SLURM_NNODES="2").nodes == 2
    assert machine(SLURM_JOB_ID="77").cores == 16
    assert machine(**{**job, "SLURM_CPUS_ON_NODE": "64"}).cores == 16


def test_variables_without_a_job_mean_nothing(machine):
    found = machine(SLURM_JOB_NUM_NODES="3", SLURM_CPUS_ON_NODE="4", SLURM_MEM_PER_NODE="100")
    assert (found.nodes, found.cores, found.memory_mb) == (1, 16, 65536)


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [
        ("0", ("0",)),
        ("0,2", ("0", "2")),
        (" 1 , 3 ", ("1", "3")),
        ("GPU-8a5c,MIG-1b", ("GPU-8a5c", "MIG-1b")),
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("0,-1,1", ("0",)),  # CUDA stops at the first that is invalid
    ],
)
def test_visible_gpus(machine, visible, gpus):
    assert machine(CUDA_VISIBLE_DEVICES=visible).gpus == gpus


def test_gpus_are_asked_of_the_driver(machine, monkeypatch, tmp_path):
    machine()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    smi = tmp_path / "nvidia-smi"
    listed = ("GPU 0: A100 (UUID: GPU-1)", "  MIG 1g.5gb Device 0: (UUID: MIG-1)", "GPU 1: A100 (UUID: GPU-2)")
    smi.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in listed))
    smi.chmod(smi.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(detect.Path, "is_dir", lambda path: True)
    assert detect.machine().gpus == ("MIG-1", "GPU-2"), "of a divided GPU, its instances"
    smi.write_text(f"#!/bin/sh\necho '{listed[0]}'\necho '{listed[2]}'\n")
    assert detect.machine().gpus == ("0", "1")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert detect.machine().gpus == ()
    monkeypatch.setattr(detect.Path, "is_dir", lambda path: False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert detect.machine().gpus == ()


def test_gpus_of_amd_are_counted(machine, monkeypatch, tmp_path):
    files = {"/nodes/0/properties": "cpu_cores_count 64\nsimd_count 0", "/nodes/1/properties": "simd_count 440"}
    monkeypatch.setattr(detect.os.path, "exists", lambda path: path == "/dev/kfd")
    monkeypatch.setattr(detect.Path, "glob", lambda path, pattern: [*files, "/nodes/2/properties"])
    machine(files={**files, "/nodes/2/properties": "simd_count 440"})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert detect.machine().gpus == ("0", "1")
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "4,5,6")
    assert detect.machine().gpus == ("4", "5", "6")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0,1")
    assert detect.machine().gpus == ("0", "1")


def test_here_and_now():
    found = detect.machine()
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.memory_mb > 100
    assert found.nodes >= 1
