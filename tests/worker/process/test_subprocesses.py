"""Programs end whole: on time, on memory, and with the worker that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from psiflow_cli.worker.process import subprocesses

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
# A launcher like mpirun: its child has a process group of its own, and outlives SIGTERM.
LAUNCHER = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], preexec_fn=os.setpgrp)
print(child.pid, flush=True)
time.sleep(60)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"


def gone(pid: int, within: float = 5.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_output_and_exit_code(tmp_path: Path) -> None:
    script = "import os, sys; print(os.getcwd(), os.environ['A']); print('no', file=sys.stderr); sys.exit(3)"
    outcome = subprocesses.run([sys.executable, "-c", script], tmp_path / "log", cwd=tmp_path, env={"A": "b"})
    assert outcome.returncode == 3
    assert (outcome.timed_out, outcome.out_of_memory) == (False, False)
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted([f"{tmp_path} b", "no"])


def test_a_signal_is_a_negative_code(tmp_path: Path) -> None:
    script = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    assert subprocesses.run([sys.executable, "-c", script], tmp_path / "log").returncode == -11


def test_a_missing_program_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        subprocesses.run(["no-such-program"], tmp_path / "log")


def test_arguments_are_not_a_shells(tmp_path: Path) -> None:
    word = "$(touch pwned); `touch pwned` 'a"
    subprocesses.run([sys.executable, "-c", "import sys; print(sys.argv[1])", word], tmp_path / "log", cwd=tmp_path)
    assert (tmp_path / "log").read_text() == word + "\n"
    assert not (tmp_path / "pwned").exists()


@LINUX
def test_the_time_limit_ends_the_whole_session(tmp_path: Path) -> None:
    outcome = subprocesses.run([sys.executable, "-c", LAUNCHER, STUBBORN], tmp_path / "log", seconds=1.0)
    assert outcome.timed_out
    assert 1.0 <= outcome.seconds < 10.0
    assert gone(int((tmp_path / "log").read_text()))


@LINUX
def test_nothing_is_left_after_the_program_ended(tmp_path: Path) -> None:
    script = LAUNCHER.replace("time.sleep(60)", "")
    outcome = subprocesses.run([sys.executable, "-c", script, STUBBORN], tmp_path / "log")
    assert outcome.returncode == 0
    assert gone(int((tmp_path / "log").read_text()), within=0.5)


@LINUX
def test_the_memory_limit(tmp_path: Path) -> None:
    script = "import time; held = bytearray(200_000_000); time.sleep(60)"
    outcome = subprocesses.run([sys.executable, "-c", script], tmp_path / "log", memory=100, seconds=30)
    assert outcome.out_of_memory
    assert not outcome.timed_out


def test_below_the_memory_limit(tmp_path: Path) -> None:
    outcome = subprocesses.run([sys.executable, "-c", "import time; time.sleep(0.5)"], tmp_path / "log", memory=500)
    assert outcome.returncode == 0


@LINUX
def test_cpus(tmp_path: Path) -> None:
    cpu = max(os.sched_getaffinity(0))
    script = "import os; print(*os.sched_getaffinity(0))"
    subprocesses.run([sys.executable, "-c", script], tmp_path / "log", cpus=[cpu])
    assert (tmp_path / "log").read_text().split() == [str(cpu)]


@LINUX
def test_it_dies_with_the_worker(tmp_path: Path) -> None:
    worker = (
        "import pathlib, sys; from psiflow_cli.worker.process import subprocesses; "
        "subprocesses.run([sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'], "
        f"pathlib.Path({str(tmp_path / 'log')!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", worker])
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_text():
        time.sleep(0.05)
    pid = int((tmp_path / "log").read_text())
    process.kill()
    process.wait()
    assert gone(pid)
