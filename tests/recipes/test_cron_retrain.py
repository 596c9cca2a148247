"""recipes/cron-retrain.sh: fired often, and several at a time, while frames come in; it says nothing unless it must."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from psiflow_cli import bundle
from psiflow_cli.runtime.lock import Lock
from tests.commands import springs
from tests.recipes import pairs

pytest.importorskip("ase", reason="the emt reference needs ase")

BY_HAND = Path(__file__).parents[2] / "recipes" / "cron-retrain.sh"
PROJECT = f"""
[label]
reference = "emt"
site = "here.toml"
[atomic-energies]
reference = "emt"
site = "here.toml"
[train]
arch = "{pairs.__file__}"
site = "here.toml"
[evaluate]
site = "here.toml"
"""
CORNERS = ((0, 0, 0), (1.8, 1.8, 0), (1.8, 0, 1.8), (0, 1.8, 1.8))


def clusters(count, seed):
    """Distinct clusters of four copper atoms."""
    draw = random.Random(seed).gauss
    frames = []
    for _ in range(count):
        atoms = ("Cu " + " ".join(str(x + draw(0, 0.15)) for x in corner) for corner in CORNERS)
        frames.append('4\nProperties=species:S:1:pos:R:3 pbc="F F F"\n' + "\n".join(atoms) + "\n")
    return "".join(frames)


def arrive(name, text):
    """A file comes in, whole."""
    Path("incoming").mkdir(exist_ok=True)
    Path(f".{name}").write_text(text)
    os.rename(f".{name}", f"incoming/{name}")


def log():
    """What the log says, without the times."""
    return [line.split(" ", 2)[2] for line in Path("retrain.log").read_text().splitlines()]


@pytest.fixture
def cron(tmp_path, monkeypatch):
    """Start the recipe as cron does, in an environment that knows little; returns the process."""
    (tmp_path / "bin").mkdir()
    pairs.program(tmp_path / "bin")
    folder = tmp_path / "cluster s"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("here.toml").write_text(springs.SITE)
    Path("psiflow.toml").write_text(PROJECT)
    Path("retrain.conf").write_text("ENOUGH=10\nGAIN=0%\nSETTLED=0\nREMIND=24\n")
    Path("unlabelled.xyz").write_text(clusters(8, 99))
    subprocess.run([tmp_path / "bin" / "psiflow", "label", "-q", "unlabelled.xyz", "-o", "test.xyz"], check=True)
    environment = {"HOME": os.environ["HOME"], "PATH": f"{tmp_path}/bin:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}

    def start():
        return subprocess.Popen(
            [str(BY_HAND), str(folder)], cwd="/", env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip

    return start


def fire(cron, times=1):
    """Fire as often at the same moment; returns exit codes and what was said."""
    firings = [cron() for _ in range(times)]
    return [(firing.wait(200), firing.stdout.read()) for firing in firings]


QUIET = (0, "")


class Reader:
    """Opens the published model again and again, as those who use it do."""

    def __init__(self):
        self.trouble, self.seen, self._over = [], set(), threading.Event()
        self._thread = threading.Thread(target=self._read)

    def _read(self):
        while not self._over.wait(0.002):
            if not self.seen and not Path("published.model").exists():
                continue
            try:
                self.seen.add(bundle.load("published.model").fingerprint)
            except Exception as error:
                self.trouble.append(error)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


def check_log(frames):
    """Nothing was done twice, and a model was published only when it was the best so far."""
    units = [json.loads(line) for line in Path("labelled.xyz.run/journal.jsonl").read_text().splitlines()]
    assert set(Counter(unit["id"] for unit in units if unit["kind"] == "unit").values()) == {1}
    assert Path("labelled.xyz").read_text().count("psiflow_id=") == frames
    said = log()
    begun = [line for line in said if line.startswith("train: starts")]
    trained = [line for line in said if line.startswith("train: a new model")]
    assert len(trained) == len(set(trained)) == len(begun)
    compared = [line for line in said if line.startswith("compare: ")]
    assert len(compared) == len(trained) - 1
    published = [line for line in said if line.startswith("publish: ")]
    assert len(published) == 1 + sum(line.endswith(": better") for line in compared) == len(set(published))
    best = float("inf")
    for line in compared:
        now, before = (float(line.split(word)[1].split()[0]) for word in ("RMSE ", "), "))
        assert line.endswith("better" if now < before else "not better")
        assert before <= best
        best = min(now, before)
    kept = {bundle.load(str(path)).fingerprint for path in Path("releases").iterdir()}
    assert len(kept) == len(published)
    return kept


def storm(cron, firings, at_once, files):
    """Frames come in while it is fired, alone and several at a time; then a few times more when there is nothing."""
    ended = []
    with Reader() as reader:
        for number in range(files):
            arrive(f"{number:02}.xyz", clusters(6, number))
            ended += fire(cron, at_once if number % 3 == 1 else 1)
        before = Path("retrain.log").read_text()
        while len(ended) < firings:
            ended += fire(cron, min(firings - len(ended), 2))
    assert set(ended) == {QUIET}
    assert len(ended) == firings
    assert Path("retrain.log").read_text() == before
    assert not reader.trouble
    kept = check_log(6 * files)
    assert reader.seen <= kept
    assert bundle.load("published.model").fingerprint in kept


def test_it_is_fired_while_frames_come_in(cron):
    storm(cron, firings=7, at_once=3, files=4)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_it_is_fired_twenty_times_while_frames_come_in(cron):
    storm(cron, firings=26, at_once=3, files=14)


@pytest.mark.full
def test_what_is_not_better_is_not_published(cron):
    Path("retrain.conf").write_text("ENOUGH=5\nGAIN=95%\nSETTLED=0\nREMIND=24\n")
    for number in (1, 2):
        arrive(f"{number}.xyz", clusters(6, number))
        assert fire(cron) == [QUIET]
    assert log()[-1].endswith(": not better by 0.95")
    assert len(list(Path("releases").iterdir())) == 1
    before = Path("retrain.log").read_text()
    assert fire(cron) == [QUIET]
    assert Path("retrain.log").read_text() == before
    assert bundle.load("candidate.model").fingerprint != bundle.load("published.model").fingerprint


def test_what_is_in_the_test_set_is_not_trained_on(cron):
    arrive("a.xyz", clusters(10, 1) + clusters(8, 99))
    assert fire(cron) == [QUIET]
    assert log()[:2] == ["label: 18 frames", "train: starts, with 11 new frames"]  # an atom is one of them


def test_a_failure_is_told_once(cron):
    arrive("a.xyz", clusters(3, 1))
    arrive("b.xyz", clusters(1, 2).replace("Cu", "Xx"))
    ((code, told),) = fire(cron)
    assert code == 65
    assert told.startswith(f"psiflow: label failed in {os.getcwd()} on {os.uname().nodename}, with exit code 65\n")
    assert "    psiflow: incoming/b.xyz:3: " in told
    assert "what to do: fix the file" in told
    assert len(told.splitlines()) < 12
    assert fire(cron) == [(65, "")]
    assert len(log()) == 1
    os.utime("logs/told", (0, 0))  # long ago
    assert fire(cron) == [(65, told)]
    os.remove("incoming/b.xyz")
    assert fire(cron) == [QUIET]
    assert log()[1:] == ["label: 3 frames", "working again"]
    Path("test.xyz").unlink()
    ((code, told),) = fire(cron)
    assert code == 66
    assert "test.xyz: no such file" in told


def test_a_run_that_somebody_holds_is_waited_for(cron):
    arrive("a.xyz", clusters(3, 1))
    Path("labelled.xyz.run").mkdir(0o700)
    held = Lock(Path("labelled.xyz.run/lock"))
    try:
        assert fire(cron, 2) == [QUIET] * 2
        assert fire(cron) == [QUIET]
    finally:
        held.release()
    assert log() == ["label: not finished; the next run continues"]
    assert fire(cron) == [QUIET]
    assert log()[1:] == ["label: 3 frames"]


@pytest.mark.full
@pytest.mark.timeout(900)
def test_killed_at_any_moment_the_next_one_goes_on(cron):
    arrive("a.xyz", clusters(12, 1))
    with Reader() as reader:
        for number in range(12):
            firing = cron()
            time.sleep(0.3 + 0.4 * number)
            os.killpg(firing.pid, signal.SIGKILL)
            firing.wait()
            if number == 7:
                arrive("b.xyz", clusters(12, 2))
        assert fire(cron) == [QUIET]
        assert fire(cron) == [QUIET]
    assert not reader.trouble
    assert Path("labelled.xyz").read_text().count("psiflow_id=") == 24
    assert bundle.load("published.model").fingerprint in reader.seen
    said = log()
    assert len([line for line in said if line.startswith("train: starts")]) == 2
