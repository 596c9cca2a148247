"""A login node that stands still costs no task; a command that is killed there leaves no block behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from tests.commands.inputs import alive, copper
from tests.slurm.test_faults import begun, lost, pools
from tests.slurm.test_provider import SITE, folder, label, started, units, wait_for

__all__ = ["folder"]  # a fixture
FACTS = "out.xyz.run/parsl/default.supervisor.json"


def below(pid):
    """A process and all that it has started, as far as they are not jobs of the cluster."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in below(int(child)))]


@contextlib.contextmanager
def stopped(pid):
    """The command, its interchange and what watches over that stand still."""
    pids = below(pid)
    assert len(pids) >= 3
    for each in pids:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in pids:
            os.kill(each, signal.SIGCONT)


@pytest.fixture
def elsewhere(folder):
    """Blocks cannot see the command's processes, as if their nodes were other hosts."""
    text = f"""\
type = "slurm"
worker_init = ['''sed -i 's/"host": "/&not /' {folder}/{FACTS}''']"""
    Path("slurm.toml").write_text(SITE.replace('type = "slurm"', text))
    Path("in.xyz").write_text(copper(60))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seconds", [14, pytest.param(300, marks=pytest.mark.full)])
def test_a_stopped_command_loses_no_task_and_a_killed_one_leaves_no_block(slurm, elsewhere, seconds):
    """The patience is that of every batch provider; the nodes see the command by their connection only."""
    with started(label("-o", "out.xyz", seconds=2)) as command:
        wait_for(lambda: len(units("out.xyz")) > 2, 90, "no frame was labelled")
        assert '"host": "not ' in Path(FACTS).read_text()
        before = pools("out.xyz")
        with stopped(command.pid):
            time.sleep(seconds)
            assert pools("out.xyz") == before, "pools have ended while the command stood still"
        done = len(units("out.xyz"))
        wait_for(lambda: len(units("out.xyz")) >= done + 12, 60, "the command did not go on")
        assert lost("out.xyz") == ({}, set())
        assert set(begun("out.xyz").values()) == {1}
        os.kill(pools("out.xyz")[0], signal.SIGKILL)
        wait_for(lambda: lost("out.xyz")[0], 30, "the tasks of a killed pool are waited for")
        command.send_signal(signal.SIGKILL)
        command.wait()
    wait_for(lambda: not alive(f"{Path.cwd()}/out.xyz.run"), 40, "pools are left 40 s after kill -9")
    wait_for(lambda: not slurm.run("squeue", "-h"), 40, "jobs are left in the queue")
