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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from psiflow_cli import atomic_file
from psiflow_cli.worker.models.early_stopping import Enough, Stopping

LAST = "last.pt"
BEST = ("best.pt", "best-stage-two.pt")


class Checkpoints:
    """What `mace.cli.run_train` expects of `mace.tools.CheckpointHandler`.

    The epochs whose weights it gave out after the training are noted in `delivered`; `stopping` ends it early.
    """

    def __init__(
        self,
        directory: str,
        tag: str,
        keep: bool = False,
        swa_start: int | None = None,
        *,
        delivered: list[int],
        stopping: Stopping,
    ) -> None:
        self._folder = Path(directory)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._delivered = delivered
        self.stopping = stopping
        self._swa_start = math.inf if swa_start is None else swa_start
        self._resumed: dict[str, Any] = {}
        self._best = [math.inf, math.inf]
        self._valid_loss = math.nan
        self._parts: dict[str, Any] = {}
        self._trained = False
        self.is_enough = False
        """Whether the training is to end before its next epoch."""

    def load_latest(self, state: Any, swa: bool = False, device: Any = None, strict: bool = False) -> int | None:
        """Before the training, the epoch to begin with; after it, the epoch of the best weights, now in `state`."""
        path = self._folder / LAST
        if self._trained:
            kept = [self._folder / name for name in (BEST[swa], BEST[0], LAST)]
            path = next(p for p in kept if p.is_file())
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

    def _read(self, path: Path, device: Any) -> dict[str, Any]:
        import torch

        try:
            saved: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        except Exception as error:
            # MACE would take an exception for "no checkpoint" and begin again without a word.
            raise SystemExit(f"RuntimeError: {path}: unreadable checkpoint: {error}") from None
        return saved

    def begin(self, parts: dict[str, Any], start: int) -> None:
        """Take hold of the trainer's `ema`, `loader`, `scheduler` and `swa`, and put back what MACE's state lacks."""
        self._parts = parts
        saved = self._resumed
        if not saved:
            return
        with self._judging():
            self.stopping.resume(saved["stopping"])
        self._best = saved["best"]
        parts["loader"].generator.set_state(saved["shuffle"].cpu())
        if parts["ema"] is not None:
            parts["ema"].load_state_dict(saved["ema"])
            parts["ema"].restore()  # the checkpoint's model is the average
        # MACE steps the learning rate at the start of an epoch, but not of the first one after a restart.
        if parts["swa"] is None:
            parts["scheduler"].step(metrics=saved["valid_loss"])
            return
        parts["swa"].scheduler.load_state_dict(saved["swa"])
        if start < parts["swa"].start:
            parts["scheduler"].step(metrics=saved["valid_loss"])
        else:
            parts["swa"].scheduler.step()

    def see(self, metrics: dict[str, Any]) -> None:
        """Note the validation loss among the trainer's metrics."""
        if metrics.get("mode") != "eval":
            return
        if metrics.get("epoch") is None:  # MACE's look at the model before the first epoch
            self.stopping.mark()
        else:
            self._valid_loss = float(metrics["loss"])

    def save(self, state: Any, epochs: int, keep_last: bool = False) -> None:
        """Save the finished epoch; `state` holds the averaged weights if there is an average."""
        import torch

        stage = int(epochs >= self._swa_start)
        improved = self._valid_loss < self._best[stage]
        if improved:
            self._best[stage] = self._valid_loss
        self.stopping.epoch(improved)
        ema, swa = self._parts["ema"], self._parts["swa"]
        buffer = io.BytesIO()
        content = {
            "epoch": epochs,
            "valid_loss": self._valid_loss,
            "best": self._best,
            "model": state.model.state_dict(),
            "optimizer": state.optimizer.state_dict(),
            "lr_scheduler": state.lr_scheduler.state_dict(),
            "shuffle": self._parts["loader"].generator.get_state(),
            "ema": None if ema is None else ema.state_dict(),
            "swa": None if swa is None else swa.scheduler.state_dict(),
            "stopping": self.stopping.state(),
        }
        torch.save(content, buffer)
        for name in [BEST[stage]] * improved + [LAST]:
            atomic_file.write(self._folder / name, buffer.getbuffer())
        with self._judging():
            self.stopping.check(last_stage=swa is None or bool(stage))

    @contextmanager
    def _judging(self) -> Iterator[None]:
        try:
            yield
        except Enough:
            self.is_enough = True

    def finish(self) -> None:
        """From now on, `load_latest` gives the best weights."""
        self._trained = True


def resumable(train: Callable[..., None]) -> Callable[..., None]:
    """`mace.tools.train` with checkpoints of every epoch, for a `checkpoint_handler` of ours."""

    def run(**given: Any) -> None:
        checkpoints, log = given["checkpoint_handler"], given["logger"].log
        parts = {"ema": given["ema"], "swa": given["swa"]}
        parts |= {"loader": given["train_loader"], "scheduler": given["lr_scheduler"]}

        def listen(metrics: dict[str, Any]) -> None:
            checkpoints.see(metrics)
            log(metrics)

        given["logger"].log = listen
        loader = given["train_loader"]
        given["train_loader"] = _Epochs(loader, checkpoints, given["device"] if given.get("distributed") else None)
        with suppress(Enough):
            checkpoints.begin(parts, given["start_epoch"])
            train(**{**given, "save_all_checkpoints": True})
        checkpoints.finish()

    return run


class _Epochs:
    """The training batches of an epoch, unless the last epoch was the last: then it raises Enough.

    Ranks that train one model on `device` stop together: only the first saves and judges, and tells the others.
    """

    def __init__(self, loader: Any, checkpoints: Checkpoints, device: Any) -> None:
        self._loader, self._checkpoints, self._device = loader, checkpoints, device

    def __iter__(self) -> Iterator[Any]:
        if self._told():
            raise Enough
        return iter(self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def _told(self) -> bool:
        if self._device is None:
            return self._checkpoints.is_enough
        import torch

        stopping = self._checkpoints.stopping
        said = torch.tensor([self._checkpoints.is_enough, stopping.out_of_time], dtype=torch.uint8, device=self._device)
        torch.distributed.broadcast(said, src=0)
        is_enough, stopping.out_of_time = map(bool, said.tolist())
        return is_enough
