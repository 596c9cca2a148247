"""Checkpoints for MACE's trainer from which it goes on exactly as if nothing had happened.

MACE 0.3.16 deletes the old checkpoint before it writes the new one and writes only when the validation loss improves;
told to keep them all, it delivers the last epoch instead of the best. A restart trains the saved epoch once more,
from the averaged weights, with the average, the order of the data and the best loss forgotten. So psiflow stands in
for its `CheckpointHandler`: every epoch is saved with all of that, in a file that is replaced whole, and the best
ones are kept beside it.

A validation loss is compared with those of the same stage only, since the two stages have different losses. The best
epoch of the second stage is the best of the training as soon as there is one with a validation loss.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import atomic_file
from psiflow_cli.models.mace.trainer.internals import TrainerParts, TrainerState
from psiflow_cli.worker.training import phase
from psiflow_cli.worker.training.early_stopping import Stopping, StoppingState, TrainingDone

if TYPE_CHECKING:
    import torch
    from mace.tools import CheckpointState

    from psiflow_cli.models.mace.mace_internals import LogEntry

LAST = "last.pt"
BEST = ("best.pt", "best-stage-two.pt")


class _Saved(TrainerState):
    """A checkpoint."""

    epoch: int
    stage: int
    valid_loss: float
    best: list[float]  # the lowest validation loss of each stage
    model: dict[str, torch.Tensor]
    optimizer: dict[str, object]
    lr_scheduler: dict[str, object]
    stopping: StoppingState


class Checkpoints:
    """What `mace.cli.run_train` expects of `mace.tools.CheckpointHandler`.

    `stopping` ends the training early. `deliver` gets the model whenever an epoch is the best so far, and that epoch
    and its stage (0 or 1). After the training, `epoch` and `stage` are those of the weights that were asked for last.
    """

    def __init__(
        self, directory: str, tag: str, keep: bool = False, swa_start: int | None = None, *,
        stopping: Stopping, deliver: Callable[[torch.nn.Module, int, int], None],
    ) -> None:  # fmt: skip
        self._folder = Path(directory)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._stopping, self._deliver = stopping, deliver
        self._swa_start = math.inf if swa_start is None else swa_start
        self._resumed: _Saved | None = None
        self._best = [math.inf, math.inf]
        self._losses: dict[str, float] = {}  # of the last epoch, by head
        self._parts: TrainerParts
        self._trained = self._is_enough = self._validated = self.is_finished = False
        self.stage = self.epoch = 0
        self.valid_loss = math.nan  # of the last epoch that has one

    def load_latest(
        self, state: CheckpointState, swa: bool = False, device: torch.device | None = None, strict: bool = False
    ) -> int | None:
        """Before the training, the epoch to begin with; after it, the epoch of the best weights, now in `state`."""
        path = self._folder / LAST
        if self._trained:
            candidates = [self._folder / name for name in (BEST[swa], BEST[0], LAST)]
            path = next(candidate for candidate in candidates if candidate.is_file())
        elif not path.is_file():
            return None
        saved = self._read(path, device)
        state.model.load_state_dict(saved["model"], strict=strict)
        state.optimizer.load_state_dict(saved["optimizer"])
        state.lr_scheduler.load_state_dict(saved["lr_scheduler"])
        if self._trained:
            self.epoch, self.stage = int(saved["epoch"]), saved["stage"]
            return self.epoch
        self._resumed = saved
        return int(saved["epoch"]) + 1

    def _read(self, path: Path, device: torch.device | None) -> _Saved:
        import torch

        try:
            saved = torch.load(path, map_location=device, weights_only=True)
            # earlier checkpoints of psiflow do not say it
            saved.setdefault("stage", int(saved["swa"] is not None and saved["epoch"] >= self._swa_start))
            return cast("_Saved", saved)
        except Exception as error:
            # MACE would take an exception for "no checkpoint" and begin again without a word.
            raise SystemExit(f"RuntimeError: {path}: unreadable checkpoint: {error}") from None

    def begin(self, parts: TrainerParts) -> None:
        """Take hold of the trainer's parts, and put back what MACE's checkpoints lack."""
        phase.begin(self._folder.parent, "training")
        self._parts = parts
        saved = self._resumed
        if saved is None:
            return
        self.stage, self.valid_loss, self._best = saved["stage"], saved["valid_loss"], saved["best"]
        with self._judging():
            self._stopping.resume(saved["stopping"])
        parts.put_back(saved)

    def see(self, entry: LogEntry) -> None:
        """Note the epoch, and the validation loss, of what the trainer has measured."""
        epoch = entry.get("epoch")
        if epoch is None:  # MACE's look at the model before the first epoch
            self._stopping.mark()
            return
        if epoch != self.epoch:
            self._losses.clear()
        self.epoch = epoch
        if entry.get("mode") == "eval":
            self._losses[entry.get("head", "")] = float(entry["loss"])
            # MACE itself would look at the last head only
            self.valid_loss, self._validated = sum(self._losses.values()) / len(self._losses), True

    def save(self, state: CheckpointState, epochs: int, keep_last: bool = False) -> None:
        """Save the finished epoch; `state` holds the averaged weights if there is an average."""
        import torch

        improved = self._validated and self.valid_loss < self._best[self.stage]
        if improved:
            self._best[self.stage] = self.valid_loss
        self._stopping.epoch(improved if self._validated else None)
        self._validated = False
        content: _Saved = {
            "epoch": epochs, "stage": self.stage, "valid_loss": self.valid_loss, "best": self._best,
            "model": state.model.state_dict(), "optimizer": state.optimizer.state_dict(),
            "lr_scheduler": state.lr_scheduler.state_dict(), "stopping": self._stopping.state(),
            **self._parts.state(),
        }  # fmt: skip
        buffer = io.BytesIO()
        torch.save(content, buffer)
        self._folder.mkdir(exist_ok=True)
        for name in [BEST[self.stage]] * improved + [LAST]:
            atomic_file.write(self._folder / name, buffer.getbuffer())
        if improved:
            self._deliver(state.model, epochs, self.stage)
        with self._judging():
            self._stopping.check()

    def is_over(self, device: torch.device | None) -> bool:
        """Whether no epoch of this stage is to follow; of several processes with a `device` each, the first decides."""
        if device is None:
            return self._is_enough
        import torch

        flags = torch.tensor([self._is_enough, self._stopping.out_of_time], dtype=torch.uint8, device=device)
        torch.distributed.broadcast(flags, src=0)
        self._is_enough, self._stopping.out_of_time = map(bool, flags.tolist())
        return self._is_enough

    def is_out_of_time(self) -> bool:
        """Whether the clock, and not the patience, ends the training."""
        return self._stopping.out_of_time

    def next_stage(self) -> None:
        """The next epoch has another loss."""
        self.stage += 1
        self._is_enough = False
        self._stopping.begin_stage()

    @contextmanager
    def _judging(self) -> Iterator[None]:
        try:
            yield
        except TrainingDone:
            self._is_enough = True

    def finish(self, complete: bool) -> None:
        """From now on, `load_latest` gives the best weights; `complete`: no epoch is left to train."""
        phase.begin(self._folder.parent, "delivering")
        self._trained = True
        self.is_finished = complete or not self._stopping.out_of_time
