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
from typing import Any

from psiflow_cli import atomic_file
from psiflow_cli.models.nequip.files import BEST, EPOCHS, LAST
from psiflow_cli.worker.models.early_stopping import Enough, Stopping

KEY = "psiflow"
"""Where a checkpoint has what psiflow adds: the best loss so far, coefficients of the loss, and more."""
_METRICS = {
    "per_atom_energy_rmse": "rmse_e_meV_per_atom",
    "per_atom_energy_mae": "mae_e_meV_per_atom",
    "forces_rmse": "rmse_f_meV_per_A",
    "forces_mae": "mae_f_meV_per_A",
    "stress_rmse": "rmse_stress_meV_per_A3",
    "stress_mae": "mae_stress_meV_per_A3",
}
"""NequIP's metrics of the validation set, in eV and Å, and our names for them."""


class Epochs:
    """The hooks of a Lightning callback; mixed with `lightning.pytorch.callbacks.Checkpoint` it runs after all others.

    `monitor` names the metric whose lowest value is the best; `best` is that of the epochs before. Of several processes
    the first one writes, and decides when to stop.
    """

    def __init__(self, monitor: str, stopping: Stopping, best: float = math.inf) -> None:
        self._monitor = monitor
        self._stopping = stopping
        self._best = best
        self._content: dict[str, Any] | None = None
        self._improved = False

    def on_load_checkpoint(self, trainer: Any, module: Any, checkpoint: dict[str, Any]) -> None:
        """Put back the order of the data, which NequIP has read and forgets, and what a schedule made of the loss."""
        data = trainer.datamodule
        data.train_generator.set_state(data.train_generator_state)
        for name, coefficient in checkpoint[KEY]["coefficients"].items():
            module.loss.entries[name].coeff = coefficient

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        """Look at the clock."""
        self._stopping.mark()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Take the state of the finished epoch, and ask for an end where it was the last one that fits."""
        done = trainer.is_global_zero and self._take(trainer, module)
        trainer.should_stop = trainer.should_stop or trainer.strategy.broadcast(done)

    def _take(self, trainer: Any, module: Any) -> bool:
        """Note the epoch and its state; whether it is to be the last one."""
        loss = float(trainer.callback_metrics.get(self._monitor, math.nan))
        metrics = _metrics(trainer, loss)
        with Path(EPOCHS).open("a") as file:
            file.write(json.dumps(metrics) + "\n")
        self._improved = loss < self._best
        self._best = min(self._best, loss) if self._improved else self._best
        self._content = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        self._stopping.epoch(self._improved)
        self._content[KEY] = {
            "best": self._best,
            "stopping": self._stopping.state(),
            "metrics": metrics,
            "coefficients": {name: entry.coeff for name, entry in module.loss.entries.items()},
        }
        try:
            self._stopping.check(last_stage=True)
        except Enough:
            return True
        return False

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """The learning rate of the next epoch is known: the last one is saved."""
        self._save(trainer, ended=False)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """Save the last epoch."""
        self._save(trainer, ended=not self._stopping.out_of_time)

    def _save(self, trainer: Any, ended: bool) -> None:
        import torch

        if self._content is None:
            return
        now = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        content = {**self._content, **{key: now[key] for key in ("optimizer_states", "lr_schedulers")}}
        content[KEY]["ended"] = ended
        self._content = None
        buffer = io.BytesIO()
        torch.save(content, buffer)
        for name in [BEST] * self._improved + [LAST]:
            atomic_file.write(Path(name), buffer.getbuffer())


def _metrics(trainer: Any, loss: float) -> dict[str, Any]:
    """One line of `epochs.jsonl`."""
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    named = {ours: 1e3 * found.get(f"val0_epoch/{name}", math.nan) for name, ours in _METRICS.items()}
    line = {"epoch": int(trainer.current_epoch), "loss": found.get("train_loss_epoch/weighted_sum"), "valid_loss": loss}
    return {**line, **{name: value for name, value in named.items() if math.isfinite(value)}}


def read(path: Path) -> dict[str, Any]:
    """What psiflow has added to a checkpoint. Raises SystemExit for one that cannot be read."""
    import torch

    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)[KEY]
    except Exception as error:
        raise SystemExit(f"RuntimeError: {path}: unreadable checkpoint: {error}") from None
    return saved
