"""Which epoch of which stage MACE's trainer delivers, on sequences of losses that are made by hand.

A stand-in for `mace.tools.train` does what that does with epochs, stages, learning rates and `eval_interval`, on a
model of one number: the number of the epoch that its weights are of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from psiflow_cli.models.mace.trainer import internals
from psiflow_cli.models.mace.trainer.checkpoints import Checkpoints
from psiflow_cli.worker.training.early_stopping import Stopping

torch: Any = pytest.importorskip("torch", reason="torch is not installed")


class Killed(Exception):
    pass


class Scheduler:
    """Counts its steps, as a learning rate would."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, metrics: float = 0.0) -> None:
        self.steps += 1

    def state_dict(self) -> dict[str, int]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


def train_as_mace_does(losses: Callable[[int, int], float], killed_at: int, order: list[tuple[int, int, int]]) -> Any:
    """`mace.tools.train`; `losses(stage, epoch)` are those of the validation."""

    def train(**given: Any) -> None:
        its = SimpleNamespace(**given)
        assert its.patience > 10**9
        its.logger.log({"mode": "eval", "epoch": None, "loss": 9.0})
        valid_loss = 9.0
        for epoch in range(its.start_epoch, its.max_num_epochs):
            stage = int(its.swa is not None and epoch >= its.swa.start)
            if epoch > its.start_epoch:
                (its.swa.scheduler if stage else its.lr_scheduler).step(**({} if stage else {"metrics": valid_loss}))
            for _ in its.train_loader:
                if epoch == killed_at:
                    raise Killed
                its.model.weight.data.fill_(float(epoch))
                its.logger.log({"mode": "opt", "epoch": epoch, "loss": 1.0})
            order.append((epoch, stage, (its.swa.scheduler if stage else its.lr_scheduler).steps))
            if epoch % its.eval_interval == 0:
                valid_loss = losses(stage, epoch)
                its.logger.log({"mode": "eval", "epoch": epoch, "loss": valid_loss})
                state = SimpleNamespace(model=its.model, optimizer=its.optimizer, lr_scheduler=its.lr_scheduler)
                its.checkpoint_handler.save(state=state, epochs=epoch, keep_last=True)

    return train


class Run(SimpleNamespace):
    finished: bool
    delivered: list[tuple[int, int]]  # epoch and stage of each model that was the best so far
    order: list[tuple[int, int, int]]  # epoch, stage, steps of the learning rate of its stage
    best: tuple[int, int]
    weights: float


def run(
    folder: Path, losses: Any, *, epochs: int = 10, start_swa: int | None = 6, patience: int | None = None,
    every: int = 1, killed_at: int = -1, until: float | None = None,
) -> Run:  # fmt: skip
    """One process of a training, which goes on where an earlier one in this folder ended."""
    model, loader = torch.nn.Linear(1, 1, bias=False), SimpleNamespace(generator=torch.Generator())
    optimizer, order, delivered = torch.optim.SGD(model.parameters()), [], []
    batches = type("Loader", (list,), {"generator": loader.generator})([0])
    swa = None if start_swa is None else SimpleNamespace(start=start_swa, scheduler=Scheduler())
    stopping = Stopping(until, patience)
    handler = Checkpoints(
        str(folder), "tag", False, start_swa or 2,
        stopping=stopping, deliver=lambda model, epoch, stage: delivered.append((epoch, stage)),
    )  # fmt: skip
    state: Any = SimpleNamespace(model=model, optimizer=optimizer, lr_scheduler=Scheduler())
    start = handler.load_latest(state, swa=True) or 0
    arguments = {
        "checkpoint_handler": handler, "logger": SimpleNamespace(log=lambda entry: None), "train_loader": batches,
        "device": "cpu", "distributed": False, "ema": None, "swa": swa, "lr_scheduler": state.lr_scheduler, "rank": 0,
        "start_epoch": start, "max_num_epochs": epochs, "patience": patience or 2048, "eval_interval": every,
        "model": model, "optimizer": optimizer, "save_all_checkpoints": False,
    }  # fmt: skip
    try:
        internals._staged(train_as_mace_does(losses, killed_at, order))(**arguments)
    except Killed:
        return Run(order=order, delivered=delivered)
    handler.load_latest(state, swa=False)
    handler.load_latest(state, swa=swa is not None)
    best = (handler.epoch, handler.stage)
    return Run(order=order, delivered=delivered, best=best, weights=model.weight.item(), finished=handler.is_finished)


def by_stage(first: list[float], second: list[float] | None = None) -> Any:
    """Losses of each stage by how far it is; the last one stands for all that follow."""

    def loss(stage: int, epoch: int) -> float:
        values = second if stage and second else first
        begun = 0 if not stage else loss.began.setdefault("epoch", epoch)  # type: ignore[attr-defined]
        return values[min(epoch - begun, len(values) - 1)]

    loss.began = {}  # type: ignore[attr-defined]
    return loss


FALLING, RISING = [1.0, 0.5, 0.4, 0.3, 0.2, 0.1], [50.0, 40.0, 45.0]
"""The second stage has the larger loss: its weight of the energy is a thousand times that of the first."""


@pytest.mark.parametrize(
    ("first", "second", "more", "best"),
    [
        (FALLING, RISING, {}, (7, 1)),  # each stage runs its course
        ([1.0, 0.5, 0.6], RISING, {"patience": 2}, (8, 1)),  # one goes over early, as MACE does, at 6 + 1
        ([1.0, 0.5, 0.6], [50.0], {"patience": 2, "epochs": 7}, (6, 1)),  # MACE would have no epoch left
        ([1.0, 0.5, 0.6], [50.0, 60.0], {"patience": 2}, (7, 1)),
        (FALLING, RISING, {"start_swa": None}, (5, 0)),  # no second stage, whatever start_swa says
        (FALLING, RISING, {"start_swa": 10}, (5, 0)),  # it begins after the end
        (FALLING, RISING, {"start_swa": 20, "patience": 2}, (5, 0)),
        (FALLING, [math.nan], {}, (5, 0)),  # nothing of it can be compared
        ([math.nan, 0.5, math.nan, 0.7], [math.nan, 40.0, math.nan], {}, (7, 1)),
        ([math.nan, 0.5, math.nan, 0.7], [50.0], {"start_swa": None}, (1, 0)),
        (FALLING, RISING, {"every": 2, "start_swa": 5}, (8, 1)),
        (FALLING, RISING, {"every": 4, "epochs": 8, "start_swa": 5}, (4, 0)),  # no epoch of it is validated
    ],
)
def test_the_best_epoch_of_the_last_stage_that_has_one(
    tmp_path: Path, first: list[float], second: list[float], more: Any, best: tuple[int, int]
) -> None:
    done = run(tmp_path, by_stage(first, second), **more)
    assert done.best == done.delivered[-1] == best
    assert done.weights == best[0], "the facts are of other weights"
    assert done.finished


@pytest.mark.parametrize("more", [{}, {"patience": 2}, {"every": 3}, {"every": 3, "patience": 2}])
@pytest.mark.parametrize("first", [FALLING, [1.0, 0.5, 0.6]])
def test_a_kill_at_any_epoch_changes_nothing(tmp_path: Path, first: list[float], more: Any) -> None:
    """Neither the epochs of each stage, nor their learning rates, nor what is delivered; and no epoch is lost."""
    whole = run(tmp_path / "whole", by_stage(first, RISING), **more)
    for epoch, *_ in whole.order:
        losses = by_stage(first, RISING)
        begun = run(tmp_path / str(epoch), losses, killed_at=epoch, **more)
        rest = run(tmp_path / str(epoch), losses, **more)
        assert begun.order + rest.order == whole.order
        assert (rest.best, rest.weights, rest.finished) == (whole.best, whole.weights, True)


def test_a_stage_change_stops_where_the_time_is_up(tmp_path: Path) -> None:
    """The second stage does not begin after the end; what was delivered is the best of the first."""
    import time

    losses = by_stage(FALLING, RISING)
    run(tmp_path, losses, killed_at=6)
    done = run(tmp_path, losses, until=time.time())
    assert (done.order, done.best, done.weights, done.finished) == ([], (5, 0), 5.0, False)
    assert run(tmp_path, losses).best == (7, 1)


def test_time_that_is_up_after_the_last_epoch_leaves_a_finished_training(tmp_path: Path) -> None:
    import time

    run(tmp_path, by_stage(FALLING, RISING))
    assert run(tmp_path, by_stage(FALLING, RISING), until=time.time()).finished
