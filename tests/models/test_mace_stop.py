"""MACE's trainer stops in time and delivers, ends when nothing improves, and loses one epoch at most to any kill."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from psiflow_cli.models import mace
from psiflow_cli.worker.training.early_stopping import DELIVERY_S, Stopping, TrainingDone
from tests.models.test_mace import CONTEXT, TINY, WORKER, Wire, data, make_job, wire  # noqa: F401

pytest.importorskip("mace", reason="mace-torch is not installed")


def test_stopping_watches_the_clock_and_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    stopping = Stopping(until=1100.0)
    for length in (10.0, 30.0, 20.0):  # the longest counts
        stopping.mark()
        now[0] += length
        stopping.epoch(improved=True)
        stopping.check()
    now[0] = 1100.0 - 30.0 - DELIVERY_S
    stopping.check()
    now[0] += 1
    with pytest.raises(TrainingDone):
        stopping.check()
    assert stopping.out_of_time
    later = Stopping(until=now[0] + 20)
    with pytest.raises(TrainingDone):
        later.resume(stopping.state())
    patient = Stopping(patience=2)
    patient.epoch(improved=False)
    patient.check()
    other = Stopping(patience=2)
    other.resume(patient.state())  # a restart counts on
    other.epoch(improved=None)  # it was not validated
    other.check()
    other.epoch(improved=False)
    with pytest.raises(TrainingDone):
        other.check()
    assert not other.out_of_time
    other.begin_stage()
    other.check()


@pytest.mark.full
def test_a_training_stops_in_time_and_goes_on(data: Wire, tmp_path: Path) -> None:  # noqa: F811
    """What it leaves is a model, and what goes on from there ends as if nothing had been."""
    job = make_job(data, tmp_path, {**TINY, "max_num_epochs": 4000, "start_swa": 3000})
    start = time.monotonic()
    result = mace.train({**job, "seconds": 20.0}, CONTEXT)
    assert time.monotonic() - start < 60.0  # on a busy machine; alone it keeps to its 20 s
    done = mace.progress(tmp_path)
    assert result["finished"] is False
    assert 1 <= len(done) < 4000
    assert result["metrics"] == min(done, key=lambda epoch: float(epoch["valid_loss"]))
    member = str(Path(result["weights"][0]).parent)
    assert "energy" in mace.predict([wire(data["frames"][4])], [member], CONTEXT)[0][0]
    again = mace.train({**job, "seconds": 1.0}, CONTEXT)  # no time for another epoch: the same model again
    assert mace.progress(tmp_path) == done
    assert (again["finished"], again["metrics"]) == (False, result["metrics"])


@pytest.mark.full
def test_a_training_ends_when_nothing_improves(data: Wire, tmp_path: Path) -> None:  # noqa: F811
    """Also where the loss stands still from the first epoch on: the patience is counted over a restart."""
    plateau = {**TINY, "max_num_epochs": 200, "swa": False, "ema": False, "lr": 1e-30, "patience": 4}
    job = make_job(data, tmp_path, plateau)
    result = mace.train({**job, "seconds": None}, CONTEXT)
    epochs = mace.progress(tmp_path)
    assert result["finished"] is True
    assert len({epoch["valid_loss"] for epoch in epochs}) == 1
    assert [epoch["epoch"] for epoch in epochs] == [0, 1, 2, 3, 4]


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["plateau", "falling"])
def test_killed_at_any_moment(data: Wire, tmp_path: Path, kind: str) -> None:  # noqa: F811
    """Six kills at random: there is always a checkpoint that loads, and each costs one epoch at most."""
    torch = pytest.importorskip("torch")
    flat = {"lr": 1e-30, "ema": False} if kind == "plateau" else {}
    config = {**TINY, "max_num_epochs": 120, "start_swa": 60, **flat}
    whole = mace.train(make_job(data, tmp_path / "whole", config), CONTEXT)
    job = make_job(data, tmp_path / "work", config)
    (tmp_path / "payload.json").write_text(json.dumps({"job": job, "context": CONTEXT}))
    draw, kills = random.Random(kind), 0
    for _ in range(6):
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path / "payload.json")])
        begun = len(mace.progress(tmp_path / "work"))
        while len(mace.progress(tmp_path / "work")) <= begun and worker.poll() is None:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.8))
        kills += worker.poll() is None
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        time.sleep(0.3)
        done = mace.progress(tmp_path / "work")[-1]["epoch"]
        last = torch.load(tmp_path / "work" / "checkpoints" / "last.pt", weights_only=True)
        assert last["epoch"] in (done, done - 1)
    result = mace.train(job, CONTEXT)
    assert kills >= 3, "the training was over too soon"
    assert Path(result["weights"][0]).read_bytes() == Path(whole["weights"][0]).read_bytes()
    assert mace.progress(tmp_path / "work") == mace.progress(tmp_path / "whole")
