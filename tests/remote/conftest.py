"""One far machine for all tests of this folder, and a place to work in."""

from __future__ import annotations

import os

import pytest

from tests.remote import far as machine


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    """The running machine; skips where none can be started."""
    if reason := machine.missing():
        pytest.skip(f"not installed: {reason}")
    with machine.Far(tmp_path_factory.mktemp("far")) as far:
        yield far


@pytest.fixture
def far(sshd, tmp_path, monkeypatch):
    """The machine, seen from a folder with a site file of it and a reference that waits for a word."""
    work = tmp_path / "my wörk"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("PATH", f"{sshd.bin}:{os.environ['PATH']}")
    monkeypatch.setenv("PSIFLOW_SITE", "tier1")
    monkeypatch.delenv("SSH_ASKPASS", raising=False)
    (work / "tier1.toml").write_text(machine.SITE)
    (work / "gate.py").write_text(GATE.replace("GATE", str(tmp_path / "gate")))
    sshd.work = work
    return sshd


GATE = """
import os, time
SUMMARY, REQUIRES, FRAME_INPUTS, DEFAULT_TASK_SECONDS = "waits for a file", (), (), 0.0

def settings(input_file, options):
    first, second = (line.split()[1] for line in input_file.read_text().splitlines())
    with open(first) as one, open(os.path.join(os.path.dirname(input_file), second)) as two:
        return {"wait": float(options.get("wait", 0)), "files": one.read() + two.read()}

def check(settings, elements):
    pass

def label(frames, settings, context):
    with open("GATE.calls", "a") as calls:
        calls.writelines(frame["id"] + "\\n" for frame in frames)
    end = time.monotonic() + settings["wait"]
    while time.monotonic() < end and not os.path.exists("GATE"):
        time.sleep(0.05)
    return [
        {"failure": "unconverged", "message": "as asked", "log": ""} if frame["positions"][0][0] == 1 else
        {"energy": sum(map(sum, frame["positions"])), "forces": frame["positions"], "stress": None, "code": "gate 1"}
        for frame in frames
    ]
"""
