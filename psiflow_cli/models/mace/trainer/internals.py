"""What psiflow replaces in the trainer of mace-torch 0.3.16, and the parts of it whose state its checkpoints lack."""

from __future__ import annotations

import copy
import importlib
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

from psiflow_cli.models.mace.atomic_energies import trained_in_float64, without_hooks
from psiflow_cli.worker import installed
from psiflow_cli.worker.training.early_stopping import Stopping, TrainingDone

if TYPE_CHECKING:
    import torch
    from mace.data import AtomicData
    from mace.tools import CheckpointState
    from mace.tools.train import SWAContainer
    from torch.optim.lr_scheduler import ReduceLROnPlateau
    from torch.utils.data import DataLoader
    from torch_ema import ExponentialMovingAverage

    from psiflow_cli.models.mace.mace_internals import LogEntry, MaceModel

_PACKAGE, _READER = "mace-torch", "trainer/internals.py"
_NEVER = 2**62


class TrainerState(TypedDict):
    """What a checkpoint of MACE's own forgets."""

    shuffle: torch.Tensor  # of the generator that orders the data
    ema: dict[str, object] | None
    swa: dict[str, object] | None
    gradients: dict[str, torch.Tensor]  # of the parameters that the optimizer does not have


@dataclass(frozen=True)
class TrainerParts:
    """Parts of MACE's trainer whose state is not in its own checkpoints."""

    ema: ExponentialMovingAverage | None  # the average of the weights
    loader: DataLoader[AtomicData]
    scheduler: ReduceLROnPlateau
    swa: SWAContainer | None  # the second stage
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer

    def state(self) -> TrainerState:
        """What a restart needs."""
        return {
            "shuffle": self.loader.generator.get_state(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "swa": None if self.swa is None else self.swa.scheduler.state_dict(),
            "gradients": {name: own.grad for name, own in self._not_trained() if own.grad is not None},
        }

    def put_back(self, state: TrainerState) -> None:
        """Give the parts the state that they had when the checkpoint was made."""
        self.loader.generator.set_state(state["shuffle"].cpu())
        if self.ema is not None and state["ema"] is not None:
            self.ema.load_state_dict(state["ema"])
            self.ema.restore()  # the checkpoint's model is the average
        if self.swa is not None and state["swa"] is not None:
            self.swa.scheduler.load_state_dict(state["swa"])
        for name, parameter in self._not_trained():
            parameter.grad = state.get("gradients", {}).get(name)  # earlier checkpoints have none

    def _not_trained(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Parameters that the optimizer does not have, as the radial basis of a model to start from.

        Nobody sets their gradients to zero: they add up over the whole training, and MACE counts them when it clips.
        """
        trained = {parameter for group in self.optimizer.param_groups for parameter in group["params"]}
        return ((name, own) for name, own in self.model.named_parameters() if own not in trained)

    def step(self, stage: int, valid_loss: float) -> None:
        """Set the learning rate of an epoch that follows one with this validation loss.

        MACE does so at the start of an epoch, but not of the first one of a call of `mace.tools.train`.
        """
        if stage and self.swa is not None:
            self.swa.scheduler.step()
        else:
            self.scheduler.step(metrics=valid_loss)


class CheckpointHandler(Protocol):
    """What psiflow puts in the place of `mace.tools.CheckpointHandler`; see `checkpoints.Checkpoints`."""

    stage: int
    epoch: int
    valid_loss: float

    def begin(self, parts: TrainerParts) -> None: ...
    def see(self, entry: LogEntry) -> None: ...
    def save(self, state: CheckpointState, epochs: int, keep_last: bool = False) -> None: ...
    def is_over(self, device: torch.device | None) -> bool: ...
    def is_out_of_time(self) -> bool: ...
    def next_stage(self) -> None: ...
    def finish(self, complete: bool) -> None: ...


_TRAINER = {
    "mace.tools": ("CheckpointHandler", "CheckpointState", "build_default_arg_parser"),
    "mace.tools:train": (
        *("checkpoint_handler", "device", "distributed", "ema", "eval_interval", "logger", "lr_scheduler"),
        *("max_num_epochs", "model", "optimizer", "patience", "rank", "save_all_checkpoints", "start_epoch", "swa"),
        "train_loader",
    ),
    "mace.cli.run_train": (
        *(
            "TrainingPlotter",
            "create_error_table",
            "jit",
            "merge_lora_weights",
            "run",
            "run_cueq_to_e3nn",
            "run_oeq_to_e3nn",
            "tools",
        ),
    ),
    "mace.tools.model_script_utils": ("load_foundations_elements",),
}


def replace_parts(handler: Callable[..., CheckpointHandler], stopping: Stopping) -> None:
    """Let `mace.cli.run_train` keep psiflow's checkpoints and deliver no more than the bundle needs.

    It compiles no models for LAMMPS, makes no tables of errors when time is up, and starts from a model with the atomic
    energies that it is given.
    """
    installed.require(_PACKAGE, _READER, _TRAINER)
    names = ("mace.tools", "mace.cli.run_train", "mace.tools.model_script_utils")
    tools, run_train, building = map(importlib.import_module, names)
    load = building.load_foundations_elements
    table, plots = run_train.create_error_table, run_train.TrainingPlotter

    def compile_nothing(*_: object, **__: object) -> None:
        raise NotImplementedError("psiflow leaves the model unchanged")  # MACE goes on without

    def error_table(*arguments: object, **named: object) -> object:
        return "left out: the time is up" if stopping.out_of_time else table(*arguments, **named)

    def plotter(**named: object) -> object:
        if stopping.out_of_time:
            raise NotImplementedError("left out: the time is up")  # MACE goes on without
        return plots(**named)

    def start_from(model: MaceModel, *arguments: object, **named: object) -> MaceModel:
        energies = model.atomic_energies_fn.atomic_energies.clone()  # MACE overwrites them where both models have
        loaded = cast("MaceModel", load(model, *arguments, **named))  # as many elements, whatever E0s says
        loaded.atomic_energies_fn.atomic_energies.copy_(energies)
        return loaded

    vars(building).update(load_foundations_elements=start_from)
    vars(tools).update(CheckpointHandler=handler, train=_staged(tools.train))
    parts = {"create_error_table": error_table, "TrainingPlotter": plotter}
    vars(run_train).update(jit=SimpleNamespace(compile=compile_nothing), **parts)


def _staged(train: Callable[..., None]) -> Callable[..., None]:
    """`mace.tools.train` with checkpoints of every epoch, called once for each stage.

    MACE itself goes over to its second stage in the middle of a call when the patience of the first is at its end: it
    files the epoch under the second stage, whose loss is another, forgets the count over a restart, and does so in the
    first process only where there are several. So the patience is `Checkpoints`', and a stage ends for all of them.
    """

    def run(**arguments: object) -> None:
        its = SimpleNamespace(**arguments)
        checkpoints: CheckpointHandler = its.checkpoint_handler
        log = its.logger.log

        def listen(entry: LogEntry) -> None:
            checkpoints.see(entry)
            log({**entry, **_pace(entry, its, checkpoints.stage)})

        its.logger.log = listen
        device = its.device if arguments.get("distributed") else None
        arguments |= {"train_loader": _Epochs(its, device), "save_all_checkpoints": True, "patience": _NEVER}
        start, last = its.start_epoch, its.max_num_epochs
        ends = [last] if its.swa is None else [min(its.swa.start, last), last]
        parts = TrainerParts(its.ema, its.train_loader, its.lr_scheduler, its.swa, its.model, its.optimizer)
        checkpoints.begin(parts)
        while True:
            end, is_last = ends[checkpoints.stage], checkpoints.stage == len(ends) - 1
            complete = start >= end
            if not checkpoints.is_over(device) and not complete:
                if start:
                    parts.step(checkpoints.stage, checkpoints.valid_loss)
                with suppress(TrainingDone), trained_in_float64(its.model):
                    train(**{**arguments, "start_epoch": start, "max_num_epochs": end})
                    complete = True
            early = checkpoints.is_over(device)
            if is_last or checkpoints.is_out_of_time():
                break
            # as MACE counts them: one number is left out where the patience ended the first stage
            start = max(start, end) + (early and end + 1 < last)
            checkpoints.next_stage()
        checkpoints.finish(is_last and complete)

    return run


def _pace(entry: LogEntry, its: SimpleNamespace, stage: int) -> LogEntry:
    """The learning rate and the stage of a finished epoch, which MACE keeps to itself."""
    if entry.get("mode") == "opt" or entry.get("epoch") is None:
        return {}
    # the highest: what `freeze` leaves alone has a rate of zero
    pace: LogEntry = {"lr": max(float(group["lr"]) for group in its.optimizer.param_groups)}
    return pace if its.swa is None else {**pace, "stage": stage + 1}


class _Epochs:
    """The training batches of an epoch, unless the last epoch was the last: then it raises TrainingDone.

    An epoch that MACE does not validate (`eval_interval`) is saved here.
    """

    def __init__(self, its: SimpleNamespace, device: torch.device | None) -> None:
        self._its, self._device = its, device

    def __iter__(self) -> Iterator[AtomicData]:
        if self._its.checkpoint_handler.is_over(self._device):
            raise TrainingDone
        yield from self._its.train_loader
        if self._its.eval_interval > 1 and self._its.rank == 0:
            self._save_unvalidated()

    def _save_unvalidated(self) -> None:
        from mace.tools import CheckpointState

        its, epoch = self._its, self._its.checkpoint_handler.epoch
        optimizer = type(its.optimizer).__name__
        if epoch % its.eval_interval == 0 or optimizer == "LBFGS":  # which goes over the data more than once
            return
        if "ScheduleFree" in optimizer:
            its.optimizer.eval()
        with nullcontext() if its.ema is None else its.ema.average_parameters():
            its.checkpoint_handler.save(CheckpointState(its.model, its.optimizer, its.lr_scheduler), epoch)
        its.logger.log({"mode": "saved", "epoch": epoch})  # for psiflow's own count

    def __len__(self) -> int:
        return len(self._its.train_loader)

    def __getattr__(self, name: str) -> object:
        return getattr(self._its.train_loader, name)


def deliverable(model: torch.nn.Module, arguments: Namespace, device: torch.device) -> torch.nn.Module:
    """A copy of a model in training as `mace.cli.run_train` delivers it."""
    run_train = importlib.import_module("mace.cli.run_train")
    copied = without_hooks(copy.deepcopy(model))
    if arguments.lora:
        run_train.merge_lora_weights(copied)
    if arguments.enable_cueq and not arguments.only_cueq:
        copied = run_train.run_cueq_to_e3nn(copied, device=device)
    if arguments.enable_oeq:
        copied = run_train.run_oeq_to_e3nn(copied, device=device)
    return copied.to("cpu") if arguments.save_cpu else copied
