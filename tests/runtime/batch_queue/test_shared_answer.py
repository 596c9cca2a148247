"""One question for all commands of a user: who asks, who waits, and what is not trusted."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from pathlib import Path

import pytest

from psiflow_cli.runtime.batch_queue import shared_answer
from psiflow_cli.runtime.batch_queue.shared_answer import SharedAnswer


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """What makes another command's view of the same question; the program counts how often it runs."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    program = tmp_path / "squeue"
    program.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/count\nwc -l < {tmp_path}/count\n")
    program.chmod(0o755)
    return lambda every=60.0, timeout=5.0: SharedAnswer([str(program)], dict(os.environ), every, timeout)


def stored(tmp_path):
    (file,) = (tmp_path / "psiflow").glob("*.json")
    return file


def age(file, seconds):
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "asked": time.time() - seconds}))
    file.chmod(0o600)


def test_many_commands_ask_once(shared, tmp_path):
    answers = [shared().newest() for _ in range(5)]
    assert {answer.text.strip() for answer in answers} == {"1"}
    file = stored(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    age(file, 61)
    command = shared()
    assert command.newest().text.strip() == "2"
    age(file, -100)
    assert shared().newest().text.strip() == "3", "an answer of the future is of a clock that was wrong"
    assert command.newest().text.strip() == "3"


def test_a_failure_is_shared_as_well(shared, tmp_path):
    (tmp_path / "squeue").write_text(f"#!/bin/sh\necho asked >> {tmp_path}/count\necho down >&2\nexit 1\n")
    for _ in range(3):
        answer = shared().newest()
        assert (answer.exit_code, answer.complaint) == (1, "down")
    assert (tmp_path / "count").read_text().count("asked") == 1


def test_while_another_asks_the_last_answer_counts(shared, tmp_path):
    assert shared().newest().text.strip() == "1"
    file = stored(tmp_path)
    age(file, 61)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert shared().newest().text.strip() == "1", "it is being asked now"
        age(file, 300)
        stuck = shared()
        stuck._begun = time.time() - 300
        assert stuck.newest().text.strip() == "2", "a process that was stopped holds the lock for ever"
    assert shared().newest().text.strip() == "3", "a lock without a process is none"


@pytest.mark.parametrize("damage", ["[]", "{}", '{"asked": 1e99', '{"asked": "x", "exit_code": 0, "text": ""}'])
def test_a_damaged_file_is_no_answer(shared, tmp_path, damage):
    shared().newest()
    stored(tmp_path).write_text(damage)
    assert shared().newest().text.strip() == "2"


def test_what_others_can_write_is_not_trusted(shared, tmp_path, monkeypatch):
    shared().newest()
    stored(tmp_path).chmod(0o666)
    assert shared().newest().text.strip() == "2"
    (tmp_path / "psiflow").chmod(0o777)
    assert shared_answer._folder() != tmp_path / "psiflow"
    link = tmp_path / "other" / "psiflow"
    link.parent.mkdir()
    (tmp_path / "real").mkdir(mode=0o700)
    link.symlink_to(tmp_path / "real")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(link.parent))
    assert shared_answer._folder() != link, "a link may be another user's"
    monkeypatch.setattr(shared_answer, "_folder", lambda: None)
    lonely = shared()
    assert [lonely.newest().text.strip() for _ in range(2)] == ["3", "3"], "then each asks for itself, as rarely"


def test_a_program_that_hangs_or_is_missing_is_a_failure(shared, tmp_path):
    (tmp_path / "squeue").write_text("#!/bin/sh\nexec sleep 20\n")
    assert "no answer within 0.2 s" in shared(timeout=0.2).newest().complaint
    Path(tmp_path / "squeue").unlink()
    age(stored(tmp_path), 61)
    assert "No such file" in shared().newest().complaint
