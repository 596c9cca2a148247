"""A request to stop reaches the holder that it names, at its next heartbeat, and no other."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from psiflow_cli.runtime import lock
from psiflow_cli.runtime.stop import request as stop_request

HOLD = """
import signal, sys, time
from pathlib import Path
from psiflow_cli.runtime import lock
lock.BEAT_S = 0.02
received = []
signal.signal(signal.SIGTERM, lambda *_: received.append(1))
held = lock.Lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
print(len(received), flush=True)
held.release()
"""


@pytest.mark.parametrize("named", [True, False])
def test_who_is_asked(tmp_path, named):
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        who = lock.read(path)
        stop_request.ask(tmp_path, who if named else {**who, "started": "1"})
        assert stop_request.is_for(tmp_path, who) is named
        subprocess.run(["sleep", "0.4"], check=True)  # many heartbeats
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == f"{int(named)}\n", "once, if at all"


def test_who_lost_the_lock_to_another_host_stops_and_leaves_it(tmp_path):
    """As a command does whose host stood still for more than a minute."""
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        other = {"host": "elsewhere", "pid": 1, "started": "1"}
        path.write_text(json.dumps(other))
        subprocess.run(["sleep", "0.4"], check=True)
        holder.stdin.write("\n")
        holder.stdin.flush()
        assert holder.stdout.readline() == "1\n"
    assert lock.read(path) == other


def test_a_new_holder_is_not_asked_what_an_earlier_one_was(tmp_path):
    stop_request.ask(tmp_path, {"host": "n1", "pid": 1, "started": "1"})
    held = lock.Lock(tmp_path / "lock")
    assert (tmp_path / stop_request.FILE).read_text() == ""
    held.release()
