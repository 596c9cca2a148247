"""psiflow status as a person sees it: in colour, on a narrow terminal, and while the runs go on."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from psiflow_cli.commands.shared import run_table
from psiflow_cli.main import main
from psiflow_cli.stages.runs import status
from psiflow_cli.worker.training import phase
from tests.commands.inputs import copper
from tests.commands.terminal import Terminal

SLOW = Path(__file__).with_name("slow_reference.py")
RUN = {
    "run": "out.xyz.run", "command": "label", "state": "running", "total": 2000, "done": 120, "failed": 3, "lost": 0,
    "updated": None, "eta_s": 5400.0, "core_hours": 12.345, "host": "n1", "pid": 7, "slurm_job_id": None, "message": "",
    "info": {}, "phase": "", "blocks": [], "bad_nodes": [], "started": None, "cwd": "/", "argv": [],
}  # fmt: skip
LONG = {**RUN, "run": "project/of/the/year/round-07/water.labelled.xyz.run", "command": "atomic-energies"}


def block(job, state, for_s, queued_s=None, reason=""):
    return {
        "executor": "cp2k", "provider": "slurm", "job": job, "state": state, "for_s": for_s, "queued_s": queued_s,
        "reason": reason,
    }  # fmt: skip


def test_a_pipe_gets_whole_lines():
    header, row, long, summed = run_table.table([RUN, LONG], None)
    assert row.split() == ["running", "label", "120/2000", "3", "1.5", "h", "12.3", "-", "out.xyz.run"]
    assert long.endswith(LONG["run"])
    assert header.index("RUN") == row.index("out.xyz.run") == long.index("project")
    assert summed == "2 runs: 2 running; 24.7 core-hours"


@pytest.mark.parametrize("width", [44, 66, 80, 200])
def test_nothing_is_wider_than_the_terminal(width):
    why = {**LONG, "state": "failed", "eta_s": None, "message": "the code could not be started " * 8}
    lines = list(run_table.table([RUN, LONG, why], width))
    assert max(map(len, lines)) <= width
    assert any(line.endswith("…" + LONG["run"][-15:]) or line.endswith(LONG["run"][-15:]) for line in lines)
    assert sum("could not be" in line for line in lines) > (1 if width < 200 else 0)


def test_the_blocks_of_an_executor_are_those_that_run_and_those_that_wait():
    blocks = [block("11", "RUNNING", 50.0, 125.0), block("12", "PENDING", 3.0)]
    _, _, note = run_table.table([{**RUN, "blocks": blocks}], None)
    assert note.strip() == "cp2k on slurm: 1 running: 11 (queued for 2.1 min); in the queue: 12 (3 s)"
    many = [block(str(number), "PENDING", 3.0) for number in range(30)]
    _, _, note = run_table.table([{**RUN, "blocks": many}], None)
    assert note.endswith("7 (3 s), and 22 more")
    held = block("12", "PENDING", 3.0, reason="JobHeldUser (held by its user)")
    _, row, note = run_table.table([{**RUN, "blocks": [held], "eta_s": None}], None)
    assert row.split()[4] == "queued"
    assert note.endswith("in the queue: 12 (3 s: JobHeldUser (held by its user))")


def test_a_training_says_what_it_is_at(tmp_path):
    assert status._phase(tmp_path) == "starting"
    first, second = (tmp_path / f"work/key/member-{number}" for number in range(2))
    for member, doing in ((first, "delivering"), (second, "training")):
        member.mkdir(parents=True)
        phase.begin(member, doing)
    os.utime(first / phase.FILE, (1, 1))
    assert status._phase(tmp_path) == "training"
    info = {"rmse_e_meV_per_atom": 2.34, "rmse_f_meV_per_A": 75.1}
    _, _, note = run_table.table([{**RUN, "command": "train", "phase": "training", "info": info}], None)
    assert note.strip() == "training, E 2.34 meV/atom, F 75.1 meV/Å"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A folder with a run that is done."""
    import subprocess

    from tests.commands.inputs import PSIFLOW

    folder = tmp_path_factory.mktemp("shown")
    (folder / "in.xyz").write_text(copper(2))
    subprocess.run([PSIFLOW, "rattle", "in.xyz", "-n", "3", "-o", "out.xyz"], cwd=folder, check=True, timeout=60)
    return folder


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals_of_those_who_want_them(labelled, environment, coloured):
    code, text = Terminal("status", labelled, columns=70, **environment).end()
    assert code == 0
    assert ("\x1b[32mdone" in text) is coloured
    assert ("\x1b" in text) is coloured
    assert max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in text.splitlines()) <= 70


def slowly(start, frames=8):
    Path("in.xyz").write_text(copper(frames))
    return start("label", "in.xyz", "--reference", SLOW, "--set", "seconds=0.5", "-o", "out.xyz")


def wait_for(path):
    deadline = time.monotonic() + 30
    while not Path(path).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_watch_ends_with_what_it_watches(start):
    """Without a terminal a line for each change; it begins while nothing runs yet."""
    lines, objects = start("status", "--watch"), start("status", "--watch", "--json")
    process = slowly(start)
    said, _ = lines.communicate(timeout=60)
    told, _ = objects.communicate(timeout=60)
    assert (process.wait(1), lines.returncode, objects.returncode) == (0, 0, 0)
    states = [re.search(r"out\.xyz\.run: (\w+), (\d+)/8 done", line).groups() for line in said.splitlines()]
    assert (states[0][0], states[-1]) == ("running", ("done", "8"))
    assert len(states) <= 3, "progress alone is said every half a minute"
    assert [json.loads(line)["state"] for line in told.splitlines()][-1] == "done"


def test_a_watch_redraws_in_place_until_ctrl_c(start):
    process = slowly(start, 400)
    wait_for("out.xyz.run/run.json")
    watch = Terminal("status", "--watch")
    watch.read_until("\x1b[2F\x1b[J")
    watch.type("\x03")
    code, text = watch.end()
    assert code == 130
    assert "\x1b[36mrunning" in text
    assert process.poll() is None, "what is watched goes on"
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def test_a_watch_of_more_than_the_screen_holds_is_cut(labelled):
    for number in range(12):
        copy = labelled / "many" / f"{number}.run"
        copy.mkdir(parents=True)
        for name in ("run.json", "journal.jsonl"):
            (copy / name).write_bytes((labelled / "out.xyz.run" / name).read_bytes())
    code, text = Terminal("status", "--watch", labelled / "many", lines=8).end()
    assert code == 0, "nothing runs"
    first = text.split("\x1b[7F")[0].splitlines()
    assert len(first) == 7
    assert first[-1] == "… 8 more lines"


def test_runs_are_in_order_of_time_without_checks_that_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = {"exit_code": 0, "finished": True, "ended": 400.0, "summary": {}}
    for run, command, started in (
        ("b.run", "label", 200.0), ("a.run", "train", 300.0),
        (".psiflow/check-1", "check", 100.0), ("c.run", "check", 50.0),
    ):  # fmt: skip
        folder = tmp_path / run
        folder.mkdir(parents=True)
        record = {"command": command, "started": started, "total": 0, "argv": ["psiflow"], "result": result}
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "journal.jsonl").touch()

    def listed(*places: str) -> list[str]:
        return [run["run"] for run in json.loads(CliRunner().invoke(main, ["status", *places, "--json"]).stdout)]

    assert listed() == ["c.run", "b.run", "a.run"]
    assert listed(".psiflow") == [".psiflow/check-1"]
