"""Which epoch NequIP's trainer delivers, on sequences of metrics that are made by hand."""

from __future__ import annotations

import math
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli.models.nequip import checkpoints, nequip_internals, settings
from psiflow_cli.models.nequip.files import BEST, LAST
from psiflow_cli.worker.training.early_stopping import Stopping

pytest.importorskip("torch", reason="torch is not installed")

VALID, TRAIN = "val0_epoch/weighted_sum", "train_loss_epoch/weighted_sum"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`run(values, ...)`: a training whose monitored metric has these values; returns what its last epoch saved."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(nequip_internals, "state", lambda trainer: {"optimizer_states": 0, "lr_schedulers": 0})
    monkeypatch.setattr(nequip_internals, "coefficients", lambda module: dict(module.coefficients))
    monkeypatch.setattr(nequip_internals, "set_coefficients", lambda module, values: None)
    monkeypatch.setattr(nequip_internals, "restore_order", lambda trainer: None)

    def go(
        values: list[float], monitor: str = VALID, highest: bool = False, schedule: Any = None, *, start: int = 0,
        epochs: int | None = None, ends_at: int | None = None, until: float | None = None,
    ) -> checkpoints.Added:  # fmt: skip
        module: Any = SimpleNamespace(coefficients={"forces": 1.0})
        saved = checkpoints.read(Path(LAST)) if start else None
        callback = checkpoints.Epochs(monitor, highest, Stopping(until), saved["best"] if saved else math.inf)
        trainer: Any = SimpleNamespace(
            is_global_zero=True, should_stop=False, max_epochs=epochs or len(values), callback_metrics={},
            optimizers=[SimpleNamespace(param_groups=[{"lr": 0.01}])],
            strategy=SimpleNamespace(broadcast=lambda value: value),
        )  # fmt: skip
        if saved:
            callback.on_load_checkpoint(trainer, module, {checkpoints.KEY: saved})
        callback.on_fit_start(trainer, module)
        for epoch in range(start, len(values)):
            trainer.current_epoch = epoch
            callback.on_train_epoch_start(trainer, module)
            for first, coefficients in (schedule or {}).items():
                if epoch >= first:
                    module.coefficients = coefficients
            trainer.callback_metrics = {monitor: values[epoch]}
            trainer.should_stop = epoch == ends_at
            callback.on_train_epoch_end(trainer, module)
            if trainer.should_stop:
                break
        callback.on_train_end(trainer, module)
        return checkpoints.read(Path(LAST))

    return go


def best() -> int:
    return checkpoints.read(Path(BEST))["metrics"]["epoch"]


@pytest.mark.parametrize(
    ("values", "more", "epoch"),
    [
        ([3.0, 1.0, 2.0], {}, 1),
        ([math.nan, 3.0, math.nan, 2.0, math.nan], {}, 3),
        ([1.0, 3.0, 2.0], {"highest": True}, 1),  # such as a ModelCheckpoint with mode: max
        ([3.0, 1.0, 70.0, 60.0], {"monitor": TRAIN, "schedule": {2: {"forces": 50.0}}}, 3),  # another loss
        ([3.0, 1.0, 70.0, 60.0], {"schedule": {2: {"forces": 50.0}}}, 1),  # the validation is what it was
    ],
)
def test_the_best_epoch_is_kept_also_over_a_restart(run: Any, values: list[float], more: Any, epoch: int) -> None:
    run(values, **more)
    assert best() == epoch
    for start in range(1, len(values)):
        for path in (BEST, LAST):
            Path(path).unlink(missing_ok=True)
        run(values[:start], **more)
        run(values, start=start, **more)
        assert best() == epoch


def test_what_is_at_its_end_is_finished_whatever_the_time(run: Any) -> None:
    assert run([1.0, 2.0], until=time.time(), epochs=2)["ended"] is False  # one epoch of two
    assert run([1.0, 2.0], start=1, until=time.time())["ended"] is True
    assert run([1.0, 2.0, 3.0], until=time.time(), ends_at=0)["ended"] is True  # such as by EarlyStopping


def test_the_metric_is_that_of_the_user(tmp_path: Path) -> None:
    keeper = {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "monitor": "${m}", "mode": "max"}
    plateau = {"scheduler": {"mode": "max"}, "monitor": "val0_epoch/r2"}
    for config, metric, highest in (
        ({"m": "val0_epoch/r2", "trainer": {"callbacks": [{"_target_": "a.B"}, keeper]}}, "val0_epoch/r2", True),
        ({"training_module": {"lr_scheduler": plateau}}, "val0_epoch/r2", True),
        ({"training_module": {"lr_scheduler": {"monitor": TRAIN}}}, TRAIN, False),
        ({}, VALID, False),
    ):
        assert (settings.monitor(config), settings.is_highest_best(config)) == (metric, highest)
