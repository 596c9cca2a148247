"""A pool whose $TMPDIR is too long for sockets works, and its tasks have the user's own one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from psiflow_cli.worker.pool import short_tmpdir
from tests.commands.conftest import psiflow
from tests.commands.inputs import copper

__all__ = ["psiflow"]  # a fixture
REFERENCE = """
import json, os, subprocess, tempfile
from multiprocessing.connection import Listener

SUMMARY, REQUIRES, FRAME_INPUTS, DEFAULT_TASK_SECONDS = "x", (), (), 0
def settings(input_file, options): return {}
def check(settings, elements): pass
def label(frames, settings, context):
    with Listener() as listener:
        socket = listener.address
    program = subprocess.run(["sh", "-c", "echo $TMPDIR"], capture_output=True, text=True).stdout.strip()
    seen = {"tmpdir": tempfile.gettempdir(), "scratch": context["scratch"], "program": program, "socket": socket}
    with open("SEEN", "w") as stream:
        json.dump(seen, stream)
    return [{"energy": 0.0, "forces": [[0.0] * 3] * 4, "stress": None} for _ in frames]
"""


def test_tasks_have_the_users_own_and_nothing_is_left(psiflow, monkeypatch, tmp_path):
    long = tmp_path / ("a-long-name-" * 10)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    Path("mine.py").write_text(REFERENCE.replace("SEEN", f"{Path.cwd()}/seen.json"))
    Path("in.xyz").write_text(copper(1))
    psiflow("label", "in.xyz", "--reference", "./mine.py", "-o", "out.xyz")
    seen = json.loads(Path("seen.json").read_text())
    assert seen["tmpdir"] == seen["scratch"] == seen["program"] == str(long)
    assert seen["socket"].startswith("/tmp/psiflow-pool-")
    assert not Path(seen["socket"]).parent.exists(), "the pool's folder is left"
    assert not list(long.iterdir())


@pytest.mark.parametrize("users", [{}, {"TMPDIR": "/somewhere"}])
def test_what_is_made_is_private_and_is_given_back(users, monkeypatch):
    env = dict(users)
    folder = short_tmpdir.make(env)
    assert env["TMPDIR"] == folder
    assert Path(folder).stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("TMPDIR", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    short_tmpdir.give_back()
    assert {name: os.environ[name] for name in ("TMPDIR",) if name in os.environ} == users
    assert "PSIFLOW_USERS_TMPDIR" not in os.environ
    short_tmpdir.remove(folder)
    assert not Path(folder).exists()


def test_where_no_folder_can_be_made_nothing_changes(monkeypatch):
    monkeypatch.setattr(short_tmpdir, "_SHORT", ("/proc/nowhere",))
    env = {"TMPDIR": "/somewhere"}
    assert short_tmpdir.make(env) == ""
    assert env == {"TMPDIR": "/somewhere"}
