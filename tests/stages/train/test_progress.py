"""What the progress line of a training says: of which member, in which phase, with which numbers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli.console import Verbosity
from psiflow_cli.stages.train import epoch_text
from psiflow_cli.stages.train.committee import Member
from psiflow_cli.stages.train.progress import Watch
from psiflow_cli.worker.training import phase
from tests.stages.train import slow_family

NUMBERS = {
    "epoch": 3, "loss": 0.01234, "valid_loss": 12.34, "lr": 0.001, "stage": 2, "rmse_e_meV_per_atom": 1234.5,
    "mae_e_meV_per_atom": 1.0, "rmse_f_meV_per_A": 45.678,
}  # fmt: skip


def test_the_numbers_of_an_epoch_with_their_units() -> None:
    assert epoch_text.parts(NUMBERS) == [
        "E 1234 meV/atom", "F 45.7 meV/Å", "stage two", "loss 0.0123", "validation loss 12.3", "lr 0.001",
    ]  # fmt: skip
    assert epoch_text.parts({"loss": None, "valid_loss": 1.0, "mae_f_meV_per_A": 5.0}) == [
        "F MAE 5 meV/Å", "validation loss 1",
    ]  # fmt: skip
    assert epoch_text.parts({}) == []


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Two members in tmp_path/0 and tmp_path/1, of which an earlier run has trained the second for an epoch."""
    monkeypatch.setattr(Verbosity, "verbose", 1)
    members: list[Any] = [SimpleNamespace(index=index, folder=tmp_path / str(index)) for index in range(2)]
    for member in members:
        member.folder.mkdir()
    phase.begin(members[1].folder, "delivering")
    finish(members[1], loss=9.0)
    run = SimpleNamespace(journal=SimpleNamespace(append=lambda unit: None))
    workspace: Any = SimpleNamespace(run=run, job=SimpleNamespace(executor=None))
    module: Any = slow_family
    watch = Watch(module, workspace, members, "0" * 16, 3)
    watch.members = members  # type: ignore[attr-defined]
    return watch


def finish(member: Member, **numbers: float) -> None:
    with (member.folder / "epochs.jsonl").open("a") as file:
        file.write(json.dumps(numbers) + "\n")


def test_each_member_is_shown_with_its_own_numbers(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = watch.members  # type: ignore[attr-defined]
    line = watch._progress

    def told() -> list[str]:
        watch.tick(now=True)
        return line.details

    assert told() == ["starting", "loss 9"], "what an earlier run left was no start of this one"
    phase.begin(first.folder, "preparing")
    assert told() == ["preparing", "member 0"]
    phase.begin(first.folder, "training")
    finish(first, loss=5.0, lr=0.1)
    assert told() == ["member 0", "loss 5", "lr 0.1"]
    phase.begin(second.folder, "training")
    assert told() == ["member 1", "loss 9"]
    finish(second, loss=4.0)
    phase.begin(second.folder, "delivering")
    assert told() == ["delivering", "member 1", "loss 4"]
    assert line.line(200).startswith("epochs 3/6, ")
    assert [text.removeprefix("psiflow: ") for text in capsys.readouterr().err.splitlines()] == [
        "member 0: preparing", "member 0: training", "member 1: training", "member 1: delivering",
    ]  # fmt: skip
