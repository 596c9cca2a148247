"""One live holder; a dead one needs no human (R4)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from psiflow_cli.errors import Stopped
from psiflow_cli.runtime import lock

HOLD = """
import sys, time
from pathlib import Path
from psiflow_cli.runtime.lock import Lock
held = Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""
TRY = """
import sys
from pathlib import Path
from psiflow_cli.errors import Stopped
from psiflow_cli.runtime.lock import Lock
sys.stdin.readline()
try:
    held = Lock(Path(sys.argv[1]))
except Stopped:
    sys.exit(75)
print("held", flush=True)
sys.stdin.readline()
"""


def start(code, path):
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_second_holder_is_told_who_holds_it(tmp_path):
    path = tmp_path / "lock"
    holder = start(HOLD, path)
    assert holder.stdout.readline() == "held\n"
    try:
        with pytest.raises(Stopped) as refused:
            lock.Lock(path)
        assert str(holder.pid) in refused.value.message
        assert os.uname().nodename in refused.value.message
        assert lock.is_held(path)
    finally:
        holder.kill()
        holder.wait()
    assert not lock.is_held(path)
    lock.Lock(path).release()  # a killed holder's lock is free at once


def test_of_two_at_once_exactly_one_wins(tmp_path):
    for turn in range(10):
        path = tmp_path / f"lock-{turn}"
        both = [start(TRY, path) for _ in range(2)]
        for one in both:
            one.stdin.write("go\n")
            one.stdin.flush()
        answers = sorted(one.stdout.readline() for one in both)
        assert answers == ["", "held\n"]
        for one in both:
            one.communicate("end\n")
        assert sorted(one.returncode for one in both) == [0, 75]


def test_a_holder_elsewhere_counts_until_its_heartbeat_stands_still(tmp_path):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1", "slurm_job_id": "42"}))
    with pytest.raises(Stopped, match="elsewhere, SLURM job 42"):
        lock.Lock(path)
    old = time.time() - lock.DEAD_AFTER_S - 1
    os.utime(path, (old, old))
    lock.Lock(path).release()


def test_a_pid_used_again_is_not_the_holder(tmp_path):
    path = tmp_path / "lock"
    path.write_text(json.dumps({"host": os.uname().nodename, "pid": os.getpid(), "started": "1"}))
    assert not lock.is_held(path)
    lock.Lock(path).release()
