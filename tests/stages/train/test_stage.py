"""What the stage makes of trainings: deadlines, committees, lost workers, one output in one place."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from psiflow_cli import bundle
from psiflow_cli.runtime import swap
from tests import warm
from tests.stages.train import slow_family

SITE = """
[providers.here]
[resources.task]
cores = 1
[executors.default]
provider = "here"
resources = "task"
tasks_per_node = {workers}
retries = 1
[use]
default = "default"
"""


def waters(*shifts):
    return "".join(
        '3\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-15 pbc="F F F"\n'
        f"O 0 0 0 0.1 0 0\nH {0.9 + shift / 100} 0 0 0.1 0 0\nH -0.24 0.93 0 0.1 0 0\n"
        for shift in shifts
    )


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train as a process of its own; `background` leaves it running."""
    monkeypatch.chdir(tmp_path)
    Path("in.xyz").write_text(waters(*range(8)))
    for workers in (1, 2):
        Path(f"{workers}.toml").write_text(SITE.format(workers=workers))

    def run(output="a.model", code=0, workers=1, background=False, **more):
        given = [
            slow_family.__file__,
            "in.xyz",
            output,
            json.dumps({"site": f"{workers}.toml", **more}),
        ]
        if background:
            return subprocess.Popen([sys.executable, *given], stderr=subprocess.PIPE, text=True)
        done = warm.server().run(given, timeout=120)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    return run


def weights(model="a.model"):
    return [json.loads(Path(member, "weights.json").read_text()) for member in bundle.load(model).members]


def trained(model="a.model"):
    """The epochs that each member was trained for, in the order in which they were."""
    files = sorted(Path(f"{model}.run").glob("work/*/member-*/epochs.jsonl"))
    return [[json.loads(line)["epoch"] for line in file.read_text().splitlines()] for file in files]


def test_a_deadline_leaves_the_best_models_so_far(train):
    """Two trainings on one worker, which can do one after the other: each gets its part of the time."""
    long = {"epochs": "60", "pause": "0.1"}
    train(code=75, deadline=20, members=2, set=long)
    first = bundle.load("a.model")
    assert first.unfinished
    assert all(1 <= done < 60 for done in first.facts["epochs"])
    assert [member["epochs"] for member in weights()] == first.facts["epochs"]
    state = json.loads(Path("a.model.run/run.json").read_text())["result"]
    assert (state["exit_code"], state["finished"]) == (75, False)
    train(members=2, set=long)  # the same command goes on, and replaces the model
    assert not bundle.load("a.model").unfinished
    assert [member["epochs"] for member in weights()] == [60, 60]
    assert trained() == [list(range(60))] * 2


@pytest.mark.parametrize("ready", [{}, pytest.param({"ready": ""}, marks=pytest.mark.full)])
def test_a_signal_leaves_the_best_models_so_far(train, ready):
    """Of two members on one worker, the second has not begun. Stopped again before its next epoch, or while the data
    are read, it has the same.
    """
    long = {"epochs": "400", "pause": "0.1", **ready}
    running = train(background=True, members=2, set=long)
    _stop(running, lambda: max(map(len, trained()), default=0) >= 3)
    first = bundle.load("a.model")
    assert (first.unfinished, first.facts["members"]) == (True, 1)
    assert weights()[0]["epochs"] == first.facts["epochs"][0] >= 3
    assert "1 of 2 models: the best so far, marked as unfinished -> a.model" in running.stderr.read()
    shutil.rmtree("a.model")
    (request,) = Path().glob("*.run/work/*/member-0/stop")
    request.write_text("stop")
    _stop(train(background=True, members=2, set=long), lambda: not request.read_text())
    assert bundle.load("a.model").unfinished
    assert weights()[0]["epochs"] >= first.facts["epochs"][0]
    shutil.rmtree("a.model")  # as if that had been a kill
    Path("hold").touch()
    running = train(background=True, members=2, set=long)
    while Path("hold").read_text() != "held":
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    Path("hold").unlink()
    assert running.wait(60) == 75
    assert "stopped by SIGTERM: making a model of the best epoch so far first" in running.stderr.read()
    assert bundle.load("a.model").unfinished


def test_a_finished_model_is_not_replaced_by_an_unfinished_one(train):
    train(set={"epochs": "2"})
    whole = bundle.load("a.model").fingerprint
    _stop(train(background=True, set={"epochs": "400"}), lambda: max(map(len, trained())) >= 5)
    assert bundle.load("a.model").fingerprint == whole
    assert bundle.load("a.model.run/unfinished.model").unfinished
    train(set={"epochs": "3"})
    assert bundle.load("a.model").facts["epochs"] == [3]
    assert not Path("a.model.run/unfinished.model").exists()


def _stop(running, when):
    """Send SIGTERM when it is time; it leaves with 75."""
    while not when():
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    assert running.wait(60) == 75


@pytest.mark.full
def test_a_worker_that_is_lost_for_good_leaves_the_best_model_so_far(train):
    said = train(code=69, set={"die": "0", "always": "", "epochs": "9", "ready": ""})
    assert "the best so far, marked as unfinished -> a.model" in said
    assert bundle.load("a.model").unfinished
    assert trained() == [[0, 1]]


@pytest.mark.full
def test_a_committee_is_that_of_any_schedule(train):
    """However many train at once, whoever is lost, and however many there were before."""
    train(members=3, bootstrap=True, seed=4, set={"die": "5"})
    assert trained() == [list(range(5))] * 3
    lost = [line for line in Path("a.model.run/journal.jsonl").read_text().splitlines() if '"lost"' in line]
    assert len(lost) == 1
    train("b.model", bootstrap=True, seed=4, set={"die": "5"})
    train("b.model", members=3, bootstrap=True, seed=4, workers=2, set={"die": "5"})
    assert trained("b.model") == [list(range(5))] * 3, "the member that was there was trained again"
    assert weights() == weights("b.model")
    members = weights()
    assert [member["seed"] for member in members] == bundle.load("a.model").facts["seeds"]
    assert len({member["train"] for member in members}) == 3, "the samples are one"
    assert len({member["valid"] for member in members}) == 1
    assert bundle.load("a.model").facts["bootstrap"] is True


def test_a_line_of_cron(train):
    """It does nothing when nothing is new, never runs twice at once, and a reader always finds a whole model."""
    train()
    before = Path("a.model/model.toml").stat()
    assert "up to date" in train()
    assert Path("a.model/model.toml").stat() == before
    trouble, over = [], threading.Event()

    def read():
        while not over.is_set():
            try:
                bundle.load("a.model")
            except Exception as error:
                trouble.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    Path("in.xyz").write_text(waters(*range(12)))
    first = train(background=True, set={"pause": "0.4"})
    while first.poll() is None and "pid" not in Path("a.model.run/lock").read_text():
        pass
    again = train(code=75, set={"pause": "0.4"})
    assert str(first.pid) in again
    assert first.wait(60) == 0, first.stderr.read()
    over.set()
    reader.join()
    assert not trouble
    assert bundle.load("a.model").facts["train_frames"] == 9


@pytest.mark.full
def test_a_model_is_trained_further_in_its_own_place(train):
    """`-o m.model --init m.model`: again when the data have grown, but not because the model is another one now."""
    train()
    begun = bundle.load("a.model").fingerprint
    Path("in.xyz").write_text(waters(*range(4, 12)))
    long = {"epochs": "40", "pause": "0.1"}
    running = train(background=True, init="a.model", set=long)
    _stop(running, lambda: len(trained()) == 2 and min(map(len, trained())) >= 2)
    assert bundle.load("a.model").fingerprint == begun, "a finished model was replaced by an unfinished one"
    facts = bundle.load("a.model.run/unfinished.model").facts
    assert (facts["init"], facts["unfinished"]) == (begun, True)
    assert facts["train_frames"] + facts["valid_frames"] == 12, "old and new frames, none of them twice"
    assert facts["replayed_frames"] > 0
    train(init="a.model", set=long)
    facts = bundle.load("a.model").facts
    assert facts["init"] == begun, "it went on from what the clock had left, and not from where it began"
    assert "unfinished" not in facts
    assert list(range(40)) in trained()
    assert not Path("a.model.run/init").exists()
    assert "up to date" in train(init="a.model", set=long)


@pytest.mark.parametrize("swap_paths", [swap.swap_paths, swap.in_turns])
def test_two_folders_change_places(tmp_path, swap_paths):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    swap_paths(tmp_path / "a", tmp_path / "b")
    assert [(tmp_path / name / "file").read_text() for name in "ab"] == ["b", "a"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_reader_never_misses_what_is_exchanged(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    if not swap._by_the_kernel(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange two names")
    over, missed, reads = threading.Event(), [], [0]

    def read():
        while not over.is_set():
            reads[0] += 1
            if not (tmp_path / "b" / "file").is_file():
                missed.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    while reads[0] < 2000:
        swap.swap_paths(tmp_path / "a", tmp_path / "b")
    over.set()
    reader.join()
    assert not missed


@pytest.mark.full
def test_trainings_that_others_follow_leave_no_folders(train):
    """A nightly retrain does not fill the disk, and removes nothing that may still go on."""

    def folders():
        return {path.name for path in Path("a.model.run/work").iterdir()}

    train()
    first = folders()
    train(code=75, deadline=13, set={"epochs": "60", "pause": "0.1"})
    assert folders() > first, "the last whole one stays until another follows"
    stopped = folders() - first
    Path("in.xyz").write_text(waters(*range(12)))
    train()
    assert folders() > stopped
    assert not folders() & first
    assert len(folders()) == 2
