"""A process that a warm server forks is to its caller as one that is started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import warm

SHOW = """import atexit, os, sys
atexit.register(print, "at the end")
print(os.getcwd(), sys.argv, sys.path[0], __name__, os.environ.get("WORD"), os.environ.get("HOME"), sys.stdin.read())
print("ä", oct(os.umask(0)), "torch" in sys.modules, file=sys.stderr)
sys.exit(3)
"""
WAIT = """import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print(os.getpid(), flush=True)
while True:  # a signal just before a single long sleep would wait for its end
    time.sleep(0.1)
"""


def test_it_has_its_own_folder_environment_streams_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / "show.py").write_text(SHOW)
    (tmp_path / "below").mkdir()
    argv = [str(tmp_path / "show.py"), "a b", "ü"]
    env = {**os.environ, "WORD": "x"}
    del env["HOME"]
    options = {"input": "text", "cwd": tmp_path / "below", "env": env, "umask": 0o27}
    forked = warm.server().run(argv, **options)  # type: ignore[arg-type]
    started = subprocess.run([sys.executable, *argv], capture_output=True, text=True, **options)  # type: ignore[call-overload]
    assert (forked.returncode, forked.stdout, forked.stderr) == (3, started.stdout, started.stderr)
    (tmp_path / "dies.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    assert warm.server().run([str(tmp_path / "dies.py")]).returncode == -9


def test_what_python_reads_at_its_start_counts(tmp_path: Path) -> None:
    (tmp_path / "said.py").write_text("import other\n")
    (tmp_path / "path").mkdir()
    (tmp_path / "path/other.py").write_text("print('found')\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "path")}
    assert warm.server().run([str(tmp_path / "said.py")], env=env).stdout == "found\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGKILL, -9)])
def test_what_stands_for_it_takes_signals_and_it_ends_with_that(tmp_path: Path, number: int, code: int) -> None:
    (tmp_path / "wait.py").write_text(WAIT)
    program = warm.server().program(tmp_path / "wait", str(tmp_path / "wait.py"))
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        pid = int(process.stdout.readline())
        assert pid != process.pid
        process.send_signal(number)
        assert process.wait(60) == code
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_serves_all_processes_of_a_run_and_ends_with_it(tmp_path: Path) -> None:
    shared = warm.server()
    assert not hasattr(warm.Server(*warm.USUAL, *warm.DRAWING), "_process"), "another one was started"
    (tmp_path / "quiet.py").write_text("")
    (tmp_path / "own").mkdir()
    own = object.__new__(warm.Server)
    own.environment, own.path = shared.environment, str(tmp_path / "own" / "socket")
    with subprocess.Popen(["sleep", "100"]) as owner:
        own._start(owner.pid)
        assert own.run([str(tmp_path / "quiet.py")]).returncode == 0
        owner.kill()
    assert own._process.wait(60) == 0
    assert not (tmp_path / "own").exists()
