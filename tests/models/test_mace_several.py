"""Several GPUs in one training, played by processes of a CPU: they stop together, and go on together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from psiflow_cli.errors import UsageError
from psiflow_cli.models import mace
from psiflow_cli.models.mace import training
from tests.models import two_processes
from tests.models.test_mace import CONTEXT, SUMMARY, TINY, Wire, data, make_job  # noqa: F401

pytest.importorskip("mace", reason="mace-torch is not installed")


@pytest.fixture(scope="module")
def warm_mace() -> None:
    """No trainer starts here in the usual way."""


def test_a_task_with_two_gpus_starts_two_processes(data: Wire, tmp_path: Path, monkeypatch: Any) -> None:  # noqa: F811
    asked: list[list[str]] = []

    def run(argv: list[str], *_: Any, **__: Any) -> None:
        asked.append(argv)
        raise InterruptedError

    monkeypatch.setattr("psiflow_cli.worker.training.trainer_process.subprocesses.run", run)
    for context in ({"device": "cuda", "gpus": 2}, {"device": "cuda", "gpus": 1}, {"device": "cpu", "gpus": 2}):
        with pytest.raises(InterruptedError):
            mace.train(make_job(data, tmp_path, TINY), {**CONTEXT, **context})
        config = (tmp_path / "mace.yaml").read_text()
        several = context == {"device": "cuda", "gpus": 2}
        assert ("torchrun" in config) is several
        assert ("--nproc_per_node=2" in asked[-1]) is several


def test_each_gpu_has_batches_of_its_own() -> None:
    """MACE drops the validation frames that are left over, and trains on nothing where there are fewer than GPUs."""

    def plan(gpus: int, frames: int, valid: int, **options: str) -> Any:
        summary = {**SUMMARY, "frames": frames, "valid_frames": valid, "gpus": gpus}
        planned = mace.plan({}, options, summary)
        return planned["batch_size"], planned["max_num_epochs"], mace.notes(planned, summary)

    assert plan(1, 2000, 3)[:2] == (16, 160)
    batch, epochs, notes = plan(4, 2000, 43)
    assert (batch, epochs) == (5, 160)  # much as on one GPU
    assert notes == [
        "4 GPUs, each with batches of 5: 20 frames for a step; lr 0.01 is not scaled: set it if needed",
        "MACE validates on 40 of 43 frames: the same number on each GPU",
    ]
    assert plan(2, 3, 2, batch_size="1")[0] == plan(2, 3, 2)[0] == 1
    with pytest.raises(UsageError, match=r"batch_size 2 is larger than the share of each of 2 GPUs .* \(1 frame\)"):
        plan(2, 3, 2, batch_size="2")
    for frames, valid in ((3, 9), (9, 3)):
        with pytest.raises(UsageError, match=f"{frames} training and {valid} validation frames are too few for 4 GPUs"):
            plan(4, frames, valid)


@pytest.mark.full
def test_two_processes_stop_together_and_go_on(data: Wire, tmp_path: Path) -> None:  # noqa: F811
    """The clock of the first decides for both; later, with time enough, they train to the end."""
    job = make_job(data, tmp_path, {**TINY, "max_num_epochs": 4000, "start_swa": 3000, "batch_size": 2})
    training._prepare(tmp_path, job, CONTEXT)
    config = tmp_path / "mace.yaml"
    config.write_text(config.read_text() + 'distributed: true\nlauncher: "torchrun"\n')
    assert _together(tmp_path, 25)["finished"] is False
    done = mace.progress(tmp_path)
    assert 1 <= len(done) < 4000
    config.write_text(config.read_text().replace("4000", str(len(done) + 3)))
    assert _together(tmp_path, 300)["finished"] is True
    assert [epoch["epoch"] for epoch in mace.progress(tmp_path)] == list(range(len(done) + 3))


@pytest.mark.full
def test_two_processes_go_over_to_the_second_stage_together(data: Wire, tmp_path: Path) -> None:  # noqa: F811
    """MACE's own patience ends the first stage in the first process only, and the others wait for it for ever."""
    flat = {"ema": False, "lr": 1e-30, "swa_lr": 1e-30, "patience": 1, "batch_size": 2}
    job = make_job(data, tmp_path, {**TINY, "max_num_epochs": 10, "start_swa": 6, **flat})
    training._prepare(tmp_path, job, CONTEXT)
    config = tmp_path / "mace.yaml"
    config.write_text(config.read_text() + 'distributed: true\nlauncher: "torchrun"\n')
    facts = _together(tmp_path, 300)
    assert (facts["finished"], facts["epoch"], facts["stage"]) == (True, 7, 2)
    assert [epoch["epoch"] for epoch in mace.progress(tmp_path)] == [0, 1, 7, 8]


def _together(folder: Path, seconds: int) -> Any:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", two_processes.__file__]
    done = subprocess.run([sys.executable, *launcher, str(seconds)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "facts.json").read_text())
