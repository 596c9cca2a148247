"""Work Queue: the same bytes as everywhere, cores of its own for each task, and nothing lost or left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from psiflow_cli.runtime.executors import _work_queue
from tests.commands import inputs
from tests.commands.conftest import psiflow, start
from tests.commands.inputs import alive, copper

__all__ = ["psiflow", "start"]  # fixtures

WORKER = shutil.which("work_queue_worker")
pytestmark = [
    pytest.mark.skipif(WORKER is None, reason="work_queue_worker is not installed"),
    pytest.mark.skipif(bool(_work_queue.why_no_work_queue()), reason=_work_queue.why_no_work_queue()),
]
SLOW = str(Path(__file__).parents[1] / "commands" / "slow_reference.py")
SITE = """
[providers.here]
[resources.task]
cores = 1
[executors.default]
type = "workqueue"
provider = "here"
resources = "task"
[use]
default = "default"
"""
AFFINITY = (
    '''"""Says on which cores it runs."""
import os, time
'''
    + inputs.REFERENCE
    + """def label(frames, settings, context):
    with open(settings["seen"], "a") as stream:
        print(time.time(), time.time() + 1.5, *sorted(os.sched_getaffinity(0)), context["cpus"], file=stream)
    time.sleep(1.5)
    code = {"1": "one thread"}[os.environ["OMP_NUM_THREADS"]]
    return [{"energy": 0.0, "forces": [[0.0] * 3] * 4, "stress": None, "code": code} for _ in frames]
"""
)


@pytest.fixture
def site():
    Path("wq.toml").write_text(SITE)
    return ("--site", "./wq.toml")


def units(output):
    journal = Path(f"{output}.run/journal.jsonl")
    lines = journal.read_text().splitlines() if journal.exists() else []
    return [record["id"] for record in map(json.loads, lines) if record["kind"] == "unit"]


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.full
def test_labels_are_the_same_bytes(psiflow, site):
    pytest.importorskip("ase", reason="the reference emt needs it")
    Path("in.xyz").write_text(copper(6))
    psiflow("label", "in.xyz", "--reference", "emt", "-o", "here.xyz", *site)
    psiflow("label", "in.xyz", "--reference", "emt", "-o", "there.xyz")
    assert Path("here.xyz").read_bytes() == Path("there.xyz").read_bytes()
    assert not list(Path("here.xyz.run").rglob("function_data")), "what was sent to workers is removed"
    assert not alive(str(Path.cwd()))


@pytest.mark.full
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two tasks at once need two cores")
def test_tasks_at_once_share_no_core(psiflow, site, tmp_path):
    Path("mine.py").write_text(AFFINITY)
    Path("in.xyz").write_text(copper(6))
    Path("wq.toml").write_text(SITE.replace("cores = 1", 'cores = 1\nlaunch = "mpirun -np {ranks}"'))
    psiflow("label", "in.xyz", "--reference", "./mine.py", "--set", f"seen={tmp_path}/seen", *site)
    rows = [line.split(maxsplit=3) for line in Path("seen").read_text().splitlines()]
    assert len(rows) == 6
    assert all(f"[{row[2]}]" == row[3] for row in rows), "one core, which the context names"
    together = [(a, b) for a in rows for b in rows if a is not b and float(a[0]) <= float(b[0]) < float(a[1])]
    assert together
    assert all(a[2] != b[2] for a, b in together)
    assert Path("in.labelled.xyz").read_text().count('psiflow_code="one thread"') == 6


@pytest.mark.full
def test_a_killed_worker_is_replaced_and_nothing_is_lost(psiflow, start, site):
    Path("in.xyz").write_text(copper(8))
    process = start("label", "in.xyz", "--reference", SLOW, "--set", "seconds=1", "-o", "out.xyz", *site)
    wait_for(lambda: units("out.xyz"), 60, "no frame was labelled")
    (worker,) = [p for p in alive(str(Path.cwd())) if Path(f"/proc/{p}/comm").read_text().startswith("work_queue")]
    os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert len(units("out.xyz")) == len(set(units("out.xyz"))) == 8
    assert not alive(str(Path.cwd()))


def test_a_frame_that_kills_its_process_is_given_up_alone(psiflow, site):
    Path("in.xyz").write_text(copper(3) + copper(1).replace("Cu 0.0 ", "Cu 101.0 "))
    psiflow("label", "in.xyz", "--reference", SLOW, "-o", "out.xyz", *site, code=1)
    assert Path("out.xyz").read_text().count("psiflow_id=") == 3
    failed = Path("out.failed.xyz").read_text()
    assert "failure=worker-lost" in failed
    assert "3 times" in failed


def test_a_killed_command_leaves_nothing(psiflow, start, site):
    Path("in.xyz").write_text(copper(10))
    arguments = ("label", "in.xyz", "--reference", SLOW, "--set", "seconds=1", "-o", "out.xyz", *site)
    process = start(*arguments)
    wait_for(lambda: units("out.xyz"), 60, "no frame was labelled")
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not alive(str(Path.cwd())), 10, "processes are left 10 s after kill -9")
    before = units("out.xyz")
    psiflow(*arguments)
    assert not set(before) & set(units("out.xyz")[len(before) :])


def managers(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"Work Queue" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.full
@pytest.mark.parametrize(
    ("seconds", "is_there"),
    [
        pytest.param(40, lambda process: units("out.xyz"), id="longer than a manager waits for a worker, 30 s"),
        pytest.param(70, lambda process: managers(process), id="while its block starts"),
    ],
)
def test_a_command_that_stands_still_loses_no_task(psiflow, start, seconds, is_there):
    Path("wq.toml").write_text(SITE.replace("[providers.here]", '[providers.here]\nworker_init = ["sleep 4"]'))
    Path("in.xyz").write_text(copper(10))
    process = start(
        "label", "in.xyz", "--reference", SLOW, "--set", "seconds=2", "-o", "out.xyz", "--site", "./wq.toml"
    )
    wait_for(lambda: is_there(process), 120, "nothing began")
    time.sleep(1.5)
    stopped = [process.pid, *managers(process)]
    assert len(stopped) >= 2
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in stopped:
            os.kill(pid, number)
        time.sleep(seconds if number == signal.SIGSTOP else 0)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "lost" not in Path("out.xyz.run/journal.jsonl").read_text()
    assert len(units("out.xyz")) == len(set(units("out.xyz"))) == 10


@pytest.mark.parametrize("password", [None, pytest.param("guessed", marks=pytest.mark.full)])
def test_a_stranger_gets_no_task(psiflow, start, site, tmp_path, password):
    """A worker with a wrong password, or none, that knows host and port."""
    Path("in.xyz").write_text(copper(6))
    process = start("label", "in.xyz", "--reference", SLOW, "--set", "seconds=1", "-o", "out.xyz", *site)
    wait_for(lambda: alive(f"{Path.cwd()}/out.xyz.run/parsl/default.password"), 60, "no worker")
    words = Path(f"/proc/{alive(f'{Path.cwd()}/out.xyz.run/parsl/default.password')[-1]}/cmdline").read_bytes()
    port = words.split(b"\0")[-2].decode()
    secret = Path("out.xyz.run/parsl/default.password")
    assert secret.stat().st_mode & 0o777 == 0o600
    command = [WORKER, "--single-shot", "-t", "5", "--debug=all", "127.0.0.1", port]
    if password:
        (tmp_path / "mine").write_text(password)
        command[1:1] = ["--password", str(tmp_path / "mine")]
    stranger = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60)
    assert "Python" not in stranger.stderr
    assert "exec_parsl_function" not in stranger.stdout + stranger.stderr
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert len(units("out.xyz")) == 6


def test_without_work_queue_it_is_said_what_to_install(tmp_path, monkeypatch):
    code = "import sys; sys.modules['ndcctools'] = None\nfrom psiflow_cli.main import main; main(sys.argv[1:])"
    monkeypatch.chdir(tmp_path)
    Path("in.xyz").write_text(copper(1))
    Path("wq.toml").write_text(SITE)
    done = subprocess.run(
        [sys.executable, "-c", code, "label", "in.xyz", "--reference", SLOW, "--site", "./wq.toml"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 78, done.stderr
    assert "[executors.default] type: Python cannot import Work Queue" in done.stderr
    assert "python3-workqueue" in done.stderr
