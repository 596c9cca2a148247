"""Checkpoints for MACE's trainer from which it goes on exactly as if nothing had happened.

MACE 0.3.16 deletes the old checkpoint before it writes the new one and writes only when the validation loss improves;
told to keep them all, it delivers the last epoch instead of the best. A restart trains the saved epoch once more,
from the averaged weights, with the average, the order of the data and the best loss forgotten. So psiflow stands in
for its `CheckpointHandler`: every epoch is saved with all of that, in a file that is replaced whole, and the best
ones are kept beside it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from psiflow_cli import atomic_file
from psiflow_cli.models.mace.mace_internals import LogEntry, TrainerParts, TrainerState
from psiflow_cli.worker.training.early_stopping import Stopping, StoppingState, TrainingDone

if TYPE_CHECKING:
    import torch
    from mace.tools import CheckpointState

LAST = "last.pt"
BEST = ("best.pt", "best-stage-two.pt")


class _Saved(TrainerState):
    """A checkpoint."""

    epoch: int
    valid_loss: float
    best: list[float]  # the lowest validation loss of each stage
    model: dict[str, torch.Tensor]
    optimizer: dict[str, object]
    lr_scheduler: dict[str, object]
    stopping: StoppingState


class Checkpoints:
    """What `mace.cli.run_train` expects of `mace.tools.CheckpointHandler`.

    The epochs whose weights it gave out after the training are noted in `delivered`; `stopping` ends it early.
    """

    def __init__(
        self, directory: str, tag: str, keep: bool = False, swa_start: int | None = None, *, delivered: list[int],
        stopping: Stopping,
    ) -> None:  # fmt: skip
        self._folder = Path(directory)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._delivered = delivered
        self.stopping = stopping
        self._swa_start = math.inf if swa_start is None else swa_start
        self._resumed: _Saved | None = None
        self._best = [math.inf, math.inf]
        self._valid_loss = math.nan
        self._parts: TrainerParts
        self._trained = False
        self.is_enough = False  # whether the training is to end before its next epoch

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
            self._delivered.append(int(saved["epoch"]))
            return self._delivered[-1]
        self._resumed = saved
        return int(saved["epoch"]) + 1

    def _read(self, path: Path, device: torch.device | None) -> _Saved:
        import torch

        try:
            return cast("_Saved", torch.load(path, map_location=device, weights_only=True))
        except Exception as error:
            # MACE would take an exception for "no checkpoint" and begin again without a word.
            raise SystemExit(f"RuntimeError: {path}: unreadable checkpoint: {error}") from None

    def begin(self, parts: TrainerParts, start: int) -> None:
        """Take hold of the trainer's parts, and put back what MACE's checkpoints lack."""
        self._parts = parts
        saved = self._resumed
        if saved is None:
            return
        with self._judging():
            self.stopping.resume(saved["stopping"])
        self._best = saved["best"]
        parts.put_back(saved, saved["valid_loss"], start)

    def see(self, entry: LogEntry) -> None:
        """Note the validation loss among what the trainer has measured."""
        if entry.get("mode") != "eval":
            return
        if entry.get("epoch") is None:  # MACE's look at the model before the first epoch
            self.stopping.mark()
        else:
            self._valid_loss = float(entry["loss"])

    def save(self, state: CheckpointState, epochs: int, keep_last: bool = False) -> None:
        """Save the finished epoch; `state` holds the averaged weights if there is an average."""
        import torch

        stage = int(epochs >= self._swa_start)
        improved = self._valid_loss < self._best[stage]
        if improved:
            self._best[stage] = self._valid_loss
        self.stopping.epoch(improved)
        content: _Saved = {
            "epoch": epochs, "valid_loss": self._valid_loss, "best": self._best,
            "model": state.model.state_dict(), "optimizer": state.optimizer.state_dict(),
            "lr_scheduler": state.lr_scheduler.state_dict(), "stopping": self.stopping.state(),
            **self._parts.state(),
        }  # fmt: skip
        buffer = io.BytesIO()
        torch.save(content, buffer)
        self._folder.mkdir(exist_ok=True)
        for name in [BEST[stage]] * improved + [LAST]:
            atomic_file.write(self._folder / name, buffer.getbuffer())
        with self._judging():
            self.stopping.check(last_stage=self._parts.swa is None or bool(stage))

    def is_over(self, device: torch.device | None) -> bool:
        """Whether no epoch is to follow; of several processes with a `device` each, the first one decides for all."""
        if device is None:
            return self.is_enough
        import torch

        flags = torch.tensor([self.is_enough, self.stopping.out_of_time], dtype=torch.uint8, device=device)
        torch.distributed.broadcast(flags, src=0)
        is_enough, self.stopping.out_of_time = map(bool, flags.tolist())
        return is_enough

    @contextmanager
    def _judging(self) -> Iterator[None]:
        try:
            yield
        except TrainingDone:
            self.is_enough = True

    def finish(self) -> None:
        """From now on, `load_latest` gives the best weights."""
        self._trained = True
