"""Checkpoints from which NequIP's trainer goes on exactly as if nothing had happened.

Lightning 2.6's own are whole, but written before the learning rate of a plateau is updated, and NequIP 0.19.1 sets the
order of the data back to that of the first epoch when it goes on, and forgets a schedule of the loss. So each epoch is
saved once the scheduler has had its turn, in a file that is replaced whole, and these are put back. On one thread the
loss curve and the weights are then those of an uninterrupted training, to the last bit. They are NequIP's own
checkpoints, and `nequip-train` takes them.
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from psiflow_cli import atomic_file
from psiflow_cli.models.nequip import nequip_internals
from psiflow_cli.models.nequip.files import BEST, EPOCHS, LAST
from psiflow_cli.worker.training.early_stopping import Stopping, StoppingState, TrainingDone

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from nequip.train import NequIPLightningModule

    from psiflow_cli.messages import Epoch

KEY = "psiflow"
"""Where a checkpoint has what psiflow adds."""


class Added(TypedDict):
    """What psiflow adds to a checkpoint."""

    best: float
    """The lowest value of the metric that tells the best epoch, or its highest, negated."""
    stopping: StoppingState
    metrics: Epoch
    coefficients: dict[str, float]
    """Of the parts of the loss."""
    ended: bool
    """Nothing is left to train."""


class Epochs:
    """The hooks of a Lightning callback; mixed with `lightning.pytorch.callbacks.Checkpoint` it runs after all others.

    `monitor` names the metric whose lowest value, or `highest`, is the best; `best` is that of the epochs before, as in
    `Added`. Of several processes the first one writes, and decides when to stop.

    The loss of the training itself is another one after its coefficients were changed by a schedule: its values before
    and after are not compared. The validation has coefficients of its own.
    """

    def __init__(self, monitor: str, highest: bool, stopping: Stopping, best: float = math.inf) -> None:
        self._monitor = monitor
        self._sign = -1.0 if highest else 1.0
        self._coefficients: dict[str, float] | None = None
        self._stopping = stopping
        self._best = best
        self._content: dict[str, object] | None = None
        self._added: Added
        self._improved = self._is_last = False

    def on_load_checkpoint(self, trainer: Trainer, module: NequIPLightningModule, checkpoint: dict[str, Added]) -> None:
        """Put back the order of the data, which NequIP has read and forgets, and what a schedule made of the loss."""
        nequip_internals.restore_order(trainer)
        self._coefficients = checkpoint[KEY]["coefficients"]
        nequip_internals.set_coefficients(module, self._coefficients)

    def on_fit_start(self, trainer: Trainer, module: NequIPLightningModule) -> None:
        """Look at the clock."""
        self._stopping.mark()

    def on_train_epoch_end(self, trainer: Trainer, module: NequIPLightningModule) -> None:
        """Take the state of the finished epoch, and ask for an end where it was the last one that fits."""
        # what the trainer's own settings end is at its end, whatever the time
        self._is_last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        is_enough = trainer.is_global_zero and self._take(trainer, module)
        trainer.should_stop = trainer.should_stop or trainer.strategy.broadcast(is_enough)

    def _take(self, trainer: Trainer, module: NequIPLightningModule) -> bool:
        """Note the epoch and its state; whether it is to be the last one."""
        loss = float(trainer.callback_metrics.get(self._monitor, math.nan))
        metrics = nequip_internals.epoch(trainer, loss)
        with Path(EPOCHS).open("a") as file:
            file.write(json.dumps(metrics) + "\n")
        coefficients = nequip_internals.coefficients(module)
        if self._monitor.startswith("train_loss") and self._coefficients not in (None, coefficients):
            self._best = math.inf
        self._coefficients = coefficients
        value = self._sign * loss
        self._improved = value < self._best
        self._best = value if self._improved else self._best
        self._content = nequip_internals.state(trainer)
        self._stopping.epoch(self._improved)
        self._added = {
            "best": self._best,
            "stopping": self._stopping.state(),
            "metrics": metrics,
            "coefficients": coefficients,
            "ended": False,
        }
        try:
            self._stopping.check()
        except TrainingDone:
            return True
        return False

    def on_train_epoch_start(self, trainer: Trainer, module: NequIPLightningModule) -> None:
        """The learning rate of the next epoch is known: the last one is saved."""
        self._save(trainer, ended=False)

    def on_train_end(self, trainer: Trainer, module: NequIPLightningModule) -> None:
        """Save the last epoch."""
        self._save(trainer, ended=self._is_last or not self._stopping.out_of_time)

    def _save(self, trainer: Trainer, ended: bool) -> None:
        import torch

        if self._content is None:
            return
        now = nequip_internals.state(trainer)
        content = {**self._content, **{key: now[key] for key in ("optimizer_states", "lr_schedulers")}}
        content[KEY] = {**self._added, "ended": ended}
        self._content = None
        buffer = io.BytesIO()
        torch.save(content, buffer)
        Path(LAST).parent.mkdir(exist_ok=True)
        for name in [BEST] * self._improved + [LAST]:
            atomic_file.write(Path(name), buffer.getbuffer())


def read(path: Path) -> Added:
    """What psiflow has added to a checkpoint. Raises SystemExit for one that cannot be read."""
    import torch

    try:
        return cast("Added", torch.load(path, map_location="cpu", weights_only=False)[KEY])
    except Exception as error:
        raise SystemExit(f"RuntimeError: {path}: unreadable checkpoint: {error}") from None
