"""A task that hangs ends its process, wherever it hangs, and leaves a trace that tells so."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from psiflow_cli.runtime.task import Task
from psiflow_cli.worker.pool import watchdog

RUN = """
import ctypes, re, sys, time
from pathlib import Path
from psiflow_cli.worker.pool import watchdog
from psiflow_cli.worker.process import subprocesses
watchdog.GRACE_S = 0.5
with watchdog.limit(0.5, sys.argv[1]):
    exec(sys.argv[2])
print("whole")
"""


def run(log, code):
    return subprocess.run([sys.executable, "-c", RUN, str(log), code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "code",
    [
        "time.sleep(60)",
        "while True: pass",
        "ctypes.PyDLL(None).sleep(60)",  # holds the interpreter's lock: no Python can run
        "re.match('(a+)+$', 'a' * 60 + 'b')",
    ],
)
def test_a_hang_ends_the_process(tmp_path, code):
    start = time.monotonic()
    done = run(tmp_path / "log", code)
    assert (done.returncode, done.stdout) == (1, "")
    assert time.monotonic() - start < 20
    assert "Timeout" in (tmp_path / "log").read_text()
    assert watchdog.found_hanging(str(tmp_path / "log"))


@pytest.mark.parametrize("code", ["pass", "time.sleep(0.7)"])
def test_what_ends_in_time_leaves_nothing(tmp_path, code):
    assert run(tmp_path / "log", code).stdout == "whole\n"
    assert not (tmp_path / "log").exists()
    assert not watchdog.found_hanging(str(tmp_path / "log"))


def test_a_program_with_a_longer_limit_of_its_own_has_its_time(tmp_path):
    code = f"print(subprocesses.run(['sleep', '1.5'], Path({str(tmp_path / 'out')!r}), seconds=3).returncode)"
    assert run(tmp_path / "log", code).stdout == "0\nwhole\n"


def test_another_death_is_no_hang(tmp_path):
    assert run(tmp_path / "log", "import os; os.kill(os.getpid(), 9)").returncode == -9
    assert (tmp_path / "log").read_text() == ""
    assert not watchdog.found_hanging(str(tmp_path / "log"))
    assert not (tmp_path / "log").exists()


def test_in_a_pool_the_log_is_on_the_node_and_arrives_after_a_hang(tmp_path, monkeypatch):
    node, shared = tmp_path / "node", tmp_path / "shared"
    node.mkdir(), shared.mkdir()
    monkeypatch.setenv(watchdog.FOLDER, str(node))
    log = shared / "7.hang"
    assert run(log, f"assert not any(Path({str(shared)!r}).iterdir()); time.sleep(60)").returncode == 1
    assert not log.exists()
    watchdog.deliver(str(node), str(shared))
    assert "Timeout" in log.read_text()
    assert watchdog.found_hanging(str(log))
    assert run(shared / "8.hang", "pass").stdout == "whole\n"
    watchdog.deliver(str(node), str(shared))
    assert [path.name for path in shared.iterdir()] == ["7.hang"]
    monkeypatch.setenv(watchdog.FOLDER, str(tmp_path / "swept away"))
    assert run(shared / "9.hang", "pass").stdout == "whole\n"


def test_without_a_walltime_there_is_no_limit(tmp_path):
    with watchdog.limit(None, str(tmp_path / "log")), watchdog.limit(1.0, ""):
        assert not Path(tmp_path / "log").exists()


def test_many_that_died_at_once_are_waited_for_together(tmp_path):
    task = Task("module:function", {})
    task.submitted = time.monotonic() - 100
    task.came_back()
    assert task.hang_log_until(None) == task.hang_log_until(1000.0) == 0.0
    start = time.monotonic()
    for number in range(5):
        assert not watchdog.found_hanging(str(tmp_path / f"{number}.hang"), task.hang_log_until(10.0))
    assert watchdog.DELIVERY_S - 0.5 < time.monotonic() - start < watchdog.DELIVERY_S + 2
