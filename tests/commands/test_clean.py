"""psiflow clean: what goes, what stays, and that every command goes on as it is said to."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from psiflow_cli.runtime import rundir
from psiflow_cli.stages.runs import leftovers
from psiflow_cli.stages.runs.status import RunState
from tests.commands.inputs import copper
from tests.commands.terminal import Terminal

pytestmark = pytest.mark.usefixtures("in_threads")

SLOW = Path(__file__).with_name("slow_reference.py")
RAISES = copper(1).replace("Cu 0.0 0.0 0.0", "Cu 102.0 0.0 0.0")
"""A frame with which the slow reference fails."""


def label(*more, seconds=0, output="out.xyz"):
    return "label", "in.xyz", "--reference", SLOW, "--set", f"seconds={seconds}", "-o", output, *more


def units(output="out.xyz"):
    text = Path(f"{output}.run/journal.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines() if '"kind":"unit"' in line]


def on_disk(folder="."):
    files = [path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)): path.stat().st_blocks * 512 for path in files}


def logs_of(frames):
    """The logs that a code with an input and an output leaves of each frame."""
    logs = Path("out.xyz.run/logs")
    for frame in frames:
        (logs / f"{frame}.out.gz").write_bytes(os.urandom(9000))
        (logs / f"{frame}.inp.gz").write_bytes(b"input")


@pytest.fixture
def partial(psiflow):
    """A run of four frames, of which one failed, with the logs of all; returns the id of that one."""
    Path("in.xyz").write_text(copper(3) + RAISES)
    psiflow(*label(), code=1)
    logs_of([unit["id"] for unit in units()])
    (failed,) = [unit["id"] for unit in units() if not unit["ok"]]
    return failed


@pytest.mark.usefixtures("in_workers")
def test_logs_of_what_did_not_fail_go_and_the_command_goes_on(psiflow, partial):
    logs = Path("out.xyz.run/logs")
    (logs / "notes.txt").write_text("mine")
    Path("elsewhere").mkdir()
    Path("elsewhere/precious").write_text("mine")
    (Path("out.xyz.run") / "made-a-link").symlink_to(Path("elsewhere").absolute())
    unfinished = rundir.temporary(Path("out.xyz"), str(Path("out.xyz.run").absolute()))
    unfinished.write_text("half")
    before = on_disk()

    told = json.loads(psiflow("clean", "--dry-run", "--json").stdout)
    said = psiflow("clean", code=2)
    assert "cannot ask for confirmation here, so nothing was deleted" in said.stderr
    assert re.search(r"kB +6 logs of finished tasks +out\.xyz\.run", said.stdout)
    assert on_disk() == before

    done = json.loads(psiflow("clean", "--yes", "--json").stdout)
    after = on_disk()
    gone = {name: size for name, size in before.items() if name not in after}
    assert done["bytes"] == told["bytes"] == sum(gone.values()) > 3 * 9000
    assert not unfinished.exists()
    assert sorted(path.name for path in logs.iterdir()) == sorted(
        [f"{partial}.inp.gz", f"{partial}.out.gz", "calls", "notes.txt", "tracebacks.log"]
    )
    assert Path("elsewhere/precious").exists()
    assert not Path("out.xyz.run/parsl").exists()
    assert json.loads(psiflow("clean", "--yes", "--json").stdout)["bytes"] == 0

    count = len(units())
    assert "up to date" in psiflow(*label(), code=1).stderr
    psiflow(*label("--retry-failed"), code=1)
    assert len(units()) == count + 1, "the failed one alone was tried again"


@pytest.mark.usefixtures("in_workers")
def test_on_a_terminal_it_asks(psiflow, partial):
    for answer, remains in (("n", True), ("y", False)):
        terminal = Terminal("clean", "out.xyz")
        terminal.read_until("[y/N]")
        terminal.type(f"{answer}\n")
        code, text = terminal.end()
        assert code == 0
        assert ("nothing was deleted" in text) is remains
        assert Path("out.xyz.run/parsl").exists() is remains


def test_whole_runs_go_only_if_their_outputs_stand(psiflow):
    Path("in.xyz").write_text(copper(2))
    for name in ("gone", "edited", "kept"):
        psiflow("rattle", "in.xyz", "-n", "2", "-o", f"{name}.xyz")
    shutil.copytree("kept.xyz.run", "copy.run")
    psiflow("rattle", "-", "-n", "2", "--seed", "1", stdin=copper(1))
    os.unlink("gone.xyz")
    with open("edited.xyz", "a") as stream:
        stream.write(copper(1))
    Path("kept.xyz.run/mine.txt").write_text("mine")
    done = psiflow("clean", "--runs", "--yes")
    assert sorted(path.name for path in Path("kept.xyz.run").iterdir()) == ["mine.txt"]
    for name in ("gone.xyz", "edited.xyz", "copy"):
        assert Path(f"{name}.run/journal.jsonl").exists()
    assert len(list(Path(".psiflow").glob("rattle-*/output.xyz"))) == 1
    assert "cannot be up to date or continue" in done.stderr
    for why in ("gone.xyz, which was deleted", "edited.xyz, which was changed", "copied from", "contains its result"):
        assert why in done.stderr
    said = psiflow("rattle", "in.xyz", "-n", "2", "-o", "kept.xyz", code=73).stderr
    assert "--overwrite" in said

    os.unlink("kept.xyz.run/mine.txt")
    psiflow("rattle", "in.xyz", "-n", "2", "-o", "kept.xyz", "--overwrite")
    psiflow("clean", "kept.xyz", "--runs", "--yes")
    assert not Path("kept.xyz.run").exists()
    assert Path("kept.xyz").exists()


def test_what_runs_and_what_died_keep_what_they_need(psiflow, start):
    Path("in.xyz").write_text(copper(12))
    process = start(*label(seconds=0.3))
    while not Path("out.xyz.run/journal.jsonl").exists() or len(units()) < 2:
        assert process.poll() is None
    before = on_disk("out.xyz.run")
    done = psiflow("clean", "--runs", "--other-settings", "--yes")
    assert "out.xyz.run is not deleted: it is running" in done.stderr
    assert before.keys() <= on_disk("out.xyz.run").keys()
    process.kill()
    process.wait()
    finished = len(units())
    done = psiflow("clean", "--runs", "--other-settings", "--yes")
    assert "out.xyz.run is not deleted: it is dead" in done.stderr
    assert len(units()) == finished
    assert Path("out.xyz.run/parsl").exists(), "it may say why"
    psiflow(*label(seconds=0.3))
    assert len(units()) == 12


@pytest.mark.full
def test_other_settings_go_only_if_asked_for(psiflow):
    Path("in.xyz").write_text(copper(4))
    psiflow(*label())
    psiflow(*label(seconds=0.001))
    psiflow(*label())  # nothing is computed: the last units in the journal are those of the other settings
    assert json.loads(psiflow("status", "--json").stdout)[0]["done"] == 4
    other = {unit["of"] for unit in units()[4:]}
    psiflow("clean", "--yes")
    assert len(units()) == 8
    assert "units of other settings" in psiflow("clean", "--other-settings", "--yes").stdout
    assert len(units()) == 4
    assert not other & {unit["of"] for unit in units()}
    assert "up to date" in psiflow(*label()).stderr
    Path("in.xyz").write_text(copper(4) + RAISES.replace("102", "7"))
    psiflow(*label())
    assert len(units()) == 5, "the others are still known"
    psiflow(*label(seconds=0.001))
    assert len(units()) == 10


def test_trainings_and_walkers(tmp_path):
    """Of a training that is done: older ones always, unfinished ones of other settings if asked for."""
    folder = tmp_path / "m.model.run"
    for name in ("now", "older", "stopped", "dying.gone"):
        (folder / "work" / name).mkdir(parents=True)
        (folder / "work" / name / "weights").write_bytes(bytes(5000))
    for name in ("now", "older"):
        (folder / "work" / name / "delivered").touch()
    for name in ("now-ase-1", "other-ase-1"):
        (folder / "walkers" / name).mkdir(parents=True)
        (folder / "walkers" / name / "state.json").touch()
    (folder / "work" / "mine").symlink_to(tmp_path)
    run = {"command": "train", "fingerprint": "f", "result": {"keys": ["now"]}}

    def names(state, others):
        found = leftovers.find(folder, run, RunState(state), others)
        return {path.name for item in found for path in item.paths}

    assert names("done", False) == {"older", "dying.gone"}
    assert names("done", True) == {"older", "dying.gone", "stopped", "other-ase-1"}
    assert names("failed", True) == names("partial", True) == {"dying.gone"}


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [(("none.xyz",), 66, "none.xyz: no such run"), (("--json",), 2, "--dry-run"), (("--al",), 2, "--al")],
)
def test_wrong_usage(psiflow, arguments, code, what):
    said = psiflow("clean", *arguments, code=code).stderr
    assert what in said
    assert len(said.strip().splitlines()) <= 2
