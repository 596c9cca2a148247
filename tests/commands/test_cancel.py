"""psiflow cancel: what runs ends in order and can go on, wherever it runs; what does not run is left alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from psiflow_cli.runtime import lock
from tests.commands.inputs import PSIFLOW, alive, copper

SLOW = Path(__file__).with_name("slow_reference.py")


def label(output="out.xyz", seconds=0.3):
    return "label", "in.xyz", "--reference", SLOW, "--set", f"seconds={seconds}", "-o", output


def wait_for_units(output, count=1):
    journal = Path(f"{output}.run/journal.jsonl")
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_text().count('"kind":"unit"') < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def frames(tmp_path):
    (tmp_path / "in.xyz").write_text(copper(16))


def state(psiflow, output):
    return json.loads(psiflow("status", output, "--json").stdout)[0]["state"]


def test_what_runs_ends_in_order_and_goes_on_later(psiflow, start, frames):
    process = start(*label())
    wait_for_units("out.xyz", 2)
    shutil.copytree("out.xyz.run", "copy.run")  # whose lock names a living process, which is none of it
    copied = psiflow("cancel", "copy.run").stdout
    assert copied.startswith("copy.run: its command had died")
    assert process.poll() is None

    done = psiflow("cancel", "out.xyz")
    assert done.stdout.startswith("out.xyz.run: has ended: partial, ")
    assert f"pid {process.pid} on {os.uname().nodename} was asked to stop" in done.stderr
    assert process.wait(1) == 75, "it has ended when psiflow cancel has"
    assert not alive(f"{os.getcwd()}/out.xyz.run")
    assert "stopped by SIGTERM" in psiflow("status", "out.xyz").stdout
    again = psiflow("cancel", "out.xyz")
    assert again.stdout.startswith("out.xyz.run: had already ended: partial")
    assert again.stderr == ""

    psiflow(*label())
    assert state(psiflow, "out.xyz") == "done"
    kept = Path("out.xyz.run/journal.jsonl").read_text().count('"kind":"unit"')
    assert kept == 16, "nothing that was finished was computed again"


def test_all_below_here_and_those_that_are_suspended(psiflow, start, frames):
    Path("below").mkdir()
    outputs = ["a.xyz", "below/b.xyz"]
    processes = [start(*label(output)) for output in outputs]
    for output in outputs:
        wait_for_units(output)
    psiflow("rattle", "in.xyz", "-o", "rattled.xyz")
    processes[1].send_signal(signal.SIGSTOP)
    told = json.loads(psiflow("cancel", "--all", "--dry-run", "--json").stdout)
    assert {end["run"]: end["would_end"] for end in told} == {f"{output}.run": True for output in outputs}
    told = json.loads(psiflow("cancel", "--all", "--json").stdout)
    assert {end["run"]: (end["was"], end["state"], end["exit_code"]) for end in told} == {
        f"{output}.run": ("running", "partial", 75) for output in outputs
    }
    assert [process.wait(1) for process in processes] == [75, 75]
    assert psiflow("cancel", "--all").stdout == "no runs to end here\n"


def test_one_that_takes_its_time_is_said_to(psiflow, start, frames):
    process = start(*label(seconds=0.1))
    wait_for_units("out.xyz")
    said = psiflow("cancel", "out.xyz", "--wait", "0", code=75).stderr
    assert f"has not ended yet: pid {process.pid}" in said
    psiflow("cancel", "out.xyz")  # a second SIGTERM, while it stops
    assert process.wait(1) == 75
    assert state(psiflow, "out.xyz") == "partial"


def test_a_dead_run_is_dead(psiflow, start, frames):
    process = start(*label())
    wait_for_units("out.xyz")
    process.kill()
    process.wait()
    said = psiflow("cancel", "out.xyz").stdout
    assert said.startswith("out.xyz.run: its command had died, ")
    assert state(psiflow, "out.xyz") == "dead"


def test_a_process_that_is_not_its_holder_is_left_alone(psiflow, frames):
    """Its id was used again; or even its start is that of the lock, but it has no lock."""
    psiflow(*label(seconds=0))
    result = json.loads(Path("out.xyz.run/run.json").read_text())
    result.pop("result")
    Path("out.xyz.run/run.json").write_text(json.dumps(result))
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            for started in ("12345", lock.started(stranger.pid)):
                holder = {"host": os.uname().nodename, "pid": stranger.pid, "started": started}
                Path("out.xyz.run/lock").write_text(json.dumps(holder))
                assert "its command had died" in psiflow("cancel", "out.xyz").stdout
                time.sleep(0.1)
                assert stranger.poll() is None
        finally:
            stranger.kill()


@pytest.mark.full
def test_a_run_on_another_host_finds_the_request(psiflow, start, frames):
    """Another name of this host is all that tells the holder from one on another node of a cluster."""
    there = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$0" "$@"']
    if subprocess.run([*there, "true"], capture_output=True).returncode:
        pytest.skip("no host name of its own can be had here")
    with subprocess.Popen([*there, PSIFLOW, *map(str, label(seconds=2))], stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_for_units("out.xyz")
            slow = psiflow("cancel", "out.xyz", "--wait", "0", code=75).stderr
            assert "on elsewhere was asked to stop" in slow
            done = psiflow("cancel", "out.xyz").stdout
            assert done.startswith("out.xyz.run: has ended: partial")
            assert process.wait(10) == 75
            assert "stopped by SIGTERM" in process.stderr.read()
        finally:
            process.kill()
    psiflow(*label(seconds=1))  # the request was not for this one
    assert state(psiflow, "out.xyz") == "done"


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        ((), 2, "which run?"),
        (("none.xyz",), 66, "none.xyz: no such run"),
        ((".",), 66, ".: not a run directory"),
        (("--all", "--wait", "soon"), 2, "soon"),
    ],
)
def test_wrong_usage(psiflow, arguments, code, what):
    said = psiflow("cancel", *arguments, code=code).stderr
    assert what in said
    assert len(said.strip().splitlines()) <= 2


def test_a_command_that_still_reads_its_inputs_is_seen_and_ended(psiflow, start):
    process = start("rattle", "-", "-o", "out.xyz", stdin=subprocess.PIPE)
    deadline = time.monotonic() + 30
    while not Path("out.xyz.run/cancel").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (run,) = json.loads(psiflow("status", "--json").stdout)
    assert (run["state"], run["message"], run["total"]) == ("running", "reading its inputs", 0)
    assert psiflow("cancel", "--all").stdout == "out.xyz.run: ended before it started\n"
    assert process.wait(1) == 75
    assert not Path("out.xyz.run").exists()
    assert psiflow("status").stdout == "no runs here\n"
