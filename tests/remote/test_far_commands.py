"""Commands whose site is on another machine, through a real sshd: as if they ran here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import warm
from tests.commands.inputs import PSIFLOW
from tests.remote.far import SITE, connections

LABEL = ("label", "--reference", "./gate.py")


def frames(path, *xs):
    """Atoms of which the second is at `x` each."""
    head = '2\nProperties=species:S:1:pos:R:3 pbc="F F F"\nH 0.0 0.0 '
    path.write_text(
        "".join(
            f"{head}{number}.0\nH {x} 0.0 {number + 2.0}\n".replace("H 0.0", f"H {x}", 1) for number, x in enumerate(xs)
        )
    )


@pytest.fixture
def data(far):
    """Frames with a strange name, and an input that names files of here and of a folder beside it."""
    frames(far.work / "it's $x.xyz", 0, 2, 3)
    beside = far.work.parent / "beside"
    beside.mkdir()
    (beside / "input").write_text("INCLUDE one.txt\nBASIS two.txt\n")
    (far.work / "one.txt").write_text("1")
    (beside / "two.txt").write_text("2")
    return ("it's $x.xyz", "--input", str(beside / "input"))


def run(*args, code=0):
    done = warm.server().run([PSIFLOW, *args], timeout=250)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def start(*args, **options):
    return subprocess.Popen([PSIFLOW, *args], stderr=subprocess.PIPE, text=True, start_new_session=True, **options)


def until(true, seconds=150.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def states():
    return {row["run"]: (row["state"], row["message"]) for row in json.loads(run("status", "--json").stdout)}


def jobs(far):
    return list((far.scratch / ".psiflow-remote").iterdir())


def test_as_if_it_ran_here(far, data):
    Path("here.toml").write_text(SITE.partition("[remote]")[0])
    here = run(*LABEL, *data, "-o", "here.xyz", "--site", "here.toml")
    there = run(*LABEL, *data, "-o", "there.xyz")
    assert Path("there.xyz").read_bytes() == Path("here.xyz").read_bytes()
    # on a busy machine, lines that tell how far it is may come before the last
    assert there.stderr.splitlines()[-1] == here.stderr.splitlines()[-1].replace("here.xyz", "there.xyz")
    assert far.mirror(Path("there.xyz.run/journal.jsonl")).exists()
    assert str(far.scratch) not in Path("there.xyz.run/run.json").read_text()
    assert states()["there.xyz.run"] == ("done", "")
    assert "up to date" in run(*LABEL, *data, "-o", "there.xyz").stderr
    assert jobs(far) == []

    Path("there.xyz").write_text("mine")
    refused = run(*LABEL, *data, "-o", "there.xyz", code=73)
    assert "there.xyz: exists, and is not (or no longer) what psiflow wrote there" in refused.stderr
    assert Path("there.xyz").read_text() == "mine"
    assert jobs(far) == []


def test_failed_frames_and_bad_ones(far, data):
    frames(Path("some.xyz"), 0, 1)
    done = run("label", "some.xyz", "--reference", "./gate.py", *data[1:], "--json", code=1)
    assert json.loads(done.stdout)["failed"] == 1
    assert Path("some.labelled.xyz").exists()
    assert "failure=unconverged" in Path("some.labelled.failed.xyz").read_text()
    assert "as asked" in run("status", "some.labelled.xyz", "--failures").stdout
    Path("bad.xyz").write_text("2\nProperties=species:S:1:pos:R:3\nH 0 0 0\nH 0 0 no\n")
    bad = run(*LABEL, str(Path("bad.xyz").absolute()), *data[1:], code=65)
    assert bad.stderr.startswith(f"psiflow: {Path('bad.xyz').absolute()}:4: ")
    assert not Path("bad.labelled.xyz.run/run.json").exists()


def test_a_cut_connection_loses_nothing(far, data):
    gate, calls = far.work.parent / "gate", far.work.parent / "gate.calls"
    command = (*LABEL, *data, "--set", "wait=200", "-o", "out.xyz")
    first = start(*command)
    until(calls.exists)
    for pid in connections(first.pid):
        os.kill(pid, signal.SIGKILL)
    until(lambda: connections(first.pid))
    time.sleep(1)
    os.killpg(first.pid, signal.SIGKILL)
    assert "the connection to tier1 is lost; the command continues there" in first.communicate()[1]
    assert states()["out.xyz.run"][0] == "running"
    second = start(*command)
    assert "following the command that was started on tier1" in second.stderr.readline()
    assert "another run holds this output" in run(*command, code=75).stderr
    gate.touch()
    assert second.wait(150) == 0
    assert len(calls.read_text().splitlines()) == 3
    assert Path("out.xyz").exists()


def test_how_a_command_ended_while_the_network_was_down_is_told(far, data):
    calls = far.work.parent / "gate.calls"
    command = start(*LABEL, *data, "--set", "wait=8", "-o", "out.xyz")
    until(calls.exists)
    far.down.touch()
    for pid in connections(command.pid):
        os.kill(pid, signal.SIGKILL)
    (job,) = jobs(far)
    (job / "signal").write_text(str(int(signal.SIGINT)))  # as `cancel` on another login node does
    until((job / "exit").exists)
    far.down.unlink()
    said = command.communicate(timeout=150)[1]
    assert command.returncode == 130, said
    assert "stopped by SIGINT" in said


def test_signals_pass(far, data):
    calls = far.work.parent / "gate.calls"
    command = (*LABEL, *data, "--set", "wait=8", "-o", "out.xyz")
    first = start(*command)
    until(calls.exists)
    os.killpg(first.pid, signal.SIGINT)
    said = first.communicate(timeout=150)[1]
    assert first.returncode == 130, said
    assert "stopped by SIGINT" in said
    assert states()["out.xyz.run"] == ("partial", "stopped by SIGINT")

    calls.unlink()
    second = start(*command)
    until(calls.exists)
    os.kill(second.pid, signal.SIGHUP)
    assert "the command continues on" in second.communicate(timeout=150)[1]
    assert second.returncode == 75
    assert "has ended: partial" in run("cancel", "out.xyz").stdout
    (far.work.parent / "gate").touch()
    assert "3 of 3 labelled" in run(*command).stderr


def test_why_there_is_no_command_there(far, data, monkeypatch):
    """Each in a line that says what to do, and nothing is made here or there."""

    def refused(code, **remote):
        table = {"host": "tier1", "folder": str(far.scratch), **remote}
        text = SITE.partition("[remote]")[0] + "[remote]\n" + "".join(f"{k} = '''{v}'''\n" for k, v in table.items())
        Path("other.toml").write_text(text)
        return run(*LABEL, *data, "--site", "other.toml", code=code).stderr

    assert "ssh nowhere: ssh: connect to host 127.0.0.1 port 1: Connection refused" in refused(69, host="nowhere")
    assert "cannot be run there" in refused(78, psiflow="~/no/such; touch oops")
    assert "[remote] folder: relative is relative there, which is not an absolute path" in refused(
        78, folder="relative"
    )
    assert "$UNSET" in refused(78, folder="$UNSET/x")
    old = far.home / "old"
    old.write_text('#!/bin/sh\necho \'psiflow-remote {"psiflow": "0.0.1"}\'\n')
    old.chmod(0o755)
    assert "psiflow is 0.0.1 there" in refused(78, psiflow="~/old")
    nothing = far.work / "bin"
    nothing.mkdir()
    (nothing / "ssh").symlink_to(far.bin / "ssh")
    monkeypatch.setenv("PATH", str(nothing))
    assert "rsync is not installed here" in refused(78)
    assert not list(far.work.rglob("*.run"))
    assert jobs(far) == []


@pytest.mark.full
def test_a_second_interrupt_leaves_it_alone(far, data):
    calls = far.work.parent / "gate.calls"
    command = (*LABEL, "-", *data[1:], "--set", "wait=10")
    text = Path(data[0]).read_text()
    first = start(*command, stdin=subprocess.PIPE)
    first.stdin.write(text)
    first.stdin.close()
    until(calls.exists)
    os.kill(first.pid, signal.SIGINT)
    assert "asking the command on tier1 to stop" in first.stderr.readline()
    os.kill(first.pid, signal.SIGINT)
    assert first.wait(150) == 130
    (far.work.parent / "gate").touch()
    until(lambda: all((job / "exit").exists() for job in jobs(far)))
    done = subprocess.run([PSIFLOW, *command], input=text, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("energy=") == 3
