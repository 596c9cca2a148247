"""What /proc tells of processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from psiflow_cli.worker.pool import process_table, supervisor

pytestmark = pytest.mark.skipif(not process_table.exists(), reason="there is no /proc")


def test_a_process_has_a_start_until_it_has_ended() -> None:
    process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    started = process_table.start_time(process.pid)
    assert started.isdigit()
    assert process.pid in process_table.descendants()
    assert list(process_table.session_members(process.pid)) == [process.pid]
    assert process_table.own_memory([process.pid]) >= 0
    assert process_table.kill_all([process.pid], signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process_table.start_time(process.pid) == ""  # a zombie
    assert list(process_table.session_members(process.pid)) == []
    process.wait()
    assert process_table.start_time(process.pid) == ""
    assert process_table.command_line(process.pid) == b""
    assert not process_table.kill_all([process.pid], signal.SIGKILL)


def test_a_supervisor_that_is_run_by_its_path_finds_psiflow(tmp_path) -> None:
    facts = tmp_path / "facts.json"
    facts.write_text(
        f'{{"host": "elsewhere", "pid": 1, "started": "", "cwd": "{tmp_path}", "env": {{"A": "b"}}, "gpus": null,'
        ' "scratch": ""}'
    )
    words = [sys.executable, "-I", "-S", supervisor.__file__, str(facts), "sh", "-c", "echo $A; exit 3"]
    done = subprocess.run(words, capture_output=True, text=True, cwd="/", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "b\n", "")


LISTEN = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    sys.stdin.read()
"""


def test_a_connection_outlives_a_stop_of_its_other_end_and_not_its_death():
    """The other end has not even accepted it: the kernel has."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        port = int(server.stdout.readline())
        assert not process_table.has_connection_to(port)
        server.send_signal(signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", port)):
            assert process_table.has_connection_to(port)
            server.kill()
            server.wait()
            assert not process_table.has_connection_to(port)


def test_a_host_is_told_from_another_of_the_same_name():
    name, *rest = process_table.host().split()
    assert name == os.uname().nodename
    assert rest, "the name alone is that of every node of some clusters"


def test_a_supervisor_removes_the_scratch_of_a_task_that_was_killed(tmp_path: Path) -> None:
    scratch, facts = tmp_path / "scratch", tmp_path / "facts.json"
    (scratch / "mine").mkdir(parents=True)
    facts.write_text(
        f'{{"host": "elsewhere", "pid": 1, "started": "", "cwd": "{tmp_path}", "env": {{"PLACE": "{scratch}"}},'
        f' "gpus": null, "logs": "{tmp_path}", "scratch": "$PLACE"}}'
    )
    task = (
        "import os; from psiflow_cli.worker.pool import temporary_folders as t;"
        " print(t.make('cp2k', os.environ['PLACE']), flush=True); os.kill(os.getpid(), 9)"
    )
    words = [sys.executable, supervisor.__file__, str(facts), sys.executable, "-c", task]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert str(scratch / "cp2k-") in done.stdout + done.stderr, "the task had a folder"
    assert [path.name for path in scratch.iterdir()] == ["mine"]
