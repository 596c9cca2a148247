"""What a trainer's log says of its failure: the first rank's own words, and no other's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from psiflow_cli.errors import BAD_CONFIG, BUG, NO_RESOURCES
from psiflow_cli.models.mace.mace_internals import CAUSES
from psiflow_cli.worker.process.subprocesses import Outcome
from psiflow_cli.worker.training.trainer_log import failure

MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
CLOSED = "RuntimeError: [/x/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:28891."
NCCL = "torch.distributed.DistBackendError: NCCL error in: x.cpp:5, remote process exited or there was a network error"
TORCHRUN = """\
W1129 19:56:15.635000 25924 torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 5 closing signal
E1129 19:56:15.754000 25924 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1) local_rank: 1
Traceback (most recent call last):
  File "/x/torch/distributed/run.py", line 1032, in <module>
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
Failures:
[1]:
  rank      : 0 (local_rank: 0)
  exitcode  : -15 (pid: 26133)  (SIGTERM)
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
  exitcode  : {} (pid: 26517)
"""
LIGHTNING = "[rank: 1] Child process with PID 7 terminated with code {}. Forcefully terminating all other processes\n"


@pytest.mark.parametrize(
    ("log", "code", "exit_code", "message"),
    [
        (f"INFO: x\n{MEMORY}\n", 1, NO_RESOURCES, f"failed: {MEMORY}"),
        ("std::bad_alloc\nMemoryError: std::bad_alloc\n", 1, NO_RESOURCES, "failed: MemoryError"),
        ("no word", -9, NO_RESOURCES, "(signal 9)"),
        ("no word", -11, BUG, "(signal 11)"),
        ("no word", 3, BUG, "(exit code 3)"),
        (
            "KeyError: 5\nException ignored in: <x>\nTraceback (most recent call last):\n  File\nTypeError: y\n",
            1,
            BUG,
            "failed: KeyError: 5",
        ),
        ("KeyError: 5\nConnectionResetError: Connection reset\n", 1, BUG, "failed: ConnectionResetError"),
        # of several processes
        (f"[rank1]: {MEMORY}\n[rank0]: {CLOSED}\n{TORCHRUN.format(1)}", 1, NO_RESOURCES, f"failed in rank 1: {MEMORY}"),
        (f"[rank0]: {CLOSED}\n[rank1]: {MEMORY}\n{TORCHRUN.format(1)}", 1, NO_RESOURCES, f"failed in rank 1: {MEMORY}"),
        (f"[rank0]: ValueError: x\n[rank1]: {MEMORY}\n{TORCHRUN.format(1)}", 1, NO_RESOURCES, "failed in rank 1: "),
        (f"[rank1]: KeyError: 5\n[rank0]: {NCCL}\n{TORCHRUN.format(1)}", 1, BUG, "failed in rank 1: KeyError: 5"),
        (f"[rank0]: {CLOSED}\n{TORCHRUN.format(-9)}", 1, NO_RESOURCES, "(rank 1: signal 9)"),
        (f"[rank0]: {NCCL}\n{TORCHRUN.format(-11)}", 1, BUG, "(rank 1: signal 11)"),
        (f"[rank0]: {NCCL}\n{TORCHRUN.format(1)}", 1, NO_RESOURCES, f"lost contact: {NCCL}"),
        (f"x.py: error: argument\n[rank0]: {CLOSED}\n{TORCHRUN.format(2)}", 1, BAD_CONFIG, "failed: x.py: error: "),
        (f"[rank1]: {MEMORY}\n{LIGHTNING.format(1)}", -9, NO_RESOURCES, f"failed in rank 1: {MEMORY}"),
        (LIGHTNING.format(-11), -9, BUG, "(rank 1: signal 11)"),
        (f"[rank0]: {NCCL}\n{LIGHTNING.format(-9)}", -9, NO_RESOURCES, "(rank 1: signal 9)"),
    ],
)
def test_why_a_trainer_failed(log: str, code: int, exit_code: int, message: str, tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text(log)
    found = failure(path, Outcome(code, 1.0), CAUSES)
    assert message in found.message
    assert (found.exit_code, str(path) in found.hint) == (exit_code, True)


RANKS = """
import os, signal, sys
import torch
from torch import distributed

distributed.init_process_group("gloo")
distributed.all_reduce(torch.ones(1))
if distributed.get_rank() == 1:
    if sys.argv[1] == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory.")
    os.kill(os.getpid(), signal.SIGKILL)
distributed.all_reduce(torch.ones(1))
"""


@pytest.mark.full
@pytest.mark.parametrize(("how", "message"), [("memory", "in rank 1: torch.OutOfMemory"), ("kill", "rank 1: signal 9")])
def test_so_it_is_with_torchrun_itself(how: str, message: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    script, log = tmp_path / "ranks.py", tmp_path / "train.log"
    script.write_text(RANKS)
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script), how]
    with log.open("w") as output:
        code = subprocess.run(argv, stdout=output, stderr=subprocess.STDOUT).returncode
    found = failure(log, Outcome(code, 1.0), CAUSES)
    assert message in found.message
    assert found.exit_code == NO_RESOURCES
