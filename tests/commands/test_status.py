"""psiflow status: every state a run can be in, from its files alone."""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.commands.inputs import copper

pytestmark = pytest.mark.usefixtures("in_threads")
SLOW = Path(__file__).with_name("slow_reference.py")
FIELDS = {
    "run", "command", "state", "total", "done", "failed", "started", "updated", "rate_per_s", "eta_s", "core_hours",
    "host", "pid", "slurm_job_id",
}  # fmt: skip
FATAL = """
from psiflow_cli.worker.failures import Fatal
SUMMARY, REQUIRES, FRAME_INPUTS, DEFAULT_TASK_SECONDS = "gives up", (), (), 0.0
def settings(input_file, options): return {}
def check(settings, elements): pass
def label(frames, settings, context): raise Fatal("no licence", "buy one", 69)
"""


def broken(x):
    """A frame with which the slow reference kills its worker (101) or raises (102)."""
    return copper(1).replace("Cu 0.0 0.0 0.0", f"Cu {x}.0 0.0 0.0")


@pytest.fixture
def listed(psiflow):
    """`psiflow status ARGS --json`, by run."""
    return lambda *args: {run["run"]: run for run in json.loads(psiflow("status", *args, "--json").stdout)}


def wait_for_units(journal, count):
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_text().count('"kind":"unit"') < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_runs(psiflow):
    assert psiflow("status").stdout == "no runs here\n"
    assert psiflow("status", "--json").stdout == "[]\n"
    assert psiflow("status", "--state", "failed").stdout == "no runs here\n"


def test_running_then_dead_then_done(psiflow, start, listed):
    Path("in.xyz").write_text(copper(12))
    arguments = ("label", "in.xyz", "--reference", SLOW, "--set", "seconds=0.4", "-o", "out.xyz")
    process = start(*arguments)
    wait_for_units(Path("out.xyz.run/journal.jsonl"), 4)
    running = listed()["out.xyz.run"]
    text = psiflow("status").stdout
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert running.keys() >= FIELDS
    assert (running["state"], running["command"], running["total"]) == ("running", "label", 12)
    assert 4 <= running["done"] < 12
    assert running["failed"] == 0
    assert (running["pid"], running["host"]) == (process.pid, os.uname().nodename)
    assert running["slurm_job_id"] is None
    assert 0.1 < running["rate_per_s"] < 10  # a few workers, 0.4 s a frame
    assert running["eta_s"] == pytest.approx((12 - running["done"]) / running["rate_per_s"])
    assert 0.4 * running["done"] <= running["core_hours"] * 3600 < 2 * running["done"]
    now = datetime.now(timezone.utc)
    assert timedelta(0) <= now - datetime.fromisoformat(running["started"]) < timedelta(minutes=2)
    assert datetime.fromisoformat(running["updated"]) >= datetime.fromisoformat(running["started"])
    header, row = text.splitlines()
    assert header.split() == ["STATE", "COMMAND", "DONE", "FAILED", "LEFT", "CORE-H", "AGE", "RUN"]
    assert row.split()[:2] == ["running", "label"]
    assert row.endswith("out.xyz.run")
    assert max(len(header), len(row)) <= 80
    assert "\x1b" not in text, "colours on what is no terminal"

    dead = listed("out.xyz")["out.xyz.run"]
    assert dead["state"] == "dead"
    assert dead["eta_s"] is None
    psiflow(*arguments)
    done = listed("out.xyz.run")["out.xyz.run"]
    assert (done["state"], done["done"], done["total"], done["eta_s"]) == ("done", 12, 12, None)


@pytest.mark.usefixtures("in_workers")
def test_partial_and_failed(psiflow, listed, tmp_path):
    Path("in.xyz").write_text(copper(2) + broken(101) + broken(102))
    psiflow("label", "in.xyz", "--reference", SLOW, "-o", "some.xyz", code=1)
    Path("fatal.py").write_text(FATAL)
    said = psiflow("label", "in.xyz", "--reference", "./fatal.py", "-o", "none.xyz", code=69).stderr
    assert "no licence" in said
    Path("below").mkdir()
    psiflow("rattle", "in.xyz", "-o", "below/rattled.xyz")
    runs = listed()
    states = {name: run["state"] for name, run in runs.items()}
    assert states == {"some.xyz.run": "partial", "none.xyz.run": "failed", "below/rattled.xyz.run": "done"}
    assert (runs["some.xyz.run"]["done"], runs["some.xyz.run"]["failed"]) == (4, 2)
    assert runs["below/rattled.xyz.run"]["done"] == runs["below/rattled.xyz.run"]["total"] == 40
    assert listed("--state", "partial").keys() == {"some.xyz.run"}
    assert listed("below").keys() == {"below/rattled.xyz.run"}
    assert listed("below", "none.xyz").keys() == {"below/rattled.xyz.run", "none.xyz.run"}
    assert listed(str(tmp_path / "some.xyz")).keys() == {str(tmp_path / "some.xyz.run")}

    failures = listed("some.xyz", "--failures")["some.xyz.run"]["failures"]
    assert [f["failure"] for f in failures] == ["crashed", "worker-lost"]
    assert "OnlyHere" in failures[0]["message"]
    text = psiflow("status", "some.xyz", "--failures").stdout
    for failed in failures:
        assert f"{failed['failure']}: {failed['id']}" in text
    assert "no licence" not in text

    # what no longer fails is no failure any more
    Path("in.xyz").write_text(copper(2))
    psiflow("label", "in.xyz", "--reference", SLOW, "-o", "some.xyz")
    assert "some.xyz.run" not in listed("--state", "partial")


def test_stopped_in_order_is_partial(psiflow, start, listed):
    Path("in.xyz").write_text(copper(30))
    process = start("label", "in.xyz", "--reference", SLOW, "--set", "seconds=0.3", "-o", "out.xyz")
    wait_for_units(Path("out.xyz.run/journal.jsonl"), 1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 75
    assert listed()["out.xyz.run"]["state"] == "partial"


def test_only_files_are_read(psiflow, tmp_path):
    """A copy of a run directory, without the journal's tail, on what could be another machine."""
    Path("in.xyz").write_text(copper(3))
    psiflow("label", "in.xyz", "--reference", "emt", "-o", "out.xyz")
    journal = Path("out.xyz.run/journal.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if b'"kind":"unit"' in line)
    journal.write_bytes(b"".join(lines[:last]) + lines[last][:-20])
    run = json.loads(psiflow("status", "out.xyz", "--json").stdout)[0]
    assert run["state"] == "done"
    assert run["done"] == sum(b'"kind":"unit"' in line for line in lines[:last])
    Path("out.xyz.run/run.json").write_text("{ torn")
    run = json.loads(psiflow("status", "out.xyz", "--json").stdout)[0]
    assert run["state"] == "dead"
    psiflow("status")


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("none.xyz",), 66, "none.xyz: no such run"),
        (("--state", "finished"), 2, "partial"),
        (("--jsno",), 2, "--json"),
    ],
)
def test_wrong_usage(psiflow, arguments, code, what):
    said = psiflow("status", *arguments, code=code).stderr
    assert what in said
    assert len(said.strip().splitlines()) <= 2
