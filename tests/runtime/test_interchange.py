"""What reaches more than the command's own process: Ctrl-C, a batch system's SIGTERM, a killed interchange."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.commands.conftest import psiflow, start
from tests.commands.inputs import alive, copper
from tests.commands.test_label import SLOW

__all__ = ["psiflow", "start"]  # fixtures


@pytest.fixture
def labelling(start):
    """A label command at work, in a process group of its own as a shell would start it."""
    Path("in.xyz").write_text(copper(40))
    options = ("--reference", SLOW, "--set", "seconds=0.3", "-o", "out.xyz")
    process = start("label", "in.xyz", *options, start_new_session=True)
    journal = Path("out.xyz.run/journal.jsonl")
    deadline = time.monotonic() + 60
    while not journal.exists() or '"kind":"unit"' not in journal.read_text():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_to_the_whole_group_stops_in_order(labelling, number, code):
    os.killpg(labelling.pid, number)
    begin = time.monotonic()
    _, said = labelling.communicate(timeout=30)
    assert labelling.returncode == code
    assert time.monotonic() - begin < 8  # the contract's 5 s, and what a busy machine adds
    assert said.startswith(f"psiflow: stopped by {number.name}\n")
    assert "Traceback" not in said
    assert not alive(f"{os.getcwd()}/out.xyz.run")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_whose_interchange_dies_ends_and_goes_on_with_the_next(psiflow, labelling, number):
    mine = alive(f"{os.getcwd()}/out.xyz.run")
    found = [pid for pid in mine if b"interchange.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(min(found), number)
    _, said = labelling.communicate(timeout=30)
    assert labelling.returncode == 69
    assert said.splitlines()[0] == "psiflow: the process that sends the tasks to the workers has died"
    deadline = time.monotonic() + 15
    while alive(f"{os.getcwd()}/out.xyz.run"):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.1)
    psiflow("label", "in.xyz", "--reference", SLOW, "--set", "seconds=0", "-o", "out.xyz")
